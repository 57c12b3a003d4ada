"""Linear maps that commute with rotations: one channel-mixing matrix per degree."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.o3 import degree_index


class DegreeLinear(nn.Module):
    """Mix channels with one matrix per degree; by Schur's lemma nothing more is equivariant.

    Inputs of unit variance give outputs of unit variance at the start: weights are standard normals
    that are divided by the square root of the fan-in whenever they are used.

    Args:
        lmax: Highest degree of input and output.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kinds: With a number, every node has one of so many kinds (chemical species, say) and each
            kind has matrices of its own.
        bias: Add a learned constant to degree zero.
        unit_weights: False keeps the weights themselves at that size, as ``nn.Linear`` does, and
            uses them as they are: what published learning rates of Adam are made for.

    Example:
        >>> DegreeLinear(2, 8, 16)(torch.randn(5, 9, 8)).shape
        torch.Size([5, 9, 16])
    """

    degrees: Tensor

    def __init__(
        self,
        lmax: int,
        in_channels: int,
        out_channels: int,
        *,
        kinds: int | None = None,
        bias: bool = False,
        unit_weights: bool = True,
    ) -> None:
        super().__init__()
        self.lmax = lmax
        self.kinds = kinds
        size = 1.0 if unit_weights else 1 / math.sqrt(in_channels)
        weight = torch.randn(lmax + 1, (kinds or 1) * in_channels, out_channels)
        self.weight = nn.Parameter(weight * size)
        self.gain = 1 / math.sqrt(in_channels) / size
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("degrees", degree_index(lmax), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "*batch lm in_channel"],
        kind: Int[Tensor, " node"] | None = None,
    ) -> Float[Tensor, "*batch lm out_channel"]:
        """Apply the map; ``kind`` [N] selects each node's matrices where kinds were asked for."""
        if self.kinds is not None:
            if kind is None:
                raise ValueError(f"kind is missing: this layer has matrices for {self.kinds} kinds")
            one_hot = nn.functional.one_hot(kind, self.kinds).to(x.dtype)
            x = (one_hot[:, None, :, None] * x[:, :, None, :]).flatten(-2)
        weight = (self.weight * self.gain)[self.degrees]
        y = torch.einsum("...di,dio->...do", x, weight)
        if self.bias is not None:
            y = torch.cat([y[..., :1, :] + self.bias, y[..., 1:, :]], dim=-2)
        return y

    def channel_matrices(self) -> list[nn.Parameter]:
        """Parameters whose last two dimensions map channels to channels."""
        return [self.weight]
