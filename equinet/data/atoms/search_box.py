"""Prepare positions and cell for the neighbor search by shortening empty space.

The library vesin divides the space that the atoms span into cells as long as the cutoff. If the
space is very long in one direction and short in another, vesin divides by zero, which ends the
process; wide gaps make it slow.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from equinet.errors import DataError

_MOST_EDGES = 1e9  # edges of one structure; their indices and shifts would take 40 gigabytes
_FARTHEST = 1e6  # lattice vectors beyond which an atom is moved; vesin counts them in 32 bits
_MOST_CELLS = 1e5  # number of cells beyond which vesin merges them
_SMALLEST_SEARCH = 1.0  # Å; vesin refuses cutoff radii that are much shorter
_WIDEST_SEARCH = 4.0  # multiple of the cutoff, with at most 64 times as many candidates as pairs


class SearchBox(NamedTuple):
    """Positions, cell and cutoff for a neighbor search that finds all pairs of the structure.

    Attributes:
        positions: Positions, Å, with wide gaps closed in directions that are not periodic.
        cell: Lattice vectors in rows, Å; if any direction is periodic, they span three dimensions.
        cutoff: Distance up to which pairs must be searched, Å: at least the cutoff of the graph, or
            the diameter of a structure that is not periodic.
        moved: Lattice vectors by which each atom was moved towards the cell.
    """

    positions: Float64[np.ndarray, "atoms 3"]
    cell: Float64[np.ndarray, "3 3"]
    cutoff: float
    moved: Float64[np.ndarray, "atoms 3"]


def search_box(
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
    cutoff: float,
    source: str,
) -> SearchBox:
    """Prepare a structure for the search of its neighbors.

    Args:
        positions: Positions of at least one atom, Å.
        cell: Lattice vectors in rows, Å.
        pbc: Periodicity along each lattice vector.
        cutoff: Cutoff radius, Å.
        source: Name of the structure in error messages.

    Returns:
        Positions, cell and cutoff to search with.

    Raises:
        DataError: The structure is too long in one direction, or has too many edges.

    Example:
        >>> pair = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1e6]])
        >>> box = search_box(pair, np.zeros((3, 3)), np.zeros(3, dtype=bool), 5.0, "pair")
        >>> box.positions[1].tolist()
        [0.0, 0.0, 10.0]
    """
    periodic = int(pbc.sum())
    axes, spanning, heights = np.eye(3), np.zeros((3, 3)), np.zeros(3)
    moved = np.zeros_like(positions)
    if periodic:
        spanning = cell.copy()
        if periodic < 3:
            axes = np.linalg.svd(cell[pbc])[2][periodic:]  # orthogonal to all periodic vectors
            # Files have zeros instead of lattice vectors in directions that are not periodic.
            spanning[~pbc] = axes
        inverse = np.linalg.inv(spanning)
        heights = 1 / np.sqrt((inverse**2).sum(axis=0))
        cells = np.floor(positions @ inverse)
        moved = np.where(pbc & (np.abs(cells) > _FARTHEST), cells, 0.0)
        positions = positions - moved @ spanning
    if periodic < 3:
        along = positions @ axes.T
        extents = along.max(axis=0) - along.min(axis=0)
        if extents.max() > 10 * cutoff:
            closed = np.stack([_without_gaps(line, 2 * cutoff) for line in along.T], axis=1)
            positions = positions + (closed - along) @ axes
            extents = closed.max(axis=0) - closed.min(axis=0)
        heights[~pbc] = extents
    lengths = heights.tolist()
    if periodic:
        # The orthogonal vectors have length 1, so that the determinant is the volume of the
        # periodic part.
        free = np.maximum(heights[~pbc], cutoff).tolist()
        volume = abs(float(np.linalg.det(spanning))) * math.prod(free)
    else:
        volume = math.inf
        # vesin goes through all cells within the cutoff, also where no atom can be.
        cutoff = min(cutoff, max(1.001 * math.hypot(*lengths), _SMALLEST_SEARCH))
    _refuse_many_edges(positions, volume, cutoff, source)
    return SearchBox(positions, spanning, _search_cutoff(lengths, cutoff, source), moved)


def _without_gaps(line: Float64[np.ndarray, " atoms"], widest: float) -> np.ndarray:
    """Shorten the gaps between sorted coordinates to at most a width that no edge spans."""
    order = np.argsort(line)
    gaps = np.diff(line[order])
    surplus = np.where(gaps > widest, gaps - widest, 0.0)
    moved = line.copy()
    moved[order[1:]] -= np.cumsum(surplus)
    return moved


def _search_cutoff(heights: list[float], cutoff: float, source: str) -> float:
    """Return the cutoff, or the shortest longer one that gives vesin cells in all directions."""
    search = cutoff
    while not _divisible(heights, search):
        search *= 1.25
        if search > _WIDEST_SEARCH * cutoff:
            sizes = " × ".join(f"{height:.3g}" for height in heights)
            raise DataError(
                f"{source}: the structure spans {sizes} Å, too long beside its width for a cutoff "
                f"of {cutoff:g} Å; correct the coordinate or cell, or leave the structure out"
            )
    return search


def _divisible(heights: list[float], cutoff: float) -> bool:
    """Tell whether vesin, after merging cells, has at least one cell in every direction."""
    x, y, z = (max(math.floor(height / cutoff), 1) for height in heights)
    if x * y * z <= _MOST_CELLS:
        return True
    along_z = math.floor(math.cbrt(_MOST_CELLS * y * z * z / (x * y * y)))
    along_y = math.floor(y / z * along_z)
    return min(along_z, along_y, math.floor(x / y * along_y)) >= 1


def _refuse_many_edges(positions: np.ndarray, volume: float, cutoff: float, source: str) -> None:
    """Estimate the number of edges from the density and from small cubes, and refuse too many."""
    atoms = len(positions)
    edges = atoms * atoms * (4 / 3 * math.pi * cutoff**3) / max(volume, 1e-300)
    if atoms * atoms > _MOST_EDGES:
        cubes = np.floor(positions / (cutoff / math.sqrt(3))).astype(np.int64)
        _, together = np.unique(cubes, axis=0, return_counts=True)
        edges = max(edges, float((together.astype(np.float64) ** 2).sum()))
    if edges > _MOST_EDGES:
        raise DataError(
            f"{source}: {atoms} atoms would have about {edges:.1e} edges within {cutoff:g} Å; "
            "correct the cell and positions, which are in Å, or lower the cutoff"
        )
