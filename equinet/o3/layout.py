"""The layout of coefficients: component ``l² + l + m`` has degree l and order m."""

import math
import operator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from equinet.o3.tables import constant_table


def degree_of(x: Float[Tensor, "*batch lm channel"]) -> int:
    """Return the highest degree of coefficients, which their number decides.

    Args:
        x: Coefficients [..., (lmax + 1)², channels]; the shape is not checked.

    Returns:
        The highest degree lmax, a plain integer also under ``torch.compile``.

    Example:
        >>> degree_of(torch.zeros(5, 9, 8))
        2
    """
    # Compilers may take any size for variable; a degree never is.
    return math.isqrt(operator.index(x.shape[-2])) - 1


def degrees(lmax: int) -> Int[np.ndarray, " lm"]:
    """Return the degree l of every component.

    Args:
        lmax: Highest degree, at least 0.

    Returns:
        The integers ``[0, 1, 1, 1, 2, …]``, one for each of the (lmax + 1)² components.

    Example:
        >>> degrees(1)
        array([0, 1, 1, 1])
    """
    return np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)


def orders(lmax: int) -> Int[np.ndarray, " lm"]:
    """Return the order m of every component.

    Args:
        lmax: Highest degree, at least 0.

    Returns:
        The integers ``[0, -1, 0, 1, -2, …]``, one for each of the (lmax + 1)² components.

    Example:
        >>> orders(1)
        array([ 0, -1,  0,  1])
    """
    degree = degrees(lmax)
    return np.arange(len(degree)) - degree * degree - degree


degree_table = constant_table(degrees)
"""Table of :func:`degrees` as a tensor that all callers share, see :func:`constant_table`."""


def degree_index(lmax: int, device: torch.device | str = "cpu") -> Int[Tensor, " lm"]:
    """Return the degree l of every component as a tensor, to index one value per degree with.

    Args:
        lmax: Highest degree, at least 0.
        device: Device of the result, the CPU by default.

    Returns:
        The integers ``[0, 1, 1, 1, 2, …]``, one for each of the (lmax + 1)² components.

    Example:
        >>> degree_index(1)
        tensor([0, 1, 1, 1])
    """
    # A copy: torch.compile fails where a constant table is also a buffer of a layer.
    return degree_table(lmax, dtype=torch.int64, device=torch.device(device)).clone()
