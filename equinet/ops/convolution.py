"""Gaunt convolution: gather, multiply by a filter along the edge, sum over the neighbors."""

import math

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from equinet.o3 import antipodal_quadrature, constant_table, degree_of, matmul, spherical_harmonics
from equinet.ops.backends import resolve_backend
from equinet.ops.filter_sum import filter_sum
from equinet.ops.grid import degree_selection, from_grid, harmonics_on_grid, of_degree, to_grid
from equinet.ops.native import filter_sum as native
from equinet.ops.operands import (
    check_coefficients,
    check_degree,
    check_edge_index,
    common_dtype,
    with_degrees,
    working_dtype,
)
from equinet.ops.product import gaunt_product
from equinet.ops.segment import segment_sum


def gaunt_convolution(
    x: Float[Tensor, "node lm channel"],
    directions: Float[Tensor, "edge xyz"],
    radial: Float[Tensor, "edge_radial degree channel_radial"],
    edge_index: Int[Tensor, "ends edge_ends"],
    lmax_out: int,
    *,
    harmonics: Float[Tensor, "edge lm_filter"] | None = None,
    backend: str = "auto",
) -> Float[Tensor, "node lm_out channel"]:
    """Sum the Gaunt products of the senders' features with filters along the edges.

    ``z_i = sum over edges e = (j -> i) of x_j * sum_lm radial[e, l] Y_lm(directions[e])``, where
    ``*`` is the Gaunt product, projected on degrees up to ``lmax_out``. The weights sit on the
    degrees of the filter, therefore the neighbors can be summed on a grid and each node is
    projected once. No tensor of edges x grid points x channels is made. Differentiable to any
    order.

    Args:
        x: Features of the nodes [N, (L + 1)^2, C].
        directions: Vectors along the edges [E, 3], of any length and unit: they are normalized. For
            a zero vector only degree 0 of the filter acts, see ``equinet.o3.spherical_harmonics``.
        radial: Weights of the filter's degrees [E, lmax_filter + 1, C].
        edge_index: Senders and receivers [2, E], in any order; sorted by receiver is fastest.
        lmax_out: Highest degree of the result.
        harmonics: Values [E, (lmax_filter + 1)²] of ``spherical_harmonics(lmax_filter,
            directions)``, which several convolutions along the same edges can use. Their dtype is
            that of the operands, or float32 if that is half precision. None computes them here.
        backend: Name of the backend: "auto", "reference", "fourier", "grid" or "native", see
            ``available_backends("gaunt_convolution")``. The backends "reference" and "fourier"
            multiply edge by edge.

    Returns:
        [N, (lmax_out + 1)^2, C], zero for a node that receives nothing.

    Raises:
        ValueError: If shapes or dtypes do not fit, naming the argument.
        BackendError: If the backend does not run here.

    Example:
        >>> x, directions, radial = torch.randn(3, 9, 8), torch.randn(4, 3), torch.randn(4, 4, 8)
        >>> edge_index = torch.tensor([[1, 2, 0, 0], [0, 0, 1, 2]])
        >>> gaunt_convolution(x, directions, radial, edge_index, 3).shape
        torch.Size([3, 16, 8])
    """
    check_convolution(x, directions, radial, edge_index, lmax_out, harmonics)
    dtype = common_dtype(x=x, directions=directions, radial=radial)
    backend = resolve_backend("gaunt_convolution", backend, x.device.type)
    working = working_dtype(dtype)
    x, radial = x.to(working), radial.to(working)
    lmax, lmax_filter = degree_of(x), radial.shape[1] - 1
    exact = min(lmax_out, lmax + lmax_filter)
    # Constant functions only scale the filter, whose degrees beyond the result's are lost.
    used = lmax_filter if lmax > 0 else exact
    if harmonics is None:
        harmonics = spherical_harmonics(used, directions.to(working))
    elif harmonics.dtype not in {dtype, working}:
        raise ValueError(f"harmonics must have the dtype of x, {dtype}, found {harmonics.dtype}")
    harmonics = harmonics[:, : (used + 1) ** 2].to(working)
    radial = radial[:, : used + 1]
    if backend == "native":
        z = _native(x, harmonics, radial, edge_index, exact)
    elif backend != "grid":
        z = _edge_by_edge(x, harmonics, radial, edge_index, exact, backend)
    elif lmax == 0:
        z = _from_scalars(x, harmonics, radial, edge_index)
    else:
        z = _on_grid(x, harmonics, radial, edge_index, exact)
    return with_degrees(z, lmax_out).to(dtype)


def _edge_by_edge(
    x: Tensor,
    harmonics: Tensor,
    radial: Tensor,
    edge_index: Tensor,
    lmax_out: int,
    backend: str,
) -> Tensor:
    """Multiply features and filter on every edge, then sum: the definition itself."""
    sender, receiver = edge_index
    filters = matmul(_by_degree(harmonics), radial)
    messages = gaunt_product(x.index_select(0, sender), filters, lmax_out, backend=backend)
    return segment_sum(messages, receiver, x.shape[0])


