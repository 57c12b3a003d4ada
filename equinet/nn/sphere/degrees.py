"""Factors per degree, applied to all components of that degree."""

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3 import degree_table


def scale_degrees(
    x: Float[Tensor, "*batch lm channel"], factors: Float[Tensor, "degree #channel"]
) -> Float[Tensor, "*batch lm channel"]:
    """Multiply every degree of ``x`` by its own factor per channel.

    Args:
        x: Coefficients [..., (lmax + 1)², channels].
        factors: Factors [lmax + 1, channels]; a single column serves all channels.

    Returns:
        The scaled coefficients, in the shape of ``x``.

    Example:
        >>> scale_degrees(torch.ones(4, 1), torch.tensor([[1.0], [2.0]])).flatten()
        tensor([1., 2., 2., 2.])
    """
    degree = degree_table(factors.shape[0] - 1, dtype=torch.int64, device=factors.device)
    return x * factors.index_select(0, degree)
