"""Small labeled files: rattled metal clusters under ASE's EMT potential."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import write


def write_clusters(
    path: Path, count: int, *, seed: int = 0, symbols: str = "Cu2Al2", extra: str = "Cu"
) -> Path:
    """Write ``count`` frames, every other one an atom larger, with energies and forces."""
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [2, 1, 1]]) * 1.8
    images = []
    for index in range(count):
        atoms = Atoms(symbols + extra * (index % 2))
        atoms.positions = corners[: len(atoms)] + rng.normal(scale=0.1, size=(len(atoms), 3))
        atoms.calc = EMT()
        atoms.get_forces()
        images.append(atoms)
    write(path, images, format="extxyz")
    return path
