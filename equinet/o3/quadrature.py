"""Quadratures on the sphere, exact to a stated polynomial degree."""

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_LEBEDEV_DEGREES = (*range(3, 33, 2), *range(35, 132, 6))


class SphereQuadrature(NamedTuple):
    """Points and weights with ``integral of f = sum_p weights[p] f(points[p])``.

    Attributes:
        points: [P, 3] unit vectors, float64.
        weights: [P] positive weights, float64; their sum is 4 pi.

    Example:
        >>> rule = quadrature(4)
        >>> bool((rule.weights.sum() - 4 * torch.pi).abs() < 1e-13)
        True
    """

    points: Float[Tensor, "P 3"]
    weights: Float[Tensor, " P"]


def quadrature(degree: int) -> SphereQuadrature:
    """Return the smallest available rule that integrates all polynomials up to ``degree``.

    A product of two functions of degrees L1 and L2, projected on degrees up to L3, needs
    ``degree = L1 + L2 + L3``.

    Args:
        degree: Polynomial degree to be integrated exactly, at least 0.

    Returns:
        The smaller of the Lebedev and the Gauss-Legendre rule.

    Raises:
        ValueError: If ``degree`` is negative.

    Example:
        >>> points, weights = quadrature(6)
        >>> len(points), bool((points[:, 0] ** 6 @ weights - 4 * torch.pi / 7).abs() < 1e-14)
        (26, True)
    """
    _check_degree(degree)
    product_size = (degree // 2 + 1) * (degree + 1)
    lebedev_degree = _lebedev_degree(degree)
    if lebedev_degree is None or product_size <= len(_lebedev(lebedev_degree)[1]):
        return gauss_legendre_quadrature(degree)
    return lebedev_quadrature(degree)


def antipodal_quadrature(degree: int) -> SphereQuadrature:
    """Return a small rule that contains the opposite of every point.

    Functions of even and odd degree are even and odd there, so that sums over points can be folded.

    Args:
        degree: Polynomial degree to be integrated exactly, at least 0.

    Returns:
        A rule of P points where ``points[P // 2 + p] == -points[p]``, with equal weights.

    Raises:
        ValueError: If ``degree`` is negative.

    Example:
        >>> points, weights = antipodal_quadrature(8)
        >>> len(points), bool((points[:19] == -points[19:]).all())
        (38, True)
    """
    _check_degree(degree)
    # An odd degree has an even number of azimuths.
    points, weights = gauss_legendre_quadrature(degree | 1)
    available = _lebedev_degree(degree)
    if available is not None and len(_lebedev(available)[1]) < len(points):
        points, weights = lebedev_quadrature(degree)
    opposite = (points @ points.T).argmin(1)
    first = torch.arange(len(points)) < opposite
    half, half_weights = points[first], weights[first]
    return SphereQuadrature(torch.cat([half, -half]), half_weights.repeat(2))


def gauss_legendre_quadrature(degree: int) -> SphereQuadrature:
    """Return Gauss-Legendre nodes in cos(beta) times equidistant azimuths.

    Both counts are minimal: ``degree // 2 + 1`` polar nodes and ``degree + 1`` azimuths
    ``alpha_j = 2 pi j / (degree + 1)``. Points are ordered polar node first (y rising), azimuth
    last.

    Args:
        degree: Polynomial degree to be integrated exactly, at least 0.

    Returns:
        The rule, of ``(degree // 2 + 1) * (degree + 1)`` points.

    Raises:
        ValueError: If ``degree`` is negative.

    Example:
        >>> gauss_legendre_quadrature(4).points.shape
        torch.Size([15, 3])
    """
    _check_degree(degree)
    cos_beta, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    alpha = 2 * math.pi / (degree + 1) * np.arange(degree + 1)
    sin_beta = np.sqrt((1 - cos_beta) * (1 + cos_beta))
    points = np.stack(
        [
            sin_beta[:, None] * np.sin(alpha),
            np.broadcast_to(cos_beta[:, None], (len(cos_beta), len(alpha))),
            sin_beta[:, None] * np.cos(alpha),
        ],
        axis=-1,
    )
    return SphereQuadrature(
        torch.from_numpy(points.reshape(-1, 3)),
        torch.from_numpy(np.repeat(weights * 2 * math.pi / len(alpha), len(alpha))),
    )


def lebedev_quadrature(degree: int) -> SphereQuadrature:
    """Return the smallest Lebedev rule of at least ``degree`` whose weights are all positive.

    The rules of 74, 230 and 266 points have negative weights, which cost digits; they are
    passed over.

    Args:
        degree: Polynomial degree to be integrated exactly, 0 to 131.

    Returns:
        The rule, of octahedral symmetry.

    Raises:
        ValueError: If ``degree`` is negative or above 131.

    Source: V. I. Lebedev and D. N. Laikov, Doklady Mathematics 59 (1999), as tabulated in scipy.

    Example:
        >>> lebedev_quadrature(5).points.shape
        torch.Size([14, 3])
    """
    _check_degree(degree)
    available = _lebedev_degree(degree)
    if available is None:
        raise ValueError(
            f"degree must be at most {_LEBEDEV_DEGREES[-1]} for a Lebedev rule, found {degree}; "
            "use gauss_legendre_quadrature"
        )
    points, weights = _lebedev(available)
    return SphereQuadrature(torch.tensor(points), torch.tensor(weights))


def _check_degree(degree: int) -> None:
    if degree < 0:
        raise ValueError(f"degree must be at least 0, found {degree}")


def _lebedev_degree(degree: int) -> int | None:
    """Degree of the smallest usable rule, or None where there is none."""
    for available in _LEBEDEV_DEGREES:
        if available >= degree and _lebedev(available)[1].min() > 0:
            return available
    return None


@functools.lru_cache
def _lebedev(degree: int) -> tuple[np.ndarray, np.ndarray]:
    from scipy.integrate import lebedev_rule

    points, weights = lebedev_rule(degree)
    return np.ascontiguousarray(points.T), weights
