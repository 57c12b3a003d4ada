"""The Gaunt product: multiplication of functions on the sphere."""

from jaxtyping import Float
from torch import Tensor

from equinet.ops import fourier, grid, reference
from equinet.ops.backends import resolve_backend
from equinet.ops.native import sphere_forms as native
from equinet.ops.operands import (
    check_degree,
    check_pair,
    common_dtype,
    in_dtype,
    with_degrees,
    working_dtype,
)

_IMPLEMENTATIONS = {
    "reference": reference.gaunt_product,
    "fourier": fourier.gaunt_product,
    "grid": grid.gaunt_product,
    "native": native.gaunt_product,
}


def gaunt_product(
    x: Float[Tensor, "*batch_x lm1 channel_x"],
    y: Float[Tensor, "*batch_y lm2 channel_y"],
    lmax_out: int | None = None,
    *,
    backend: str = "auto",
) -> Float[Tensor, "*batch lm channel_x"]:
    """Multiply functions on the sphere, given by their coefficients, channel by channel.

    ``z_k = sum_ij G_ijk x_i y_j`` with the Gaunt tensor ``G``: these are the coefficients of
    ``f_x(n) f_y(n)``, all of them for ``lmax_out = L1 + L2``, else the nearest function of degree
    ``lmax_out`` in the sense of least squares. Equivariant under rotations and reflections,
    commutative, differentiable to any order.

    Args:
        x: Coefficients [..., (L1 + 1)^2, C] of orthonormal real harmonics.
        y: Coefficients [..., (L2 + 1)^2, C or 1]; a single channel is shared by all. Batch
            dimensions broadcast.
        lmax_out: Highest degree of the result; None is L1 + L2, the exact product.
        backend: Name of the backend: "auto", "reference", "fourier", "grid" or "native", see
            ``available_backends("gaunt_product")``.

    Returns:
        Coefficients [..., (lmax_out + 1)^2, C] in the operands' dtype; half precision is
        accumulated in float32.

    Raises:
        ValueError: If shapes or dtypes do not fit, naming the argument.
        BackendError: If the backend does not run here.

    Source: Luo, Chen and Krishnapriyan, ICLR 2024.

    Example:
        >>> import torch
        >>> x, y = torch.randn(10, 9, 32), torch.randn(10, 16, 1)
        >>> gaunt_product(x, y, 4).shape
        torch.Size([10, 25, 32])
    """
    lmax_x, lmax_y = check_pair(x, y)
    dtype = common_dtype(x=x, y=y)
    exact = lmax_x + lmax_y
    lmax_out = exact if lmax_out is None else lmax_out
    check_degree("lmax_out", lmax_out)
    device = x.device.type
    backend = resolve_backend("gaunt_product", backend, device)
    multiply = _IMPLEMENTATIONS[backend]
    working = working_dtype(dtype, backend, device)
    z = multiply(in_dtype(x, working), in_dtype(y, working), min(lmax_out, exact))
    return in_dtype(with_degrees(z, lmax_out), dtype)
