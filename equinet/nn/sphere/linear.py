"""Linear maps that commute with rotations: one channel-mixing matrix per degree."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.o3 import degree_index


class DegreeLinear(nn.Module):
    """Mix channels with one matrix per degree, the only equivariant linear map by Schur's lemma.

    Inputs of unit variance give outputs of unit variance at the start: weights are standard normals
    that are divided by the square root of the fan-in whenever they are used.

    Args:
        lmax: Highest degree of input and output.
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the output.
        kinds: Number of species, each with matrices of its own. None (the default) gives all nodes
            the same matrices.
        bias: Whether a learned constant is added to degree zero.
        unit_weights: Whether initial weights are standard normal and scaled in the call. Otherwise
            they have the size at which they are used, as in ``nn.Linear``, which suits published
            learning rates of Adam.

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
        """Apply the map.

        Args:
            x: Coefficients [..., (lmax+1)², in_channels].
            kind: Index [N] of the species of each node, required if the layer was built with
                ``kinds``.

        Returns:
            The coefficients [..., (lmax+1)², out_channels].

        Raises:
            ValueError: If ``kind`` is missing.
        """
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
        """Return the parameters whose last two dimensions map channels to channels."""
        return [self.weight]
