"""Weights of the paths (l1, l2, l3) of a product, factorized over the three degrees."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.o3 import path_factors


class PathWeights(nn.Module):
    """Learned weights per degree of both operands and of the output.

    The weights start at one and multiply fixed factors that bring every path close to the
    component normalization of e3nn and divide each output degree by the square root of its number
    of paths: unit-variance operands give an output of about unit variance.

    Args:
        lmax1: Highest degree of the first operand.
        lmax2: Highest degree of the second operand.
        lmax_out: Highest degree of the output.
        channels: Number of channels.
        odd: Whether the weights are those of the bracket instead of the product.

    Example:
        >>> [tuple(weight.shape) for weight in PathWeights(2, 3, 1, channels=8, odd=False)()]
        [(3, 8), (4, 8), (2, 8)]
    """

    factor_a: Tensor
    factor_b: Tensor
    factor_c: Tensor

    def __init__(self, lmax1: int, lmax2: int, lmax_out: int, channels: int, *, odd: bool) -> None:
        super().__init__()
        a, b, c = path_factors(lmax1, lmax2, lmax_out, odd=odd)
        c = c * paths_per_degree(lmax1, lmax2, lmax_out, odd=odd).rsqrt()
        for name, factor in (("factor_a", a), ("factor_b", b), ("factor_c", c)):
            value = factor.to(torch.get_default_dtype()).unsqueeze(-1)
            self.register_buffer(name, value, persistent=False)
        self.weight_a = nn.Parameter(torch.ones(lmax1 + 1, channels))
        self.weight_b = nn.Parameter(torch.ones(lmax2 + 1, channels))
        self.weight_c = nn.Parameter(torch.ones(lmax_out + 1, channels))

    def forward(
        self,
    ) -> tuple[
        Float[Tensor, "degree1 channel"],
        Float[Tensor, "degree2 channel"],
        Float[Tensor, "degree_out channel"],
    ]:
        """Return the weights of the first operand, the second operand and the output."""
        return (
            self.weight_a * self.factor_a,
            self.weight_b * self.factor_b,
            self.weight_c * self.factor_c,
        )


def paths_per_degree(
    lmax1: int, lmax2: int, lmax_out: int, *, odd: bool = False
) -> Float[Tensor, " degree"]:
    """Count the paths (l1, l2) that reach each output degree, at least one.

    Example:
        >>> paths_per_degree(1, 1, 2)
        tensor([2., 2., 1.], dtype=torch.float64)
    """
    counts = torch.zeros(lmax_out + 1, dtype=torch.float64)
    for l1 in range(lmax1 + 1):
        for l2 in range(lmax2 + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, lmax_out) + 1):
                counts[l3] += (l1 + l2 + l3) % 2 == odd
    return counts.clamp(min=1)
