"""Distributions of what molecules are made of, and how far two of them are apart."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import wasserstein_distance

from equinet.elements import symbol

Values = Mapping[str, Sequence[float]]
"""Values by their kind, such as lengths by the elements that a bond joins."""


def bond_lengths(
    numbers: Int[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    orders: Int[np.ndarray, "atom atom"],
) -> Values:
    """Return the lengths of all bonds, Å, by elements and order.

    Args:
        numbers: Atomic numbers of the atoms.
        positions: Positions of the atoms, Å.
        orders: Orders of the bonds, see :func:`equinet.evaluation.molecules.bond_orders`.

    Example:
        >>> bond_lengths(np.array([1, 1]), np.eye(2, 3), np.array([[0, 1], [1, 0]]))
        {'H-H': [1.4142135623730951]}
    """
    found: dict[str, list[float]] = defaultdict(list)
    for first, second in zip(*np.nonzero(np.triu(orders)), strict=True):
        ends = sorted((numbers[first], numbers[second]))
        kind = "-=#"[orders[first, second] - 1].join(symbol(int(number)) for number in ends)
        found[kind].append(float(np.linalg.norm(positions[first] - positions[second])))
    return dict(found)


def bond_angles(
    numbers: Int[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    orders: Int[np.ndarray, "atom atom"],
) -> Values:
    """Return the angles between bonds of one atom, degrees, by the three elements.

    Args:
        numbers: Atomic numbers of the atoms.
        positions: Positions of the atoms, Å.
        orders: Orders of the bonds, see :func:`equinet.evaluation.molecules.bond_orders`.

    Example:
        >>> water = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
        >>> orders = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
        >>> bond_angles(np.array([8, 1, 1]), water.astype(float), orders)
        {'H-O-H': [90.0]}
    """
    found: dict[str, list[float]] = defaultdict(list)
    for middle, bonds in enumerate(orders):
        ends = np.flatnonzero(bonds)
        ways = positions[ends] - positions[middle]
        ways = ways / np.linalg.norm(ways, axis=1, keepdims=True)
        angles = np.degrees(np.arccos(np.clip(ways @ ways.T, -1, 1)))
        for i, j in zip(*np.triu_indices(len(ends), 1), strict=True):
            first, last = sorted((int(numbers[ends[i]]), int(numbers[ends[j]])))
            kind = "-".join(map(symbol, (first, int(numbers[middle]), last)))
            found[kind].append(float(angles[i, j]))
    return dict(found)


def merged(parts: Sequence[Values]) -> Values:
    """Collect the values of many molecules by their kind.

    Args:
        parts: Values of each molecule.

    Example:
        >>> merged([{"C-H": [1.1]}, {"C-H": [1.0]}])
        {'C-H': [1.1, 1.0]}
    """
    found: dict[str, list[float]] = defaultdict(list)
    for part in parts:
        for kind, values in part.items():
            found[kind].extend(values)
    return dict(found)


def distance(found: Values, expected: Values) -> float | None:
    """Return the Wasserstein distance between values and those of the data.

    It is the mean over the kinds that both have, weighted by how often the data have them.

    Args:
        found: Values of the samples by kind.
        expected: Values of the data by kind.

    Returns:
        The distance, in the unit of the values; None where the two have no kind in common.

    Example:
        >>> distance({"C-H": [1.0, 1.2]}, {"C-H": [1.1, 1.3], "O-H": [0.9]})
        0.1
    """
    common = sorted(found.keys() & expected.keys())
    if not common:
        return None
    distances = [wasserstein_distance(found[kind], expected[kind]) for kind in common]
    counts = [len(expected[kind]) for kind in common]
    return round(float(np.average(distances, weights=counts)), 10)
