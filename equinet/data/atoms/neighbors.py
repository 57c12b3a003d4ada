"""Neighbor lists of periodic, partly periodic and free structures.

The library vesin covers all three, depends on NumPy alone and needs no compiler. The tests compare
it with a brute-force sum over periodic images.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from equinet.data.atoms.labels import finite
from equinet.data.atoms.search_box import search_box
from equinet.errors import BackendError
from equinet.neighborhood import Neighborhood

_SHORTEST = 1e-3  # Å; vesin refuses cutoff radii that are much shorter


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
    """List all pairs of atoms closer than the cutoff, including periodic images of the same atom.

    The edge vector is ``positions[sender] - positions[receiver] + edge_shift @ cell``.

    Args:
        positions: Positions, Å; atoms may lie outside of the cell.
        cell: Lattice vectors in rows, Å; rows that are not periodic are not used.
        pbc: Periodicity along each lattice vector.
        cutoff: Cutoff radius, Å, or a whole :class:`equinet.neighborhood.Neighborhood`. A pair at
            exactly this distance is left out.
        max_neighbors: Largest number of edges that may end at an atom, at least 1; the shortest are
            kept. Among edges of equal length the choice depends on the order of the atoms:
            symmetric structures lose their symmetry, and energies change with the order. None keeps
            all edges within the cutoff.
        tie_tolerance: Difference of squared lengths, Å², up to which edges count as equally long:
            edges that are longer than the shortest dropped one by at most this are kept too, and
            the result does not depend on the order of the atoms. OC20's models that do not enforce
            ``max_neighbors`` strictly use 0.01. None keeps exactly ``max_neighbors``.
        source: Name of the structure in error messages.

    Returns:
        ``edge_index`` as ``[sender, receiver]``, sorted by receiver, then sender, then shift; and
        the integer lattice shifts ``edge_shift``, as floats.

    Raises:
        ValueError: ``cutoff`` is not positive and finite, ``max_neighbors`` is below 1, or
            ``tie_tolerance`` is negative or without ``max_neighbors``.
        DataError: A position is NaN or infinite, or the structure is longer than hundreds of
            thousands of cutoff radii in one direction, or has about a billion edges, which happens
            if positions are not in Å.
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
    finite(positions, "positions", source)
    finite(cell, "cell", source)
    box = search_box(positions, cell, pbc, max(near.cutoff, _SHORTEST), source)
    receiver, sender, shift = vesin.NeighborList(
        cutoff=box.cutoff, full_list=True, n_threads=1
    ).compute(box.positions, box.cell, pbc, "ijS")
    edge_index = np.stack([sender, receiver]).astype(np.int64)
    edge_shift = shift + box.moved[edge_index[1]] - box.moved[edge_index[0]]
    vectors = positions[edge_index[0]] - positions[edge_index[1]] + edge_shift @ cell
    squares = (vectors * vectors).sum(axis=1)
    # vesin keeps or drops a pair at exactly the cutoff depending on rounding; this line drops it.
    kept = squares < near.cutoff * near.cutoff
    most, tolerance = near.max_neighbors, near.tie_tolerance
    if most is not None:
        beyond = most - (tolerance is None)
        bound = _nth_shortest(edge_index[1][kept], squares[kept], len(positions), beyond)
        kept &= squares <= bound[edge_index[1]] + (tolerance or 0.0)
    edge_index, edge_shift, squares = edge_index[:, kept], edge_shift[kept], squares[kept]
    if most is not None and tolerance is None:
        # Too many edges may be as long as the last one; the order of the atoms then decides.
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
    """Return the squared length of the edge at a place, from 0, among those that end at each atom.

    The value is infinite for atoms with fewer edges.
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
            "neighbor lists need vesin, which is not installed: pip install '.[atoms]' in the clone"
        ) from error
    return vesin
