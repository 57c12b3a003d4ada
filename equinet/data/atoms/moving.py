"""Neighbor lists of a structure in motion, searched anew only once atoms have moved far enough."""

import numpy as np
from jaxtyping import Float64, Int64

from equinet.arguments import Positive, check_arguments
from equinet.data.atoms.fields import Frame
from equinet.data.atoms.neighbors import neighbor_list
from equinet.neighborhood import Neighborhood


class MovingNeighborList:
    """Neighbor list that remembers the pairs within the cutoff and a skin around it.

    As long as no atom has moved by more than half the skin, and cell and periodicity are the same,
    the edges are those of the remembered pairs that are shorter than the cutoff: exactly what
    :func:`equinet.data.neighbor_list` returns.

    Args:
        near: Neighborhood of the edges. With ``max_neighbors`` every call searches anew.
        skin: Length by which remembered pairs may be longer than the cutoff, Å.

    Example:
        >>> from equinet.data import Frame
        >>> places, open_space = np.array([[0.0, 0, 0], [0, 0, 1.2]]), np.zeros(3, dtype=bool)
        >>> frame = Frame(np.array([1, 1]), places, np.zeros((3, 3)), open_space)
        >>> MovingNeighborList(Neighborhood(1.5))(frame)[0].tolist()
        [[1, 0], [0, 1]]
    """

    def __init__(self, near: Neighborhood, skin: Positive = 0.5) -> None:
        check_arguments(MovingNeighborList, {"skin": skin})
        self.near = near
        self.skin = skin
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._pairs: tuple[Int64[np.ndarray, "2 pair"], Float64[np.ndarray, "pair 3"]] | None = None

    def __call__(
        self, frame: Frame
    ) -> tuple[Int64[np.ndarray, "2 edge"], Float64[np.ndarray, "edge 3"]]:
        """Return senders and receivers, and lattice shifts, of a structure.

        Args:
            frame: Structure, which is not kept.

        Raises:
            DataError: The structure is too long or too dense for a neighbor list.
        """
        if self.near.max_neighbors is not None:
            return neighbor_list(
                frame.positions, frame.cell, frame.pbc, self.near, source=frame.source
            )
        if self._pairs is None or not self._is_close(frame):
            reach = self.near.cutoff + self.skin
            self._pairs = None  # not those of another structure, if the search fails
            self._last = frame.positions.copy(), frame.cell.copy(), frame.pbc.copy()
            self._pairs = neighbor_list(
                frame.positions, frame.cell, frame.pbc, reach, source=frame.source
            )
        pairs, shift = self._pairs
        sender, receiver = pairs
        vectors = frame.positions[sender] - frame.positions[receiver] + shift @ frame.cell
        kept = np.einsum("ei,ei->e", vectors, vectors) < self.near.cutoff**2
        return pairs[:, kept], shift[kept]

    def _is_close(self, frame: Frame) -> bool:
        """Tell whether no pair can have come within the cutoff that is not remembered."""
        if self._last is None or self._last[0].shape != frame.positions.shape:
            return False
        positions, cell, pbc = self._last
        if not (np.array_equal(cell, frame.cell) and np.array_equal(pbc, frame.pbc)):
            return False
        moved = frame.positions - positions
        # Where a position is no number, the comparison fails and the search tells so.
        return bool((np.einsum("ni,ni->n", moved, moved) <= (self.skin / 2) ** 2).all())
