"""Edge frames: features are rotated so that the edge is the polar axis."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3 import constant_table, matmul, rotation_to_pole, wigner_d_blocks


class EdgeFrames(NamedTuple):
    """Matrices that rotate features into edge frames and back, made once for all layers.

    In an edge frame, components are ordered by their order m: all of m = 0, then for each
    m = 1 … mmax those of +m and those of -m, the degrees rising within each. A rotation about the
    edge mixes +m and -m alone; orders above ``mmax`` are left out.

    Attributes:
        to_edge: Rows [E, row, (lmax+1)²] of Wigner D matrices.
        from_edge: Transposes [E, (lmax+1)², row]. Degrees above mmax, some of whose components are
            missing, are multiplied by sqrt((2l+1) / (2 mmax+1)) to make up for them.

    Example:
        >>> frames = edge_frames(torch.randn(7, 3), lmax=3, mmax=3)
        >>> x = torch.randn(7, 16, 8)
        >>> bool((frames.back(frames.into(x)) - x).abs().max() < 1e-4)
        True
    """

    to_edge: Float[Tensor, "edge row lm"]
    from_edge: Float[Tensor, "edge lm row"]

    def into(self, x: Float[Tensor, "edge lm channel"]) -> Float[Tensor, "edge row channel"]:
        """Rotate features of edges into their edge frames, in the precision of the frames."""
        return matmul(self.to_edge, x.to(self.to_edge.dtype))

    def back(self, x: Float[Tensor, "edge row channel"]) -> Float[Tensor, "edge lm channel"]:
        """Rotate features in edge frames back, in the precision of the frames."""
        return matmul(self.from_edge, x.to(self.from_edge.dtype))


def edge_frames(vectors: Float[Tensor, "edge 3"], lmax: int, mmax: int) -> EdgeFrames:
    """Choose an edge frame for every edge and build the matrices that rotate features into it.

    An edge frame is fixed up to a rotation about the edge; layers that commute with such rotations
    give the same result for every choice.

    Args:
        vectors: Vectors [E, 3] along the edges, of any length but zero.
        lmax: Highest degree of the features.
        mmax: Highest order kept, at most ``lmax``.

    Source: Passaro, Zitnick, Reducing SO(3) convolutions to SO(2) (ICML 2023).

    Example:
        >>> edge_frames(torch.randn(7, 3), lmax=3, mmax=1).to_edge.shape
        torch.Size([7, 10, 16])
    """
    return frames_of(rotation_to_pole(vectors), lmax, mmax)


def frames_of(rotations: Float[Tensor, "edge 3 3"], lmax: int, mmax: int) -> EdgeFrames:
    """Build the matrices of given frames; see :func:`edge_frames`.

    Args:
        rotations: Rotations [E, 3, 3] that take the direction of each edge to the polar axis y.
        lmax: Highest degree of the features.
        mmax: Highest order kept, at most ``lmax``.
    """
    device = rotations.device
    place = _place(lmax, mmax, dtype=torch.int64, device=device)
    size = (lmax + 1) ** 2
    parts = []
    for degree, block in enumerate(wigner_d_blocks(lmax, rotations)):
        kept = min(degree, mmax)
        rows = block[:, degree - kept : degree + kept + 1]
        parts.append(torch.nn.functional.pad(rows, (degree**2, size - (degree + 1) ** 2)))
    to_edge = torch.cat(parts, dim=1).index_select(1, place)
    make_up = _make_up(lmax, mmax, dtype=rotations.dtype, device=device)
    return EdgeFrames(to_edge, (to_edge * make_up).mT.contiguous())


def frame_components(lmax: int, mmax: int) -> list[tuple[int, int]]:
    """List degree and order of the components in the frame of an edge, in their order.

    Raises:
        ValueError: If ``mmax`` does not lie between 0 and ``lmax``.

    Example:
        >>> frame_components(1, 1)
        [(0, 0), (1, 0), (1, 1), (1, -1)]
    """
    if not 0 <= mmax <= lmax:
        raise ValueError(f"mmax must lie between 0 and lmax = {lmax}, found {mmax}")
    orders = [0] + [signed for order in range(1, mmax + 1) for signed in (order, -order)]
    return [(degree, order) for order in orders for degree in range(abs(order), lmax + 1)]


@constant_table
def _place(lmax: int, mmax: int) -> np.ndarray:
    """Return the place of each component of an edge frame among those ordered by degree."""
    components = frame_components(lmax, mmax)
    by_degree = sorted(components)
    return np.array([by_degree.index(each) for each in components])


@constant_table
def _make_up(lmax: int, mmax: int) -> np.ndarray:
    degrees = np.array([degree for degree, _ in frame_components(lmax, mmax)])
    return np.sqrt(np.maximum((2 * degrees + 1) / (2 * mmax + 1), 1.0))[:, None]
