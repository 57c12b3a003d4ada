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
) -> tuple[Int64[np.ndarray, "2 edges"], Float64[np.ndarray, "edges 3"]]:
    """List all pairs closer than the cutoff, periodic images (also an atom's own) included.

    The edge vector is ``positions[sender] - positions[receiver] + edge_shift @ cell``.

    Args:
        positions: Å; atoms may lie outside of the cell.
        cell: Rows are lattice vectors, Å; rows that are not periodic are not used.
        pbc: Which lattice vectors are periodic.
        cutoff: Å; a pair at exactly this distance is left out.

    Returns:
        ``edge_index`` as ``[sender, receiver]``, sorted by receiver, then sender, then shift; and
        the integer lattice shifts ``edge_shift``, as floats.

    Raises:
        ValueError: ``cutoff`` is not positive and finite.
        BackendError: vesin is not installed.

    Example:
        >>> import numpy as np
        >>> row = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> neighbor_list(row, np.zeros((3, 3)), np.zeros(3, dtype=bool), 1.5)[0].tolist()
        [[1, 0], [0, 1]]
    """
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"cutoff must be positive and finite (Å), got {cutoff}")
    vesin = _vesin()
    receiver, sender, shift = vesin.NeighborList(
        cutoff=cutoff, full_list=True, n_threads=1
    ).compute(positions, _spanning_cell(cell, pbc), pbc, "ijS")
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], sender, receiver))
    edge_index = np.stack([sender, receiver])[:, order].astype(np.int64)
    edge_shift = shift[order].astype(np.float64)
    vectors = positions[edge_index[0]] - positions[edge_index[1]] + edge_shift @ cell
    # vesin keeps or drops a pair at the very cutoff by the last bit; this line decides.
    inside = (vectors * vectors).sum(axis=1) < cutoff * cutoff
    return edge_index[:, inside], edge_shift[inside]


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
