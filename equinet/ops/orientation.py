"""Convolution over positions and orientations with a zonal kernel, summed over the neighbors."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from equinet.o3 import (
    angle_multiples,
    constant_table,
    degrees,
    is_transformed,
    matmul,
    spherical_harmonics,
    zonal_polynomials,
)
from equinet.ops import reference
from equinet.ops.backends import resolve_backend
from equinet.ops.filter_sum import filter_sum
from equinet.ops.native import filter_sum as native
from equinet.ops.operands import check_edge_index, common_dtype, working_dtype


def orientation_convolution(
    x: Float[Tensor, "node orientation channel"],
    vectors: Float[Tensor, "edge xyz"],
    radial: Float[Tensor, "edge_radial zonal channel_radial"],
    edge_index: Int[Tensor, "ends edge_ends"],
    points: Float[Tensor, "point xyz_point"],
    *,
    backend: str = "auto",
) -> Float[Tensor, "node orientation channel"]:
    r"""Sum the senders' signals, each orientation times a kernel of the edge and that orientation.

    :math:`y_i(o, c) = \sum_{e = (j \to i)} \sum_k R_{ekc}\, Z_k(v_e, o)\, x_j(o, c)` with the zonal
    polynomials :math:`Z` of :func:`equinet.o3.zonal_polynomials`: in space
    :math:`|v|^l P_l(o\cdot\hat v)`, one radial weight a degree; in the plane cosines and sines of
    multiples of the angle from o to v, two a degree. No tensor of edges x orientations x channels
    is made. Differentiable to any order; an edge that is there twice counts twice.

    Args:
        x: Signals of the nodes [N, O, C].
        vectors: Vectors [E, 3] or [E, 2] along the edges, from receiver to sender. They are not
            normalized: the kernel is a polynomial of them, smooth at zero.
        radial: Weights of the zonal polynomials [E, lmax + 1, C], in the plane [E, 2 lmax + 1, C].
        edge_index: Senders and receivers [2, E], in any order; sorted by receiver is fastest.
        points: Unit vectors [O, n] of the orientations; or [O / 2, n] if the second half of the
            orientations is opposite to the first, which saves half of the work.
        backend: Name of the backend: "auto", "reference", "grid" or "native", see
            ``available_backends("orientation_convolution")``.

    Returns:
        [N, O, C], zero for a node that receives nothing.

    Raises:
        ValueError: If shapes or dtypes do not fit, naming the argument.
        BackendError: If the backend does not run here.

    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in
    position-orientation space (ICLR 2024), §4, with a kernel of finite degree.

    Example:
        >>> points = torch.eye(3)
        >>> x, vectors, radial = torch.randn(3, 6, 8), torch.randn(4, 3), torch.randn(4, 3, 8)
        >>> edge_index = torch.tensor([[1, 2, 0, 0], [0, 0, 1, 2]])
        >>> orientation_convolution(x, vectors, radial, edge_index, points).shape
        torch.Size([3, 6, 8])
    """
    _check(x, vectors, radial, edge_index, points)
    dtype = common_dtype(x=x, vectors=vectors, radial=radial, points=points)
    backend = resolve_backend("orientation_convolution", backend, x.device.type)
    working = working_dtype(dtype)
    x, vectors, radial = x.to(working), vectors.to(working), radial.to(working)
    points = points.to(working)
    lmax = (radial.shape[1] - 1) // (2 if points.shape[1] == 2 else 1)
    # The kernels differentiate by neither points nor forwards.
    is_beyond = is_transformed() or (points.requires_grad and torch.is_grad_enabled())
    if backend == "native" and not is_beyond:
        y = _native(x, vectors, radial, edge_index, points, lmax)
    else:
        if points.shape[0] != x.shape[1]:
            points = torch.cat([points, -points])
        if backend == "reference":
            operands = x, vectors, radial, edge_index, points
            y = reference.orientation_convolution(*operands, lmax)
        else:
            sender, receiver = edge_index
            kernel = zonal_polynomials(lmax, vectors.unsqueeze(1), points)
            y = filter_sum(kernel, radial, x, sender, receiver, x.shape[0])
    return y.to(dtype)


def _native(
    x: Tensor, vectors: Tensor, radial: Tensor, edge_index: Tensor, points: Tensor, lmax: int
) -> Tensor:
    """Make the kernel on the fly from harmonics of the edges and of the points."""
    sender, receiver = edge_index
    samples = x
    if points.shape[0] == x.shape[1]:
        # The kernels want points opposite to one another: the opposites hold nothing.
        samples = torch.cat([x, torch.zeros_like(x)], dim=1)
    other = None
    if points.shape[1] == 3:
        harmonics = spherical_harmonics(lmax, vectors, normalize=False)
        factors = _addition_factors(lmax, dtype=x.dtype, device=x.device)
        table = factors * spherical_harmonics(lmax, points)
    else:
        cosines, sines = _multiples(lmax, vectors)
        harmonics = _in_harmonics(cosines, sines)
        table = _in_harmonics(*_multiples(lmax, points))
        even, odd = radial[:, 1::2], radial[:, 2::2]
        # sin(a - b) = sin a cos b - cos a sin b.
        other = (
            _in_harmonics(sines, -cosines),
            torch.cat([torch.zeros_like(radial[:, :1]), odd], dim=1),
        )
        radial = torch.cat([radial[:, :1], even], dim=1)
    y = native.filter_sum(harmonics, radial, samples, table, sender, receiver, x.shape[0], other)
    return y[:, : x.shape[1]]


def _multiples(lmax: int, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Solid cosines and sines [N, lmax + 1] of the multiples 0 to lmax of vectors in the plane."""
    cosine, sine = vectors.T.unsqueeze(1)
    ones = torch.ones_like(cosine)
    if lmax == 0:
        return ones.T, torch.zeros_like(ones).T
    cosines, sines = angle_multiples(lmax, cosine, sine)
    return torch.cat([ones, cosines]).T, torch.cat([torch.zeros_like(ones), sines]).T


