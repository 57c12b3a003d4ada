"""Make ``mace_small.model.xz`` and ``mace_small.json`` in the Python of mace-torch 0.3.16.

A model of two channels with random weights, away from their initial values, as mace-torch saves it,
and the energies, forces and stress that mace-torch computes with it. Code that e3nn compiles is
left out of the file, because equinet reads none of it. To be run in this folder::

    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 python make_mace_fixture.py
"""

import json
import lzma
import sys
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from e3nn import o3
from e3nn.util.codegen import CodeGenMixin
from mace import data, modules
from mace.tools import AtomicNumberTable, torch_geometric

HERE = Path(__file__).resolve().parent
CELLS = {"left-handed": [[5.1, 0.3, -0.2], [0.4, 4.7, 0.5], [0.1, -0.6, -5.3]], "none": None}


def make_model(channels=2, lmax=1, *, numbers=(1, 8), scale=0.8, shift=0.13, seed=0, **options):
    """Return a model whose weights have left their initial values."""
    torch.manual_seed(seed)
    arguments = {
        "r_max": 4.0,
        "num_bessel": 4,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls": modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        "interaction_cls_first": modules.interaction_classes["RealAgnosticInteractionBlock"],
        "num_interactions": 2,
        "num_elements": len(numbers),
        "hidden_irreps": o3.Irreps(
            [(channels, (degree, (-1) ** degree)) for degree in range(lmax + 1)]
        ),
        "MLP_irreps": o3.Irreps("3x0e"),
        "atomic_energies": np.linspace(-3.5, 2.5, len(numbers)),
        "avg_num_neighbors": 9.3,
        "atomic_numbers": list(numbers),
        "correlation": 3,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [4],
    } | options
    if scale is None:
        model = modules.MACE(**arguments)
    else:
        arguments |= {"atomic_inter_scale": scale, "atomic_inter_shift": shift}
        model = modules.ScaleShiftMACE(**arguments)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def make_atoms(numbers, cell, seed):
    """Return atoms at random positions, none nearer than about 1 Å to another."""
    draw = np.random.default_rng(seed)
    positions = draw.uniform(0, 4.5, (7, 3))
    for _ in range(200):
        offsets = positions[:, None] - positions
        lengths = np.linalg.norm(offsets, axis=-1) + 9 * np.eye(7)
        positions += np.where((lengths < 1.1)[..., None], 0.05 * offsets, 0).sum(1)
    return Atoms(draw.choice(numbers, 7), positions, cell=cell, pbc=cell is not None)


def evaluate(model, atoms, head="Default"):
    """Return what mace-torch computes, and the structure, as plain lists."""
    dtype = model.r_max.dtype
    torch.set_default_dtype(dtype)
    table = AtomicNumberTable([int(z) for z in model.atomic_numbers])
    heads = getattr(model, "heads", None)
    frame = data.AtomicData.from_config(
        data.config_from_atoms(atoms, head_name=head),
        z_table=table,
        cutoff=float(model.r_max),
        heads=heads,
    )
    batch = next(iter(torch_geometric.dataloader.DataLoader([frame], batch_size=1)))
    found = model(batch.to_dict(), compute_stress=True)
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.tolist(),
        "pbc": atoms.pbc.tolist(),
        "energy": found["energy"].item(),
        "forces": found["forces"].tolist(),
        "stress": found["stress"][0].tolist() if atoms.pbc.all() else None,
    }


def save(model, path):
    """Save a model without the code that e3nn has compiled."""
    whole = CodeGenMixin.__getstate__
    CodeGenMixin.__getstate__ = lambda self: {**whole(self), "__codegen__": {}}
    try:
        torch.save(model, path)
    finally:
        CodeGenMixin.__getstate__ = whole


def main():
    """Write both files."""
    torch.set_default_dtype(torch.float64)
    model = make_model()
    path = HERE / "mace_small.model"
    save(model, path)
    (HERE / "mace_small.model.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9))
    path.unlink()
    found = [
        evaluate(model, make_atoms((1, 8), cell, seed)) for seed, cell in enumerate(CELLS.values())
    ]
    (HERE / "mace_small.json").write_text(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
