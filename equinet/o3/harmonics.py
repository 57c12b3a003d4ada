"""Real spherical harmonics of any degree, by recurrences in Cartesian coordinates."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

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

    Args:
        lmax: highest degree, at least 0.
        directions: vectors of any length and unit.
        normalize: evaluate at ``directions / |directions|``; otherwise return the solid
            harmonics ``r^l Y_lm``, which are homogeneous polynomials, smooth everywhere.

    Returns:
        The ``(lmax + 1)**2`` values for each vector, in the vectors' dtype.

    Raises:
        ValueError: if ``lmax`` is negative or ``directions`` is not floating point of shape
            [..., 3].

    Source:
        The recurrence in l of the associated Legendre functions with the factor
        ``(sin beta)^m`` moved into ``Re, Im (z + i x)^m``: no angles, no poles.

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
    square = vectors.square().sum(0)
    if normalize:
        is_zero = square < torch.finfo(vectors.dtype).tiny
        # Both branches of every `where` stay finite, so that no gradient of any order is NaN.
        unit = vectors * torch.where(is_zero, 1.0, square).rsqrt()
        at_zero = _harmonics_at_zero(lmax, dtype=unit.dtype, device=unit.device)
        harmonics = torch.where(is_zero, at_zero, _solid_harmonics(lmax, unit, None))
    else:
        harmonics = _solid_harmonics(lmax, vectors, square)
    return harmonics.T.reshape(*directions.shape[:-1], (lmax + 1) ** 2)


def normalized_legendre(
    lmax: int, cos_beta: Float[np.ndarray, " beta"]
) -> Float[np.ndarray, "degree order beta"]:
    """Evaluate the polar factors of the harmonics: ``Y_lm = Theta_l|m|(beta) * {1, sqrt2 ...}``.

    The azimuthal factor is ``sqrt2 sin(|m| alpha)`` for m < 0, 1 for m = 0 and
    ``sqrt2 cos(m alpha)`` for m > 0, where ``(x, y, z) = (sin beta sin alpha, cos beta,
    sin beta cos alpha)``.

    Args:
        lmax: highest degree.
        cos_beta: cosines of the polar angles, float64.

    Returns:
        ``Theta[l, m, beta]`` for 0 <= m <= l, zero elsewhere.

    Raises:
        ValueError: if ``lmax`` is negative.
    """
    if lmax < 0:
        raise ValueError(f"lmax must be at least 0, found {lmax}")
    sin_beta = np.sqrt((1 - cos_beta) * (1 + cos_beta))
    theta = np.zeros((lmax + 1, lmax + 1, len(cos_beta)))
    theta[0, 0] = 1 / math.sqrt(4 * math.pi)
    for degree in range(1, lmax + 1):
        theta[degree, degree] = (
            math.sqrt((2 * degree + 1) / (2 * degree)) * sin_beta * theta[degree - 1, degree - 1]
        )
        theta[degree, degree - 1] = (
            math.sqrt(2 * degree + 1) * cos_beta * theta[degree - 1, degree - 1]
        )
        for order in range(degree - 1):
            a, b = _recurrence(degree, order)
            theta[degree, order] = a * (
                cos_beta * theta[degree - 1, order] - b * theta[degree - 2, order]
            )
    return theta


def angle_multiples(
    lmax: int, cosine: Float[Tensor, "1 *batch"], sine: Float[Tensor, "1 *batch"]
) -> tuple[Float[Tensor, "order *batch"], Float[Tensor, "order *batch"]]:
    """Return Re and Im of ``(cosine + i sine)^m`` for m = 1 to ``lmax`` (at least one).

    On the unit circle: the cosines and sines of the multiples of an angle, without the angle.
    """
    cosines, sines = cosine, sine
    while len(cosines) < lmax:
        # The highest power times the lower ones doubles the number of powers known.
        more = min(len(cosines), lmax - len(cosines))
        c, s, c_top, s_top = cosines[:more], sines[:more], cosines[-1:], sines[-1:]
        c, s = c_top * c - s_top * s, s_top * c + c_top * s
        cosines, sines = torch.cat([cosines, c]), torch.cat([sines, s])
    return cosines, sines


def _recurrence(degree: int, order: int) -> tuple[float, float]:
    """Return a, b of ``Theta_lm = a (cos beta Theta_{l-1,m} - b Theta_{l-2,m})``, m < l."""
    a = math.sqrt((4 * degree**2 - 1) / (degree**2 - order**2))
    b = math.sqrt(((degree - 1) ** 2 - order**2) / (4 * (degree - 1) ** 2 - 1))
    return a, b


def _solid_harmonics(lmax: int, vectors: Tensor, square: Tensor | None) -> Tensor:
    """Evaluate ``r^l Y_lm`` of vectors [3, N] as [lm, N]; ``square`` is r^2, or None where 1.

    One block of ``2 lmax + 1`` rows (order m from -lmax to lmax) is carried from degree to degree,
    each with a few fused operations: elementwise arithmetic only, because a matrix product would
    lose digits under TF32 or autocast.
    """
    steps = _row_recurrence(lmax, dtype=vectors.dtype, device=vectors.device)
    x, y, z = vectors.split(1)
    sectoral = torch.ones_like(y)
    if lmax > 0:
        cosines, sines = angle_multiples(lmax, z, x)
        sectoral = torch.cat([sines.flip(0), sectoral, cosines])
    previous, row = None, steps[0, 0] * sectoral
    rows = [row[lmax : lmax + 1]]
    for degree in range(1, lmax + 1):
        start, ahead, back = steps[degree]
        following = torch.addcmul(start * sectoral, ahead * row, y)
        if previous is not None:
            below = previous if square is None else previous * square
            following = torch.addcmul(following, back, below)
        previous, row = row, following
        rows.append(row[lmax - degree : lmax + degree + 1])
    return torch.cat(rows)


@constant_table
def _row_recurrence(lmax: int) -> np.ndarray:
    """Coefficients [degree, 3, order, 1] of sectoral term, row below times y, and row two below."""
    steps = np.zeros((lmax + 1, 3, 2 * lmax + 1))
    sectoral = 1 / math.sqrt(4 * math.pi)
    for degree in range(lmax + 1):
        if degree > 0:
            sectoral *= math.sqrt((2 * degree + 1) / (2 * degree))
        for order in (-degree, degree):
            steps[degree, 0, lmax + order] = sectoral * (math.sqrt(2) if order else 1)
        for order in range(-degree + 1, degree):
            a, b = _recurrence(degree, order)
            steps[degree, 1, lmax + order] = a
            steps[degree, 2, lmax + order] = -a * b
    return steps[..., None]


@constant_table
def _harmonics_at_zero(lmax: int) -> np.ndarray:
    """Values [lm, 1] of the harmonics at the zero vector."""
    values = np.zeros((lmax + 1) ** 2)
    values[0] = 1 / math.sqrt(4 * math.pi)
    return values[:, None]
