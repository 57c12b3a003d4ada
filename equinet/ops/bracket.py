"""The bracket product: the antisymmetric companion of the Gaunt product."""

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
    "reference": reference.bracket_product,
    "fourier": fourier.bracket_product,
    "grid": grid.bracket_product,
    "native": native.bracket_product,
}


def bracket_product(
    x: Float[Tensor, "*batch_x lm1 channel_x"],
    y: Float[Tensor, "*batch_y lm2 channel_y"],
    lmax_out: int | None = None,
    *,
    backend: str = "auto",
) -> Float[Tensor, "*batch lm channel_x"]:
    """Take the Poisson bracket of functions on the sphere, channel by channel.

    ``{f, g}(n) = n . (grad f x grad g)``: the paths of odd l1 + l2 + l3, such as the cross
    product, which the Gaunt product lacks; both together are all Clebsch-Gordan paths.
    Antisymmetric, equivariant under rotations; a reflection changes the sign of the result
    relative to the natural parity (-1)^l.

    Args:
        x: Coefficients [..., (L1 + 1)², C] of orthonormal real harmonics.
        y: Coefficients [..., (L2 + 1)², C or 1]; a single channel is used for all. Batch dimensions
            broadcast.
        lmax_out: Highest degree of the result, L1 + L2 by default as for the Gaunt product. The
            bracket has degree L1 + L2 - 1, so that the coefficients of degree L1 + L2 are zero.
        backend: Name of the backend: "auto", "reference", "fourier", "grid" or "native", see
            ``available_backends("bracket_product")``.

    Returns:
        Coefficients [..., (lmax_out + 1)^2, C] in the operands' dtype; half precision is
        accumulated in float32.

    Raises:
        ValueError: If shapes or dtypes do not fit, naming the argument.
        BackendError: If the backend does not run here.

    Example:
        >>> import torch
        >>> x, y = torch.randn(10, 9, 32), torch.randn(10, 9, 32)
        >>> bool((bracket_product(x, y) + bracket_product(y, x)).abs().max() < 1e-4)
        True
    """
    lmax_x, lmax_y = check_pair(x, y)
    dtype = common_dtype(x=x, y=y)
    exact = lmax_x + lmax_y
    lmax_out = exact if lmax_out is None else lmax_out
    check_degree("lmax_out", lmax_out)
    device = x.device.type
    backend = resolve_backend("bracket_product", backend, device)
    bracket = _IMPLEMENTATIONS[backend]
    working = working_dtype(dtype, backend, device)
    z = bracket(in_dtype(x, working), in_dtype(y, working), min(lmax_out, max(exact - 1, 0)))
    return in_dtype(with_degrees(z, lmax_out), dtype)
