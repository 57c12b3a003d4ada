"""Neighbor lists of periodic, partly periodic and free structures.

vesin covers all three (checked here against a brute-force sum over images), depends on NumPy alone
and needs no compiler, so no second library is kept beside it.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from equinet.errors import BackendError


def neighbor_list(
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
    cutoff: float,
    *,
    max_neighbors: int | None = None,
    tie_tolerance: float | None = None,
) -> tuple[Int64[np.ndarray, "2 edges"], Float64[np.ndarray, "edges 3"]]:
    """List all pairs closer than the cutoff, periodic images (also an atom's own) included.

    The edge vector is ``positions[sender] - positions[receiver] + edge_shift @ cell``.

    Args:
        positions: Å; atoms may lie outside of the cell.
        cell: Rows are lattice vectors, Å; rows that are not periodic are not used.
        pbc: Which lattice vectors are periodic.
        cutoff: Å; a pair at exactly this distance is left out.
        max_neighbors: Keep only so many edges that end at an atom, the shortest. Among edges of
            one length the choice depends on the order of the atoms: symmetric structures lose their
            symmetry, and energies change with the order.
        tie_tolerance: Keep instead all edges whose squared length exceeds that of the shortest edge
            to be left out by no more than this, Å². Nothing then depends on the order; OC20's
            models that are not strict use 0.01.

    Returns:
        ``edge_index`` as ``[sender, receiver]``, sorted by receiver, then sender, then shift; and
        the integer lattice shifts ``edge_shift``, as floats.

    Raises:
        ValueError: ``cutoff`` is not positive and finite, ``max_neighbors`` is below 1, or
            ``tie_tolerance`` is negative or without ``max_neighbors``.
        BackendError: vesin is not installed.

    Example:
        >>> import numpy as np
        >>> row = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> neighbor_list(row, np.zeros((3, 3)), np.zeros(3, dtype=bool), 1.5)[0].tolist()
        [[1, 0], [0, 1]]
    """
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"cutoff must be positive and finite (Å), got {cutoff}")
    if max_neighbors is not None and max_neighbors < 1:
        raise ValueError(f"max_neighbors must be at least 1, got {max_neighbors}")
    if tie_tolerance is not None and (max_neighbors is None or not tie_tolerance >= 0):
        raise ValueError(
            f"tie_tolerance must not be negative and needs max_neighbors, got {tie_tolerance}"
        )
    vesin = _vesin()
    receiver, sender, shift = vesin.NeighborList(
        cutoff=cutoff, full_list=True, n_threads=1
    ).compute(positions, _spanning_cell(cell, pbc), pbc, "ijS")
    edge_index = np.stack([sender, receiver]).astype(np.int64)
    edge_shift = shift.astype(np.float64)
    vectors = positions[edge_index[0]] - positions[edge_index[1]] + edge_shift @ cell
    squares = (vectors * vectors).sum(axis=1)
    # vesin keeps or drops a pair at the very cutoff by the last bit; this line decides.
    kept = squares < cutoff * cutoff
    if max_neighbors is not None:
        beyond = max_neighbors - (tie_tolerance is None)
        bound = _nth_shortest(edge_index[1][kept], squares[kept], len(positions), beyond)
        kept &= squares <= bound[edge_index[1]] + (tie_tolerance or 0.0)
    edge_index, edge_shift, squares = edge_index[:, kept], edge_shift[kept], squares[kept]
    if max_neighbors is not None and tie_tolerance is None:
        # Some edges as long as the last one may be too many; their order decides.
        order = np.lexsort((*edge_shift.T[::-1], edge_index[0], squares, edge_index[1]))
        first = order[_place_in_group(edge_index[1][order]) < max_neighbors]
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


def _spanning_cell(
    cell: Float64[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> Float64[np.ndarray, "3 3"]:
    """Put orthogonal vectors where the lattice is not periodic: files hold zeros there."""
    if not pbc.any():
        return np.zeros((3, 3))
    spanning = cell.copy()
    _, _, axes = np.linalg.svd(cell[pbc])  # the last rows span the complement
    spanning[~pbc] = axes[int(pbc.sum()) :]
    return spanning


def _vesin() -> Any:
    try:
        import vesin
    except ImportError as error:
        raise BackendError(
            "neighbor lists need vesin, which is not installed: pip install 'equinet[atoms]'"
        ) from error
    return vesin
