"""Models of mace-torch of many sizes, with what mace-torch computes: run in its own Python."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from mace import modules
from make_mace_fixture import CELLS, evaluate, make_atoms, make_model, save

BLOCKS = {
    "residual": "RealAgnosticResidualInteractionBlock",
    "plain": "RealAgnosticInteractionBlock",
    "density": "RealAgnosticDensityInteractionBlock",
    "density residual": "RealAgnosticDensityResidualInteractionBlock",
}
VARIANTS = {
    **{
        f"hidden{lmax}_order{order}": {"lmax": lmax, "correlation": order, "max_ell": 3}
        for lmax in (0, 1, 2)
        for order in (1, 2, 3)
    },
    "wide": {"channels": 16, "max_ell": 3},
    "one": {"num_interactions": 1},
    "three": {"num_interactions": 3, "lmax": 2},
    "low": {"max_ell": 1, "lmax": 2, "scale": 50.0},
    "first": {"first": "residual"},
    "plain": {"other": "plain"},
    "density": {"first": "density", "other": "density residual"},
    "foundation": {
        "first": "density",
        "other": "density residual",
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    },
    "unscaled": {"scale": None},
    "elements": {"numbers": (1, 6, 8, 16)},
    "flat": {"num_polynomial_cutoff": 8, "num_bessel": 10, "radial_MLP": [16, 8, 4]},
    "heads": {
        "heads": ["pbe", "r2scan"],
        "atomic_energies": np.array([[-3.5, 2.5], [-1.5, 0.5]]),
        "scale": [0.8, 0.6],
        "shift": [0.1, 0.2],
    },
    "single": {"dtype": torch.float32, "max_ell": 3},
    "single2": {"dtype": torch.float32, "lmax": 2, "channels": 16},
}


def make(name, *, first="plain", other="residual", dtype=torch.float64, **options):
    """Return a model, its structures and the name of its head."""
    torch.set_default_dtype(dtype)
    for block, place in ((first, "interaction_cls_first"), (other, "interaction_cls")):
        options[place] = modules.interaction_classes[BLOCKS[block]]
    return make_model(seed=len(name), **options), options.get("heads", [None])[-1]


def main(folder):
    """Write a model file and a file of results for each variant."""
    for name, options in VARIANTS.items():
        model, head = make(name, **options)
        numbers = options.get("numbers", (1, 8))
        save(model, folder / f"{name}.model")
        found = [
            evaluate(model, make_atoms(numbers, cell, seed), head or "Default")
            for seed, cell in enumerate(CELLS.values())
        ]
        (folder / f"{name}.json").write_text(json.dumps({"head": head, "found": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
