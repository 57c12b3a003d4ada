"""Powers of functions on the sphere: the many-body products of a density."""

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3 import degree_of
from equinet.ops import fourier, grid, reference
from equinet.ops.backends import resolve_backend
from equinet.ops.native import sphere_forms as native
from equinet.ops.operands import (
    check_coefficients,
    check_degree,
    in_dtype,
    with_degrees,
    working_dtype,
)

_IMPLEMENTATIONS = {
    "reference": reference.gaunt_powers,
    "fourier": fourier.gaunt_powers,
    "grid": grid.gaunt_powers,
    "native": native.gaunt_powers,
}


def gaunt_powers(
    x: Float[Tensor, "*batch lm channel"],
    order: int,
    lmax_out: int,
    *,
    backend: str = "auto",
) -> Float[Tensor, "order *batch lm_out channel"]:
    """Return the powers x, x^2, ..., x^order of functions on the sphere, projected.

    No power is truncated before the last step: each is the projection of ``f_x(n)^k`` itself, not
    a product of projections.

    Args:
        x: Coefficients [..., (L + 1)^2, C] of orthonormal real harmonics.
        order: Highest power, at least 1.
        lmax_out: Highest degree of the results.
        backend: Name of the backend: "auto", "reference", "fourier", "grid" or "native", see
            ``available_backends("gaunt_powers")``.

    Returns:
        Coefficients [order, ..., (lmax_out + 1)^2, C]; entry k - 1 is the k-th power.

    Raises:
        ValueError: If a shape, dtype or number does not fit, naming the argument.
        BackendError: If the backend does not run here.

    Source: The many-body operation of Luo, Chen and Krishnapriyan, ICLR 2024, section 3.3.

    Example:
        >>> gaunt_powers(torch.randn(10, 16, 32), 3, 2).shape
        torch.Size([3, 10, 9, 32])
    """
    check_coefficients("x", x)
    check_degree("lmax_out", lmax_out)
    if order < 1:
        raise ValueError(f"order must be at least 1, found {order}")
    backend = resolve_backend("gaunt_powers", backend, x.device.type)
    first = with_degrees(x[..., : (lmax_out + 1) ** 2, :], lmax_out).unsqueeze(0)
    if order == 1:
        return first
    powers = _IMPLEMENTATIONS[backend]
    working = working_dtype(x.dtype, backend, x.device.type)
    higher = powers(in_dtype(x, working), order, min(lmax_out, order * degree_of(x)))
    return torch.cat([first, in_dtype(with_degrees(higher, lmax_out), x.dtype)])
