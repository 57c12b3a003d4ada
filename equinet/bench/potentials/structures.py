"""Structures of any number of atoms, of the elements of a model, at the density of real matter."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import ase

# Molecules of molecular boxes, the first of whose elements are all known is taken.
_MOLECULES = ("CH3CONH2", "CH3CH2OH", "CH3CH2NH2", "C3H8", "H2O", "NH3")
_VOLUME = 10.5  # Å³ per atom of molecular liquids, between those of water and of benzene
_PACKING = 0.74  # fraction of a close-packed crystal that is filled by its atoms
_RATTLE = 0.05  # standard deviation of the displacements, Å


def structure_of(elements: Sequence[int], atoms: int) -> "ase.Atoms":
    """Build a periodic structure with about as many atoms as asked for.

    Models that know hydrogen and another element of a small molecule get a box of these molecules,
    others a close-packed crystal whose sites are taken by their elements at random, with the volume
    of spheres of the covalent radii. Atoms are displaced at random by 0.05 Å.

    Args:
        elements: Atomic numbers that the model knows.
        atoms: Number of atoms; the nearest box that is about a cube is taken.

    Example:
        >>> box = structure_of([1, 6, 7, 8], 100)
        >>> len(box), bool(box.pbc.all()), round(float(box.get_volume()) / len(box), 1)
        (108, True, 10.5)
    """
    from ase.build import molecule

    random = np.random.default_rng(0)
    known = set(elements)
    fitting = (name for name in _MOLECULES if set(molecule(name).numbers.tolist()) <= known)
    name = next(fitting, None)
    unit = _crystal() if name is None else _boxed(name)
    box = unit * _repeats(atoms / len(unit))
    if name is None:
        box.numbers = random.choice(np.asarray(elements), len(box))
        box.set_cell(box.cell * (_crystal_volume(elements) ** (1 / 3)), scale_atoms=True)
    box.positions += random.normal(scale=_RATTLE, size=(len(box), 3))
    return box


def _boxed(name: str) -> "ase.Atoms":
    """Return a molecule in a cell with the volume of a liquid, and equal gaps along all axes."""
    from ase.build import molecule

    unit = molecule(name)
    extent = np.ptp(unit.positions, axis=0)
    volume = _VOLUME * len(unit)
    low, high = 0.0, volume ** (1 / 3)
    for _ in range(60):  # bisection
        gap = (low + high) / 2
        low, high = (gap, high) if np.prod(extent + gap) < volume else (low, gap)
    unit.set_cell(extent + low)
    unit.pbc = True
    return unit


def _crystal() -> "ase.Atoms":
    """Return a cubic cell of four atoms, of 1 Å³ per atom."""
    from ase.build import bulk

    return bulk("X", "fcc", a=4 ** (1 / 3), cubic=True)


def _crystal_volume(elements: Sequence[int]) -> float:
    """Return the volume per atom of a close-packed crystal of the elements, Å³."""
    from ase.data import covalent_radii

    return float(np.mean(4 / 3 * np.pi * covalent_radii[list(elements)] ** 3) / _PACKING)


def _repeats(count: float) -> tuple[int, int, int]:
    """Return how often to repeat a cell along each axis: nearest in number, about a cube."""
    side = max(1, int(count ** (1 / 3)))
    near = [shape for shape in product((side, side + 1), repeat=3) if shape == tuple(sorted(shape))]
    first, second, third = min(near, key=lambda shape: abs(np.prod(shape) - count))
    return first, second, third
