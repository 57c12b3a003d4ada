"""Train mace-torch on 3BPA for a given time of one core, and measure its errors at given minutes.

    python -m venv MACE
    MACE/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    MACE/bin/pip install mace-torch==0.3.16
    OMP_NUM_THREADS=1 MACE/bin/python experiments/race/mace_torch.py PATH_OF_3BPA \
        --settings small --minutes 30 --seed 0 --out experiments/race/results.json

mace-torch pins e3nn 0.4.4, hence an environment of its own. Network, loss, optimizer and average of
the weights are mace-torch's own classes, with the settings of ``SETTINGS``; the loop around them
stops after a time instead of a number of epochs. Processor time of the training steps is the
budget, so that other programs do not decide; building the model, reading the data and evaluating do
not count.

The learning rate falls by a cosine to 1 % within the budget, which at these budgets is better than
the published plateau rule: that one waits for 50 epochs without progress and would never act.
"""

import argparse
import hashlib
import json
import math
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from mace import data, modules, tools
from mace.tools import torch_geometric
from torch_ema import ExponentialMovingAverage

CUTOFF = 5.0  # Å
VALIDATION = 50  # frames, drawn from the 500 of train_300K

# Published: Batatia et al., MACE (NeurIPS 2022), appendix A.5, and the authors' run_3bpa.sh.
SETTINGS: dict[str, dict[str, Any]] = {
    "published": {"channels": 256, "degree": 2, "batch": 5, "rate": 0.01},
    "small": {"channels": 32, "degree": 1, "batch": 5, "rate": 0.01},
}
ENERGY_WEIGHT, FORCES_WEIGHT = 1.0, 1000.0  # on squared errors per atom and per component
CLIP, AVERAGE, DECAY = 10.0, 0.99, 5e-7


def main() -> None:
    arguments = read_arguments()
    settings = SETTINGS[arguments.settings] | {
        name: value
        for name in ("channels", "degree", "batch", "rate")
        if (value := getattr(arguments, name)) is not None
    }
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    torch.set_default_dtype(torch.float32)
    energies = isolated_atoms(arguments.data)
    table = tools.AtomicNumberTable(sorted(energies))
    frames = graphs(arguments.data / "train_300K.xyz", table)
    order = np.random.default_rng(arguments.seed).permutation(len(frames))
    training = [frames[i] for i in order[VALIDATION:]]
    validation = [frames[i] for i in order[:VALIDATION]]
    model = build(settings, energies, table, training)
    seconds = 60 * arguments.minutes
    steps, average = train(model, training, settings, seconds)
    common = {
        "run": f"mace-torch {arguments.settings}, {arguments.minutes:g} min, seed {arguments.seed}",
        "code": "mace-torch",
        "settings": arguments.settings,
        **settings,
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "steps": steps,
        "train_seconds": seconds,
        "versions": {name: metadata.version(name) for name in ("mace-torch", "torch", "e3nn")},
        "hardware": hardware(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "train_command": " ".join(["python", *sys.argv]),
    }
    with average.average_parameters():
        measured = [
            *errors(model, "val", validation, arguments.data / "train_300K.xyz"),
            *errors(model, "test_300K", *whole(arguments.data / "test_300K.xyz", table)),
            *errors(model, "1200K_probe", *probe(arguments.data / "train_mixedT.xyz", table)),
        ]
    add(arguments.out, [entry | common for entry in measured])
    for entry in measured:
        print(f"{entry['split']} {entry['metric']}: {entry['value']} {entry['unit']}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the 3BPA files")
    parser.add_argument("--settings", choices=SETTINGS, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="processor time of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--channels", type=int)
    parser.add_argument("--degree", type=int, help="highest degree of the features")
    parser.add_argument("--batch", type=int, help="frames a step")
    parser.add_argument("--rate", type=float, help="learning rate of Adam")
    parser.add_argument("--out", type=Path, required=True, help="JSON to which the run is added")
    return parser.parse_args()


def isolated_atoms(folder: Path) -> dict[int, float]:
    """Return the energy of an isolated atom of each element, eV."""
    atoms = ase.io.read(folder / "iso_atoms.xyz", ":")
    return {int(atom.numbers[0]): float(atom.get_potential_energy()) for atom in atoms}


def graphs(
    file: Path, table: tools.AtomicNumberTable, frames: slice = slice(None)
) -> list[data.AtomicData]:
    """Read frames as graphs of mace-torch, with forces and energies."""
    names = data.KeySpecification(info_keys={"energy": "energy"}, arrays_keys={"forces": "forces"})
    found = []
    for frame in ase.io.read(file, ":")[frames]:
        frame.info["energy"] = frame.get_potential_energy()
        frame.arrays["forces"] = frame.get_forces()
        configuration = data.config_from_atoms(frame, names)
        found.append(data.AtomicData.from_config(configuration, table, CUTOFF))
    return found


def whole(file: Path, table: tools.AtomicNumberTable) -> tuple[list[data.AtomicData], Path]:
    """Return all frames of a file, and the file."""
    return graphs(file, table), file


def probe(file: Path, table: tools.AtomicNumberTable) -> tuple[list[data.AtomicData], Path]:
    """Return the frames at 1200 K, the last third of the file of mixed temperatures."""
    return graphs(file, table, slice(334, None)), file


def build(
    settings: dict[str, Any],
    energies: dict[int, float],
    table: tools.AtomicNumberTable,
    training: list[data.AtomicData],
) -> torch.nn.Module:
    """Build MACE as run_3bpa.sh does: shift is the mean energy of an atom, scale the RMS force."""
    # mace-torch allows e3nn to read its constants, and so must be imported first.
    from e3nn import o3

    references = np.array([energies[z] for z in table.zs])
    forces = torch.cat([graph.forces for graph in training]).double()
    shifts = []
    for graph in training:
        kinds = graph.node_attrs.argmax(-1)
        shifts.append((float(graph.energy) - references[kinds].sum()) / len(kinds))
    neighbors = np.mean([graph.edge_index.shape[1] / len(graph.positions) for graph in training])
    hidden = [(settings["channels"], (ell, (-1) ** ell)) for ell in range(settings["degree"] + 1)]
    return modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(table),
        hidden_irreps=o3.Irreps(hidden),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=references,
        avg_num_neighbors=float(neighbors),
        atomic_numbers=table.zs,
        correlation=3,
        gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64],
        atomic_inter_scale=float(forces.square().mean().sqrt()),
        atomic_inter_shift=float(np.mean(shifts)),
    )


