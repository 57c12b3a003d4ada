"""Neighbor lists of periodic, partly periodic and free structures.

vesin covers all three (checked here against a brute-force sum over images), depends on NumPy alone
and needs no compiler, so no second library is kept beside it.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from equinet.data.atoms.search_box import search_box
from equinet.errors import BackendError
from equinet.neighborhood import Neighborhood


def neighbor_list(
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
    cutoff: float | Neighborhood,
    *,
    max_neighbors: int | None = None,
    tie_tolerance: float | None = None,
    source: str = "the structure",
) -> tuple[Int64[np.ndarray, "2 edges"], Float64[np.ndarray, "edges 3"]]:
    """List all pairs closer than the cutoff, periodic images (also an atom's own) included.

    The edge vector is ``positions[sender] - positions[receiver] + edge_shift @ cell``.

    Args:
        positions: Positions, Å; atoms may lie outside of the cell.
        cell: Lattice vectors in rows, Å; rows that are not periodic are not used.
        pbc: Periodicity along each lattice vector.
        cutoff: Cutoff radius, Å, or a whole :class:`equinet.neighborhood.Neighborhood`; a pair at
            exactly this distance is left out.
        max_neighbors: Number of edges that may end at an atom; the shortest are kept. Among edges
            of one length the choice depends on the order of the atoms: symmetric structures lose
            their symmetry, and energies change with the order. None keeps all.
        tie_tolerance: Difference of squared lengths, Å²: all edges whose squared length exceeds
            that of the shortest edge to be left out by no more than this are kept too. Nothing then
            depends on the order; OC20's models that are not strict use 0.01. None keeps exactly
            ``max_neighbors``.
        source: Name of the structure in errors.

    Returns:
        ``edge_index`` as ``[sender, receiver]``, sorted by receiver, then sender, then shift; and
        the integer lattice shifts ``edge_shift``, as floats.

    Raises:
        ValueError: ``cutoff`` is not positive and finite, ``max_neighbors`` is below 1, or
            ``tie_tolerance`` is negative or without ``max_neighbors``.
        DataError: The structure is longer than hundreds of thousands of cutoff radii in one
            direction, or has about a billion edges, as with positions in another unit than Å.
        BackendError: vesin is not installed.

    Example:
        >>> import numpy as np
        >>> row = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> neighbor_list(row, np.zeros((3, 3)), np.zeros(3, dtype=bool), 1.5)[0].tolist()
        [[1, 0], [0, 1]]
    """
    near = Neighborhood.of(cutoff, max_neighbors, tie_tolerance)
    vesin = _vesin()
    if not len(positions):
        return np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3))
    box = search_box(positions, cell, pbc, near.cutoff, source)
    receiver, sender, shift = vesin.NeighborList(
        cutoff=box.cutoff, full_list=True, n_threads=1
    ).compute(box.positions, box.cell, pbc, "ijS")
    edge_index = np.stack([sender, receiver]).astype(np.int64)
    edge_shift = shift.astype(np.float64)
    vectors = positions[edge_index[0]] - positions[edge_index[1]] + edge_shift @ cell
    squares = (vectors * vectors).sum(axis=1)
    # vesin keeps or drops a pair at the very cutoff by the last bit; this line decides.
    kept = squares < near.cutoff * near.cutoff
    most, tolerance = near.max_neighbors, near.tie_tolerance
    if most is not None:
        beyond = most - (tolerance is None)
        bound = _nth_shortest(edge_index[1][kept], squares[kept], len(positions), beyond)
        kept &= squares <= bound[edge_index[1]] + (tolerance or 0.0)
    edge_index, edge_shift, squares = edge_index[:, kept], edge_shift[kept], squares[kept]
    if most is not None and tolerance is None:
        # Some edges as long as the last one may be too many; their order decides.
        order = np.lexsort((*edge_shift.T[::-1], edge_index[0], squares, edge_index[1]))
        first = order[_place_in_group(edge_index[1][order]) < most]
        edge_index, edge_shift = edge_index[:, first], edge_shift[first]
    order = np.lexsort((*edge_shift.T[::-1], *edge_index))
    return edge_index[:, order], edge_shift[order]


def _nth_shortest(
    receiver: Int64[np.ndarray, " edges"],
    squares: Float64[np.ndarray, " edges"],
    atoms: int,
    place: int,
) -> Float64[np.ndarray, " atoms"]:
    """Squared length of the edge at a place, from 0, among those that end at each atom.

    Infinite where there are not so many.
    """
    order = np.lexsort((squares, receiver))
    at_place = order[_place_in_group(receiver[order]) == place]
    bound = np.full(atoms, np.inf)
    bound[receiver[at_place]] = squares[at_place]
    return bound


def _place_in_group(groups: Int64[np.ndarray, " edges"]) -> Int64[np.ndarray, " edges"]:
    """Count up from 0 within each run of equal numbers."""
    places = np.arange(len(groups))
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return places - np.repeat(starts, np.diff(np.append(starts, len(groups))))


def _vesin() -> Any:
    try:
        import vesin
    except ImportError as error:
        raise BackendError(
            "neighbor lists need vesin, which is not installed: pip install 'equinet[atoms]'"
        ) from error
    return vesin