def _from_scalars(x: Tensor, harmonics: Tensor, radial: Tensor, edge_index: Tensor) -> Tensor:
    """Multiply by constant functions, which scale the filter.

    The components of the filter replace grid points; no grid or projection is needed.
    """
    sender, receiver = edge_index
    harmonics = harmonics / math.sqrt(4 * math.pi)
    scalars = x.expand(-1, harmonics.shape[1], -1)
    return filter_sum(_by_degree(harmonics), radial, scalars, sender, receiver, x.shape[0])


def _on_grid(
    x: Tensor, harmonics: Tensor, radial: Tensor, edge_index: Tensor, lmax_out: int
) -> Tensor:
    """Sample each node once, multiply and sum on the grid, project each node once."""
    sender, receiver = edge_index
    lmax_filter = radial.shape[1] - 1
    degree = degree_of(x) + lmax_filter + lmax_out
    zonal = _zonal(lmax_filter, degree, dtype=x.dtype, device=x.device)
    kernel = matmul(harmonics, zonal).unflatten(-1, (-1, lmax_filter + 1))
    summed = filter_sum(kernel, radial, to_grid(x, degree), sender, receiver, x.shape[0])
    return from_grid(summed, degree, lmax_out)


def _native(
    x: Tensor, harmonics: Tensor, radial: Tensor, edge_index: Tensor, lmax_out: int
) -> Tensor:
    """Do the same with the filter's kernel made on the fly, in one pass over the edges."""
    sender, receiver = edge_index
    lmax, lmax_filter = degree_of(x), radial.shape[1] - 1
    if lmax == 0:
        harmonics = harmonics / math.sqrt(4 * math.pi)
        return native.filter_sum(harmonics, radial, x, None, sender, receiver, x.shape[0])
    degree = lmax + lmax_filter + lmax_out
    dtype, device = x.dtype, x.device
    samples = matmul(_antipodal_evaluation(lmax, degree, dtype=dtype, device=device), x)
    table = _half_evaluation(lmax_filter, degree, dtype=dtype, device=device)
    summed = native.filter_sum(harmonics, radial, samples, table, sender, receiver, x.shape[0])
    projection = _antipodal_projection(lmax_out, degree, dtype=dtype, device=device)
    return matmul(projection, summed)


@constant_table
def _antipodal_evaluation(lmax: int, degree: int) -> np.ndarray:
    points, _ = antipodal_quadrature(degree)
    return spherical_harmonics(lmax, points).numpy()


@constant_table
def _half_evaluation(lmax: int, degree: int) -> np.ndarray:
    points, _ = antipodal_quadrature(degree)
    return spherical_harmonics(lmax, points[: len(points) // 2]).numpy()


@constant_table
def _antipodal_projection(lmax: int, degree: int) -> np.ndarray:
    points, weights = antipodal_quadrature(degree)
    return np.ascontiguousarray((spherical_harmonics(lmax, points) * weights[:, None]).numpy().T)


def _by_degree(harmonics: Tensor) -> Tensor:
    """Write harmonics [E, lm] as matrices [E, lm, l], to be applied to one weight a degree."""
    lmax = math.isqrt(harmonics.shape[1]) - 1
    selection = degree_selection(lmax, dtype=harmonics.dtype, device=harmonics.device)
    return harmonics.unsqueeze(-1) * selection


@constant_table
def _zonal(lmax: int, degree: int) -> np.ndarray:
    """Matrix [lm, (p, l)] from the harmonics of a direction r to ``sum_m Y_lm(r) Y_lm(n_p)``.

    By the addition theorem that is ``(2 l + 1) / (4 pi) P_l(r . n_p)``.
    """
    harmonics = harmonics_on_grid(lmax, degree).T
    return (harmonics[:, :, None] * of_degree(lmax)[:, None, :]).reshape(len(harmonics), -1)


def check_convolution(
    x: Tensor,
    directions: Tensor,
    radial: Tensor,
    edge_index: Tensor,
    lmax_out: int,
    harmonics: Tensor | None = None,
) -> None:
    """Refuse operands that do not fit; see :func:`gaunt_convolution` for what they are.

    Raises:
        ValueError: A shape or dtype does not fit; names the argument.
    """
    check_coefficients("x", x)
    check_degree("lmax_out", lmax_out)
    if x.ndim != 3:
        raise ValueError(f"x must have shape [N, (lmax + 1)^2, C], found {list(x.shape)}")
    check_edge_index(edge_index)
    edges, channels = edge_index.shape[1], x.shape[2]
    if directions.shape != (edges, 3):
        raise ValueError(f"directions must have shape [{edges}, 3], found {list(directions.shape)}")
    if radial.ndim != 3 or (radial.shape[0], radial.shape[2]) != (edges, channels):
        raise ValueError(
            f"radial must have shape [{edges}, lmax_filter + 1, {channels}], "
            f"found {list(radial.shape)}"
        )
    if radial.shape[1] == 0:
        raise ValueError(f"radial must hold at least degree 0, found shape {list(radial.shape)}")
    if harmonics is not None and harmonics.shape != (edges, radial.shape[1] ** 2):
        raise ValueError(
            f"harmonics must have shape [{edges}, {radial.shape[1] ** 2}], those of directions up "
            f"to the degree of radial, found {list(harmonics.shape)}"
        )
