"""Time energies and forces of one small molecule on one thread of the processor.

    OMP_NUM_THREADS=1 python experiments/speed/latency.py --data PATH_OF_3BPA --out FILE

The first test molecule of 3BPA, 27 atoms, moves by 0.02 Å before every step, and is evaluated by
untrained models with the degrees of the zoo's model: through ASE's calculator, energy and forces;
by the fixed form of the model alone, from a graph; and by the model itself. The three take turns.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch

from equinet.configuration import hardware, make_stamp
from equinet.data import frame_from_atoms, to_graph
from equinet.integrations.ase import EquinetCalculator
from equinet.models import MACEGaunt

DISPLACEMENT = 0.02  # standard deviation, Å
WARM_UP = 10  # rounds
SIZES = {
    "elements": [1, 6, 7, 8],
    "reference_energies": [-13.6, -1029.5, -1485.0, -2042.0],
    "cutoff": 5.0,
    "average_neighbors": 16.7,
    "lmax_filter": 3,
    "lmax_hidden": 2,
    "correlation": 3,
}


def calls(channels: int, atoms: ase.Atoms) -> dict[str, Callable[[], object]]:
    """Return the three ways to evaluate a model of a width."""
    torch.manual_seed(0)
    model = MACEGaunt(**SIZES, channels=channels).eval().requires_grad_(requires_grad=False)
    graph = to_graph(frame_from_atoms(atoms), model.neighborhood)
    fixed: Any = model.fixed()
    atoms = atoms.copy()
    atoms.calc = EquinetCalculator(model)
    places, random = atoms.positions.copy(), np.random.default_rng(0)

    def step() -> None:
        atoms.positions = places + random.normal(scale=DISPLACEMENT, size=places.shape)
        atoms.get_forces()
        atoms.get_potential_energy()

    return {"through ASE": step, "fixed": lambda: fixed(graph), "model": lambda: model(graph)}


def times(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Let the ways take turns, and return the milliseconds of each call."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM_UP + rounds):
        for name, call in ways.items():
            start = time.perf_counter()
            call()
            if number >= WARM_UP:
                taken[name].append(1000 * (time.perf_counter() - start))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    atoms = ase.io.read(arguments.data / "test_300K.xyz", "0")
    stamp = make_stamp(seed=None, fingerprint="")
    common = {
        "unit": "ms",
        "atoms": len(atoms),
        "rounds": arguments.rounds,
        "hardware": hardware(),
        "versions": stamp["versions"],
        "command": " ".join(["python", *stamp["command"]]),
        "date": stamp["time"][:10],
        "commit": stamp["commit"],
        "dirty": stamp["dirty"],
    }
    entries = []
    for channels in arguments.channels:
        for name, taken in times(calls(channels, atoms), arguments.rounds).items():
            low, median, high = (round(ms, 3) for ms in statistics.quantiles(taken, n=4))
            entry = {"metric": "energies and forces", "implementation": name, "channels": channels}
            quartiles = {"value": median, "lower quartile": low, "upper quartile": high}
            entries.append({**entry, **quartiles, "least": round(min(taken), 3), **common})
            print(f"{channels:3} channels  {name:11}  median {median:.2f} ms", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
