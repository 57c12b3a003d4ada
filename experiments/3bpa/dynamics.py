"""Does a molecule stay whole at a temperature? Langevin dynamics from several seeds.

python experiments/3bpa/dynamics.py --model mace-gaunt-3bpa --data PATH/train_300K.xyz \
  --temperature 1200 --picoseconds 50 --seeds 5 --out experiments/3bpa/dynamics.json

The first structure of the file is the start. A run is whole as long as every bond of the start, a
pair closer than 1.2 times the sum of its covalent radii, is shorter than twice that sum, and no two
atoms are closer than half their sum. Every 0.1 ps is looked at; a run that is no longer whole ends.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase import units
from ase.data import covalent_radii
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from record import hardware

from equinet.integrations.ase import EquinetCalculator

_LOOK = 0.1  # ps


def is_whole(atoms: ase.Atoms, bonds: np.ndarray, sums: np.ndarray) -> bool:
    """Tell whether all bonds hold and no atoms have met."""
    distances = atoms.get_all_distances()
    np.fill_diagonal(distances, np.inf)
    return bool((distances[bonds] < 2 * sums[bonds]).all() and (distances > 0.5 * sums).all())


def run(atoms: ase.Atoms, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Run dynamics from one seed, and tell how long the molecule stayed whole."""
    generator = np.random.default_rng(seed)
    radii = covalent_radii[atoms.numbers]
    sums = radii[:, None] + radii[None, :]
    bonds = atoms.get_all_distances() < 1.2 * sums
    np.fill_diagonal(bonds, val=False)
    MaxwellBoltzmannDistribution(atoms, temperature_K=options.temperature, rng=generator)
    motion = Langevin(
        atoms,
        options.femtoseconds * units.fs,
        temperature_K=options.temperature,
        friction=0.01 / units.fs,
        rng=generator,
    )
    steps = round(1000 * _LOOK / options.femtoseconds)
    looks, whole = round(options.picoseconds / _LOOK), 0
    temperatures, begun = [], time.perf_counter()
    while whole < looks:
        motion.run(steps)
        temperatures.append(atoms.get_temperature())
        if not is_whole(atoms, bonds, sums):
            break
        whole += 1
    seconds = time.perf_counter() - begun
    return {
        "metric": "time until a bond breaks",
        "value": round(whole * _LOOK, 1),
        "unit": "ps",
        "seed": seed,
        "mean_temperature_K": round(float(np.mean(temperatures)), 1),
        "ms_a_step": round(1e3 * seconds / (len(temperatures) * steps), 2),
    }


def git(*arguments: str) -> str:
    """Return what git answers."""
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - fixed
    return done.stdout.strip()


def main() -> None:
    """Run all seeds and write the record."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--model", default="mace-gaunt-3bpa", help="zoo name, run or folder")
    reader.add_argument("--data", type=Path, required=True, help="file with the first structure")
    reader.add_argument("--temperature", type=float, default=1200.0, help="K")
    reader.add_argument("--picoseconds", type=float, default=50.0, help="length of a run, ps")
    reader.add_argument("--femtoseconds", type=float, default=0.5, help="time step, fs")
    reader.add_argument("--seeds", type=int, default=5, help="number of runs")
    reader.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = reader.parse_args()
    torch.set_num_threads(1)
    common = {
        "model": options.model,
        "temperature_K": options.temperature,
        "picoseconds": options.picoseconds,
        "femtoseconds": options.femtoseconds,
        "thermostat": "Langevin, friction 0.01/fs",
        "command": "python experiments/3bpa/dynamics.py --data PATH/train_300K.xyz "
        f"--temperature {options.temperature:g} --picoseconds {options.picoseconds:g} "
        f"--femtoseconds {options.femtoseconds:g} --seeds {options.seeds}",
        "hardware": hardware(),
        "date": time.strftime("%Y-%m-%d"),
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain")),
    }
    entries = []
    for seed in range(options.seeds):
        atoms = read(options.data, "0")
        atoms.calc = EquinetCalculator(options.model)
        entries.append({**run(atoms, options, seed), **common})
        print(entries[-1]["value"], entries[-1]["unit"], flush=True)
        options.out.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
