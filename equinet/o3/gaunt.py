"""Gaunt and bracket tensors: integrals of products of three spherical harmonics."""

import functools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3.layout import degrees, orders
from equinet.o3.legendre import normalized_legendre

_ROUND_OFF = 1e-12


def gaunt_tensor(lmax1: int, lmax2: int, lmax_out: int) -> Float[Tensor, "lm1 lm2 lm3"]:
    """Return the integrals over the sphere of three real spherical harmonics.

    ``G[i, j, k] = integral of Y_i Y_j Y_k``: the coefficients of the product of two functions.
    In e3nn's terms it is ``gaunt_gain(l1, l2, l3) * wigner_3j(l1, l2, l3)``.

    Args:
        lmax1: Highest degree of the first index.
        lmax2: Highest degree of the second index.
        lmax_out: Highest degree of the third index.

    Returns:
        Float64 tensor [(lmax1+1)^2, (lmax2+1)^2, (lmax_out+1)^2]; what the selection rules
        forbid is exactly zero.

    Raises:
        ValueError: If a degree is negative.

    Example:
        >>> gaunt_tensor(1, 1, 2).shape
        torch.Size([4, 4, 9])
    """
    _check_degrees(lmax1, lmax2, lmax_out)
    return torch.tensor(_gaunt(lmax1, lmax2, lmax_out))


def bracket_tensor(lmax1: int, lmax2: int, lmax_out: int) -> Float[Tensor, "lm1 lm2 lm3"]:
    """Return the integrals over the sphere of ``n . (grad Y_i x grad Y_j) Y_k``.

    The coefficients of the Poisson bracket of two functions: the couplings of odd l1 + l2 + l3,
    which the Gaunt tensor lacks; degree 1 with 1 gives the cross product. In e3nn's terms it is
    ``bracket_gain(l1, l2, l3) * wigner_3j(l1, l2, l3)``.

    Args:
        lmax1: Highest degree of the first index.
        lmax2: Highest degree of the second index.
        lmax_out: Highest degree of the third index.

    Returns:
        Float64 tensor [(lmax1+1)^2, (lmax2+1)^2, (lmax_out+1)^2], antisymmetric in its indices;
        what the selection rules forbid is exactly zero.

    Raises:
        ValueError: If a degree is negative.

    Example:
        >>> bracket = bracket_tensor(1, 1, 1)
        >>> bool(torch.equal(bracket, -bracket.transpose(0, 1)))
        True
    """
    _check_degrees(lmax1, lmax2, lmax_out)
    return torch.tensor(_bracket(lmax1, lmax2, lmax_out))


def _check_degrees(*degrees: int) -> None:
    if min(degrees) < 0:
        raise ValueError(f"lmax1, lmax2 and lmax_out must be at least 0, found {degrees}")


@functools.lru_cache
def _gaunt(lmax1: int, lmax2: int, lmax_out: int) -> np.ndarray:
    weights, grids = _grids(lmax1, lmax2, lmax_out)
    (first, _, _), (second, _, _), (third, _, _) = grids
    tensor = np.stack([(row * second) @ (weights * third).T for row in first])
    return _clean(tensor, lmax1, lmax2, lmax_out, odd=False)


@functools.lru_cache
def _bracket(lmax1: int, lmax2: int, lmax_out: int) -> np.ndarray:
    weights, grids = _grids(lmax1, lmax2, lmax_out)
    (_, beta1, alpha1), (_, beta2, alpha2), (third, _, _) = grids
    tensor = np.stack(
        [
            (d_beta * alpha2 - d_alpha * beta2) @ (weights * third).T
            for d_beta, d_alpha in zip(beta1, alpha1, strict=True)
        ]
    )
    return _clean(tensor, lmax1, lmax2, lmax_out, odd=True)


def _grids(*lmax: int) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Return weights [P] of an exact rule and the harmonics and tangential gradients on it.

    For each lmax: Y, dY/dbeta and (dY/dalpha)/sin(beta), each [(lmax+1)^2, P]. Gauss-Legendre
    nodes never fall on a pole.
    """
    degree = sum(lmax)
    cos_beta, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    alpha = 2 * math.pi / (degree + 1) * np.arange(degree + 1)
    grids = [_harmonics_on_grid(each, cos_beta, alpha) for each in lmax]
    return np.repeat(weights * 2 * math.pi / len(alpha), len(alpha)), grids


def _harmonics_on_grid(
    lmax: int, cos_beta: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sin_beta = np.sqrt((1 - cos_beta) * (1 + cos_beta))
    theta = normalized_legendre(lmax, cos_beta)
    values, d_beta, d_alpha = [], [], []
    for degree in range(lmax + 1):
        for m in range(-degree, degree + 1):
            order = abs(m)
            polar = theta[degree, order]
            slope = order * cos_beta / sin_beta * polar
            if order < degree:
                slope = slope - (
                    math.sqrt((degree - order) * (degree + order + 1)) * theta[degree, order + 1]
                )
            cosine = math.sqrt(2) * np.cos(order * alpha)
            sine = math.sqrt(2) * np.sin(order * alpha)
            if m == 0:
                azimuthal, turned = np.ones_like(alpha), np.zeros_like(alpha)
            elif m > 0:
                azimuthal, turned = cosine, -order * sine
            else:
                azimuthal, turned = sine, order * cosine
            values.append(np.outer(polar, azimuthal).ravel())
            d_beta.append(np.outer(slope, azimuthal).ravel())
            d_alpha.append(np.outer(polar / sin_beta, turned).ravel())
    return np.stack(values), np.stack(d_beta), np.stack(d_alpha)


def _clean(tensor: np.ndarray, *lmax: int, odd: bool) -> np.ndarray:
    """Set to zero what the selection rules forbid, and the few accidental zeros beyond them.

    The rules: triangle, parity of l1 + l2 + l3, orders, and number of sine factors. Accidental
    zeros of 3j symbols come out as round-off, far below the smallest true entry.
    """
    (l1, m1), (l2, m2), (l3, m3) = ((degrees(each), orders(each)) for each in lmax)
    l1, m1 = l1[:, None, None], m1[:, None, None]
    l2, m2 = l2[:, None], m2[:, None]
    triangle = (abs(l1 - l2) <= l3) & (l3 <= l1 + l2)
    sums = (abs(m3) == abs(m1) + abs(m2)) | (abs(m3) == abs(abs(m1) - abs(m2)))
    sines = (m1 < 0).astype(int) + (m2 < 0) + (m3 < 0)
    allowed = triangle & sums & ((l1 + l2 + l3) % 2 == odd) & (sines % 2 == odd)
    return np.where(allowed & (abs(tensor) > _ROUND_OFF), tensor, 0.0)
