"""Real spherical harmonics of any degree, by recurrences in Cartesian coordinates."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3.harmonic_recurrences import solid_harmonics
from equinet.o3.tables import constant_table


def spherical_harmonics(
    lmax: int, directions: Float[Tensor, "*batch 3"], normalize: bool = True
) -> Float[Tensor, "*batch lm"]:
    r"""Evaluate the real orthonormal spherical harmonics of all degrees up to ``lmax``.

    Index ``l*l + l + m``; order and sign of e3nn (polar axis y, so degree 1 is proportional to
    (x, y, z)), orthonormal: the integral of ``Y_i Y_j`` over the sphere is 1 where i = j, else 0.
    Differentiable to any order with respect to ``directions``.

    With ``normalize`` a vector shorter than the square root of the smallest normal number
    (1e-19 in float32, 1e-154 in float64) counts as zero: its harmonics are 1/sqrt(4 pi) for
    l = 0 and zero for l > 0 (the mean over all directions), and all their gradients are zero.
    Half precision is evaluated in float32.

    Args:
        lmax: Highest degree, at least 0.
        directions: Vectors of any length and unit.
        normalize: Whether harmonics are evaluated at ``directions / |directions|``; otherwise the
            result is the solid harmonics ``r^l Y_lm``, which are homogeneous polynomials, smooth
            everywhere.

    Returns:
        The ``(lmax + 1)**2`` values for each vector, in the vectors' dtype.

    Raises:
        ValueError: If ``lmax`` is negative or ``directions`` is not floating point of shape [...,
            3].

    Source: The recurrence in l of the associated Legendre functions with the factor ``(sin
    beta)^m`` moved into ``Re, Im (z + i x)^m``: no angles, no poles.

    Example:
        >>> spherical_harmonics(1, torch.tensor([0.0, 2.0, 0.0])) * math.sqrt(4 * math.pi / 3)
        tensor([0.5774, 0.0000, 1.0000, 0.0000])
    """
    if lmax < 0:
        raise ValueError(f"lmax must be at least 0, found {lmax}")
    if directions.ndim == 0 or directions.shape[-1] != 3 or not directions.is_floating_point():
        raise ValueError(
            "directions must be floating point of shape [..., 3], found "
            f"{directions.dtype} {list(directions.shape)}"
        )
    # Components first: the long axis of vectors last, where arithmetic runs fastest.
    vectors = directions.reshape(-1, 3).T.contiguous()
    if vectors.dtype.itemsize < 4:
        vectors = vectors.float()
    if normalize:
        vectors = without_overflow(vectors, dim=0)
        square = vectors.square().sum(0)
        is_zero = square < torch.finfo(vectors.dtype).tiny
        # Both branches of every `where` stay finite, so that no gradient of any order is NaN.
        unit = vectors * torch.where(is_zero, 1.0, square).rsqrt()
        at_zero = _harmonics_at_zero(lmax, dtype=unit.dtype, device=unit.device)
        harmonics = torch.where(is_zero, at_zero, solid_harmonics(lmax, unit, on_sphere=True))
    else:
        harmonics = solid_harmonics(lmax, vectors, on_sphere=False)
    return harmonics.T.reshape(*directions.shape[:-1], (lmax + 1) ** 2).to(directions.dtype)


def without_overflow(vectors: Tensor, *, dim: int) -> Tensor:
    """Shorten vectors whose squares are no finite numbers, by a power of two.

    Args:
        vectors: Vectors of any length.
        dim: Dimension of the three components.
    """
    exponent = math.frexp(torch.finfo(vectors.dtype).max)[1] // 2
    # Three squares of this size have a finite sum.
    is_long = vectors.detach().abs().amax(dim, keepdim=True) > 2.0 ** (exponent - 1)
    return torch.where(is_long, vectors * 2.0 ** -(exponent + 1), vectors)


@constant_table
def _harmonics_at_zero(lmax: int) -> np.ndarray:
    """Return the values [lm, 1] of the harmonics at the zero vector."""
    values = np.zeros((lmax + 1) ** 2)
    values[0] = 1 / math.sqrt(4 * math.pi)
    return values[:, None]
