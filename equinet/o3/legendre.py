"""Associated Legendre functions, normalized as the polar factors of the harmonics."""

import math

import numpy as np
from jaxtyping import Float


def normalized_legendre(
    lmax: int, cos_beta: Float[np.ndarray, " beta"]
) -> Float[np.ndarray, "degree order beta"]:
    """Evaluate the polar factors of the harmonics: ``Y_lm = Theta_l|m|(beta) * {1, sqrt2 ...}``.

    The azimuthal factor is ``sqrt2 sin(|m| alpha)`` for m < 0, 1 for m = 0 and
    ``sqrt2 cos(m alpha)`` for m > 0, where ``(x, y, z) = (sin beta sin alpha, cos beta,
    sin beta cos alpha)``.

    Args:
        lmax: Highest degree, at least 0.
        cos_beta: Cosines of the polar angles, float64.

    Returns:
        ``Theta[l, m, beta]`` for 0 <= m <= l, zero elsewhere.

    Raises:
        ValueError: If ``lmax`` is negative.

    Example:
        >>> theta = normalized_legendre(1, np.array([1.0])) * math.sqrt(4 * math.pi)
        >>> theta[:, 0, 0].round(4)
        array([1.    , 1.7321])
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
            a, b = legendre_recurrence(degree, order)
            theta[degree, order] = a * (
                cos_beta * theta[degree - 1, order] - b * theta[degree - 2, order]
            )
    return theta


def legendre_recurrence(degree: int, order: int) -> tuple[float, float]:
    """Return a, b of ``Theta_lm = a (cos beta Theta_{l-1,m} - b Theta_{l-2,m})``, m < l."""
    a = math.sqrt((4 * degree**2 - 1) / (degree**2 - order**2))
    b = math.sqrt(((degree - 1) ** 2 - order**2) / (4 * (degree - 1) ** 2 - 1))
    return a, b
