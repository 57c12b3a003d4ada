"""Functions of a squared argument, smooth where the argument passes zero and changes sign.

With q the square of a real or an imaginary number, one formula serves stretches (q > 0), rotations
(q < 0) and the identity (q = 0), and automatic differentiation stays finite to every order.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

# Inside, the power series below are exact to rounding with all derivatives of practical order.
_SERIES_RADIUS = 0.05
_TERMS = 12


def cosh_sqrt(q: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    r"""Return :math:`\cosh\sqrt q`, which is :math:`\cos\sqrt{-q}` for negative q.

    Args:
        q: Squares, of either sign.

    Returns:
        Values of the function, which is smooth at zero.

    Example:
        >>> cosh_sqrt(torch.tensor([-math.pi**2, 0.0]))
        tensor([-1.,  1.])
    """
    positive, negative, small = _square_roots(q)
    series = _power_series(q, [1 / math.factorial(2 * k) for k in range(_TERMS)])
    return torch.where(small, series, torch.where(q > 0, torch.cosh(positive), torch.cos(negative)))


def sinhc_sqrt(q: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    r"""Return :math:`\sinh\sqrt q/\sqrt q`, which is :math:`\sin\sqrt{-q}/\sqrt{-q}` for q < 0.

    Args:
        q: Squares, of either sign.

    Returns:
        Values of the function, 1 at zero.

    Example:
        >>> sinhc_sqrt(torch.tensor([-math.pi**2 / 4, 0.0]))
        tensor([0.6366, 1.0000])
    """
    positive, negative, small = _square_roots(q)
    series = _power_series(q, [1 / math.factorial(2 * k + 1) for k in range(_TERMS)])
    far = torch.where(q > 0, torch.sinh(positive) / positive, torch.sin(negative) / negative)
    return torch.where(small, series, far)


def artanh_sqrt(m: Float[Tensor, "*batch"], q: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    r"""Return :math:`\operatorname{artanh}(\sqrt q/m)/\sqrt q`, continued to q < 0.

    There it is :math:`\operatorname{atan2}(\sqrt{-q}, m)/\sqrt{-q}`, for m of either sign.

    Args:
        m: Means; where q is not negative, above the root of q.
        q: Squares, of either sign.

    Returns:
        Values; not finite where q >= 0 and m does not exceed its root.

    Example:
        >>> artanh_sqrt(torch.tensor([2.0, 0.0]), torch.tensor([0.0, -1.0]))
        tensor([0.5000, 1.5708])
    """
    small = (q.abs() < _SERIES_RADIUS * m.square()) & (m > 0)
    mean = torch.where(small, m, 1.0)
    ratio = torch.where(small, q, 0.0) / mean.square()
    series = _power_series(ratio, [1 / (2 * k + 1) for k in range(_TERMS)]) / mean
    positive = torch.where(~small & (q > 0), q, 0.25).sqrt()
    negative = torch.where(~small & (q < 0), -q, 1.0).sqrt()
    above = torch.where(~small & (q > 0), m, 1.0)
    stretch = torch.log((above + positive) / (above - positive)) / (2 * positive)
    turn = torch.atan2(negative, torch.where(small, 1.0, m)) / negative
    return torch.where(small, series, torch.where(q > 0, stretch, turn))


def _square_roots(q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the roots of q and of -q, each 1 where it is not needed, and where q is small."""
    small = q.abs() < _SERIES_RADIUS
    # A branch not taken must not overflow: its zero gradient would become NaN.
    positive = torch.where(small | (q < 0), 1.0, q).sqrt()
    negative = torch.where(small | (q > 0), 1.0, -q).sqrt()
    return positive, negative, small


def _power_series(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = coefficient + x * value
    return value