def train(
    model: torch.nn.Module,
    training: list[data.AtomicData],
    settings: dict[str, Any],
    seconds: float,
) -> tuple[int, ExponentialMovingAverage]:
    """Train until the processor time is spent; returns the steps and the averaged weights."""
    # mace-torch decays the weights of the products only.
    groups = [
        {
            "params": [p for name, p in model.named_parameters() if decays(name) is wanted],
            "weight_decay": DECAY if wanted else 0.0,
        }
        for wanted in (True, False)
    ]
    optimizer = torch.optim.Adam(groups, lr=settings["rate"], amsgrad=True)
    loss = modules.WeightedEnergyForcesLoss(ENERGY_WEIGHT, FORCES_WEIGHT)
    average = ExponentialMovingAverage(model.parameters(), decay=AVERAGE)
    loader = torch_geometric.dataloader.DataLoader(
        training, batch_size=settings["batch"], shuffle=True, drop_last=True
    )
    start, steps = time.process_time(), 0
    while True:
        for batch in loader:
            spent = (time.process_time() - start) / seconds
            if spent >= 1:
                return steps, average
            for group in optimizer.param_groups:
                group["lr"] = settings["rate"] * (0.505 + 0.495 * math.cos(math.pi * spent))
            optimizer.zero_grad(set_to_none=True)
            loss(pred=model(batch.to_dict(), training=True), ref=batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            average.update()
            steps += 1


def decays(name: str) -> bool:
    """Return whether mace-torch lets a parameter decay."""
    return "products" in name and "symmetric_contractions" in name


def errors(
    model: torch.nn.Module, split: str, graphs: list[data.AtomicData], file: Path
) -> list[dict[str, Any]]:
    """Return the root mean square errors of energies and of force components."""
    energies, forces = [], []
    for batch in torch_geometric.dataloader.DataLoader(graphs, batch_size=10, shuffle=False):
        found = model(batch.to_dict())
        energies.append((found["energy"].detach() - batch.energy).double())
        forces.append((found["forces"].detach() - batch.forces).double().flatten())
    values = {"energy_rmse": (energies, "meV"), "forces_rmse": (forces, "meV/Å")}
    return [
        {
            "metric": name,
            "value": round(1000 * float(torch.cat(parts).square().mean().sqrt()), 2),
            "unit": unit,
            "split": split,
            "structures": len(graphs),
            "data_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for name, (parts, unit) in values.items()
    ]


def hardware() -> str:
    """Name the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "CPU")
    return f"{model}, one core, {platform.system()}"


def git(*words: str) -> str:
    """Return what git answers in the folder of this file."""
    command = ["git", "-C", str(Path(__file__).parent), *words]
    done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
        command, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def add(path: Path, added: list[dict[str, Any]]) -> None:
    """Add entries to a JSON list."""
    entries = json.loads(path.read_text()) if path.is_file() else []
    path.write_text(json.dumps([*entries, *added], indent=1) + "\n")


if __name__ == "__main__":
    main()