def _in_harmonics(cosines: Tensor, sines: Tensor) -> Tensor:
    """Place circular harmonics [N, l] where spherical ones [N, lm] have m = l and m = -l."""
    lmax = cosines.shape[1] - 1
    right = _sectoral(lmax, 1, dtype=cosines.dtype, device=cosines.device)
    left = _sectoral(lmax, -1, dtype=cosines.dtype, device=cosines.device)
    return matmul(cosines, right) + matmul(sines, left)


@constant_table
def _sectoral(lmax: int, sign: int) -> np.ndarray:
    """Matrix [l, lm], one where m = sign l > 0 or where l = 0 for the positive sign."""
    selection = np.zeros((lmax + 1, (lmax + 1) ** 2))
    for degree in range(0 if sign > 0 else 1, lmax + 1):
        selection[degree, degree**2 + degree + sign * degree] = 1
    return selection


@constant_table
def _addition_factors(lmax: int) -> np.ndarray:
    """Return ``4 pi / (2 l + 1)`` of each harmonic, which makes their sums Legendre polynomials."""
    return 4 * np.pi / (2 * degrees(lmax) + 1)


def _check(x: Tensor, vectors: Tensor, radial: Tensor, edge_index: Tensor, points: Tensor) -> None:
    if x.ndim != 3:
        raise ValueError(f"x must have shape [N, orientations, channels], found {list(x.shape)}")
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise ValueError(f"points must have shape [O, 2] or [O, 3], found {list(points.shape)}")
    if x.shape[1] not in (points.shape[0], 2 * points.shape[0]):
        raise ValueError(
            f"x must have {points.shape[0]} orientations, one a point, or "
            f"{2 * points.shape[0]} with the opposite ones, found shape {list(x.shape)}"
        )
    check_edge_index(edge_index)
    edges, channels, dimension = edge_index.shape[1], x.shape[2], points.shape[1]
    if vectors.shape != (edges, dimension):
        raise ValueError(
            f"vectors must have shape [{edges}, {dimension}], found {list(vectors.shape)}"
        )
    if radial.ndim != 3 or (radial.shape[0], radial.shape[2]) != (edges, channels):
        raise ValueError(
            f"radial must have shape [{edges}, zonal polynomials, {channels}], "
            f"found {list(radial.shape)}"
        )
    if radial.shape[1] == 0 or (dimension == 2 and radial.shape[1] % 2 == 0):
        raise ValueError(
            "radial must hold lmax + 1 zonal polynomials in space, 2 lmax + 1 in the plane, "
            f"found shape {list(radial.shape)}"
        )
