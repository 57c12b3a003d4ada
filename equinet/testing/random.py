"""Random rotations and coefficients, reproducible by a generator."""

import torch
from jaxtyping import Float
from torch import Tensor

from equinet import lie
from equinet.o3 import degree_of, spherical_harmonics


def random_rotations(
    count: int,
    improper: bool = False,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "count 3 3"]:
    """Draw orthogonal matrices uniformly (Haar measure).

    Args:
        count: Number of matrices.
        improper: Whether determinants are -1 instead of +1.
        dtype: Data type of the result; the matrices are computed in float64.
        generator: Source of random numbers, torch's global one by default.

    Returns:
        The matrices.

    Example:
        >>> random_rotations(2, improper=True).det().round()
        tensor([-1., -1.], dtype=torch.float64)
    """
    rotations = lie.random_rotations(count, generator=generator).to(dtype)
    return -rotations if improper else rotations


def random_coefficients(
    *batch: int,
    lmax: int,
    channels: int = 1,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch lm channel"]:
    """Draw coefficients of functions on the sphere, independent and standard normal.

    Args:
        *batch: Leading dimensions of the result.
        lmax: Highest degree, at least 0.
        channels: Number of functions in each batch entry.
        dtype: Data type of the result. Coefficients are drawn in float64, so that all precisions
            see the same ones.
        generator: Source of random numbers, torch's global one by default.

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
        coefficients: Coefficients [..., (lmax + 1)², channels] of the functions.
        points: Points [P, 3] at which the functions are evaluated, of any length.

    Returns:
        The values [..., P, channels] at the points.

    Example:
        >>> constant = torch.tensor([[math.sqrt(4 * math.pi)]])
        >>> evaluate(constant, torch.eye(3)).flatten().round()
        tensor([1., 1., 1.])
    """
    return spherical_harmonics(degree_of(coefficients), points) @ coefficients
