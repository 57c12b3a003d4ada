"""Spread one number per degree over the 2l+1 components of that degree."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from equinet.o3 import constant_table


def degree_index(lmax: int, device: torch.device | str = "cpu") -> Int[Tensor, " lm"]:
    """Return the degree l of each packed component, ``[0, 1, 1, 1, 2, …]``.

    Example:
        >>> degree_index(1)
        tensor([0, 1, 1, 1])
    """
    # A copy: torch.compile fails where a constant table is also a buffer of a layer.
    return _degrees(lmax, dtype=torch.int64, device=torch.device(device)).clone()


def scale_degrees(
    x: Float[Tensor, "*batch lm channel"], factors: Float[Tensor, "degree #channel"]
) -> Float[Tensor, "*batch lm channel"]:
    """Multiply every degree of ``x`` by its own factor per channel.

    Args:
        x: Coefficients of degrees 0 … lmax.
        factors: One row per degree; a single column serves all channels.

    Example:
        >>> scale_degrees(torch.ones(4, 1), torch.tensor([[1.0], [2.0]])).flatten()
        tensor([1., 2., 2., 2.])
    """
    degrees = _degrees(factors.shape[0] - 1, dtype=torch.int64, device=factors.device)
    return x * factors[degrees]


@constant_table
def _degrees(lmax: int) -> np.ndarray:
    degrees = np.arange(lmax + 1)
    return np.repeat(degrees, 2 * degrees + 1)
