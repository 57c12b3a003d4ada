"""Bonds and stability of molecules by a table of bond lengths, the definition that the field uses.

A pair of atoms has a bond of order k where its distance is below the length of such a bond between
the two elements plus a margin. An atom is stable if the orders of its bonds add up to its valence,
and a molecule if all of its atoms are.

Source: Hoogeboom et al., Equivariant diffusion for molecule generation in 3D (ICML 2022), appendix
C: lengths of tables 7 to 9, margins of 10, 5 and 3 pm, chosen so that QM9 itself is stable.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from equinet.elements import symbol
from equinet.errors import DataError

VALENCES = {1: 1, 6: 4, 7: 3, 8: 2, 9: 1}
"""Sum of the orders of the bonds of a stable atom, by atomic number."""

_MARGINS = (0.10, 0.05, 0.03)  # Å, for single, double and triple bonds
# Lengths of bonds in pm, in the order of their orders.
_LENGTHS = {
    (1, 1): (74,),
    (1, 6): (109,),
    (1, 7): (101,),
    (1, 8): (96,),
    (1, 9): (92,),
    (6, 6): (154, 134, 120),
    (6, 7): (147, 129, 116),
    (6, 8): (143, 120, 113),
    (6, 9): (135,),
    (7, 7): (145, 125, 110),
    (7, 8): (140, 121),
    (7, 9): (136,),
    (8, 8): (148, 121),
    (8, 9): (142,),
    (9, 9): (142,),
}


class Stability(NamedTuple):
    """Stability of one molecule.

    Attributes:
        atoms: Whether each atom is stable.
        molecule: Whether all atoms are stable.

    Example:
        >>> Stability(np.array([True, False]), molecule=False).atoms.sum()
        np.int64(1)
    """

    atoms: Bool[np.ndarray, " atom"]
    molecule: bool


def _bounds() -> Float[np.ndarray, "3 10 10"]:
    """Return the distance below which two elements have a bond of at least each order, Å."""
    bounds = np.zeros((3, 10, 10))
    for (first, second), lengths in _LENGTHS.items():
        for order, length in enumerate(lengths):
            bounds[order, first, second] = length / 100 + _MARGINS[order]
    return np.maximum(bounds, bounds.transpose(0, 2, 1))


_BOUNDS = _bounds()


def bond_orders(
    numbers: Int[np.ndarray, " atom"], positions: Float[np.ndarray, "atom 3"]
) -> Int[np.ndarray, "atom atom"]:
    """Return the order of the bond between every two atoms, from 0 to 3.

    Args:
        numbers: Atomic numbers of the atoms.
        positions: Positions of the atoms, Å.

    Raises:
        DataError: An element is not in the table.

    Example:
        >>> bond_orders(np.array([6, 8]), np.array([[0, 0, 0], [0, 0, 1.2]]))
        array([[0, 2],
               [2, 0]])
    """
    unknown = sorted(set(numbers.tolist()) - set(VALENCES))
    if unknown:
        raise DataError(
            f"there are no bond lengths of {', '.join(map(symbol, unknown))}; the table has "
            f"{', '.join(map(symbol, VALENCES))}"
        )
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    np.fill_diagonal(distances, np.inf)
    is_shorter = distances < _BOUNDS[:, numbers[:, None], numbers]
    # A double bond needs the distance of a single one, and a triple bond that of both.
    orders: Int[np.ndarray, "atom atom"] = np.cumprod(is_shorter, axis=0).sum(axis=0)
    return orders


def stability(numbers: Int[np.ndarray, " atom"], orders: Int[np.ndarray, "atom atom"]) -> Stability:
    """Tell which atoms have all of their bonds and no more.

    Args:
        numbers: Atomic numbers of the atoms.
        orders: Orders of the bonds, see :func:`bond_orders`.

    Example:
        >>> hydrogen = np.array([1, 1])
        >>> stability(hydrogen, np.array([[0, 1], [1, 0]])).molecule
        True
    """
    valences = np.array([VALENCES[number] for number in numbers.tolist()])
    atoms = orders.sum(axis=1) == valences
    return Stability(atoms, bool(atoms.all()))
