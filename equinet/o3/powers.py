"""Second moments of the powers of random functions on the sphere, by Wick's theorem."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3.legendre import normalized_legendre


def power_variance(lmax: int, lmax_out: int, order: int) -> Float[Tensor, " degree"]:
    r"""Second moment of the components of f^order when those of f are standard normal.

    A function with independent standard normal coefficients is a Gaussian process on the sphere
    with the zonal covariance :math:`K(t) = \sum_l \frac{2l+1}{4\pi} P_l(t)`. By Wick's theorem
    :math:`E[f^\nu(n) f^\nu(n')]` is a polynomial in K(n·n'), whose Legendre coefficients are the
    sought second moments.

    Args:
        lmax: Highest degree of f.
        lmax_out: Highest degree of the result.
        order: Power ν of the function, at least 1.

    Returns:
        One value per degree 0 … lmax_out, float64.

    Example:
        >>> power_variance(1, 2, 1)
        tensor([1.0000, 1.0000, 0.0000], dtype=torch.float64)
    """
    t, weights = np.polynomial.legendre.leggauss((order * lmax + lmax_out) // 2 + 1)
    degrees = np.arange(max(lmax, lmax_out) + 1)
    zonal = normalized_legendre(max(lmax, lmax_out), t)[:, 0]
    gains = np.sqrt((2 * degrees + 1) / (4 * math.pi))[:, None]
    covariance = (zonal * gains)[: lmax + 1].sum(0)
    total = (lmax + 1) ** 2 / (4 * math.pi)
    moment = np.zeros_like(t)
    for k in range(order % 2, order + 1, 2):
        pairs = (order - k) // 2
        hermite = math.factorial(order) / (2**pairs * math.factorial(pairs) * math.factorial(k))
        moment += math.factorial(k) * hermite**2 * covariance**k * total ** (order - k)
    variance = 2 * math.pi * (zonal / gains)[: lmax_out + 1] @ (weights * moment)
    variance[variance < 1e-10 * variance.max()] = 0.0
    return torch.from_numpy(variance)
