"""Random rotations and coefficients, reproducible by a generator."""

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3 import spherical_harmonics


def random_rotations(
    count: int,
    improper: bool = False,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "count 3 3"]:
    """Draw orthogonal matrices uniformly (Haar measure).

    Args:
        count: how many.
        improper: with determinant -1 rather than +1.
        dtype: of the result; they are computed in float64.
        generator: source of randomness; torch's global one by default.

    Returns:
        The matrices.

    Example:
        >>> random_rotations(2, improper=True).det().round()
        tensor([-1., -1.], dtype=torch.float64)
    """
    quaternions = torch.randn(count, 4, dtype=torch.float64, generator=generator)
    quaternions = quaternions / quaternions.norm(dim=-1, keepdim=True)
    w, x, y, z = quaternions.unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    rotations = torch.stack(entries, dim=-1).reshape(count, 3, 3)
    return -rotations.to(dtype) if improper else rotations.to(dtype)


def random_coefficients(
    *batch: int,
    lmax: int,
    channels: int = 1,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch lm channel"]:
    """Draw coefficients of functions on the sphere, independent and standard normal.

    Args:
        *batch: leading dimensions.
        lmax: highest degree.
        channels: number of functions in each batch entry.
        dtype: of the result; they are drawn in float64, so that all precisions see the same ones.
        generator: source of randomness; torch's global one by default.

    Returns:
        The coefficients.

    Example:
        >>> random_coefficients(5, lmax=2, channels=8).shape
        torch.Size([5, 9, 8])
    """
    shape = (*batch, (lmax + 1) ** 2, channels)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


def evaluate(
    coefficients: Float[Tensor, "*batch lm channel"], points: Float[Tensor, "points 3"]
) -> Float[Tensor, "*batch points channel"]:
    """Return the values ``f(n) = sum_lm x_lm Y_lm(n)`` of functions given by coefficients.

    Args:
        coefficients: of all degrees up to some lmax.
        points: where to evaluate; need not be of unit length.

    Returns:
        The values at each point.
    """
    lmax = round(coefficients.shape[-2] ** 0.5) - 1
    return spherical_harmonics(lmax, points) @ coefficients
