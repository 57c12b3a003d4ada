"""Gates: invariants scale the higher degrees."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.o3 import degree_index


class Gate(nn.Module):
    """Activate degree zero and scale every higher degree by a learned sigmoid of degree zero.

    Args:
        lmax: Highest degree of the feature.
        channels: Number of channels.
        activation: Module that is applied to degree zero, SiLU by default.

    Source: Weiler et al., 3D steerable CNNs (NeurIPS 2018), §4.2.

    Example:
        >>> Gate(2, 8)(torch.randn(5, 9, 8)).shape
        torch.Size([5, 9, 8])
    """

    degrees: Tensor

    def __init__(self, lmax: int, channels: int, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.lmax = lmax
        self.activation = nn.SiLU() if activation is None else activation
        self.gates = nn.Linear(channels, lmax * channels) if lmax > 0 else None
        self.register_buffer("degrees", degree_index(lmax)[1:] - 1, persistent=False)

    def forward(self, x: Float[Tensor, "*batch lm channel"]) -> Float[Tensor, "*batch lm channel"]:
        """Apply the gate to coefficients of degrees 0 … lmax."""
        scalars = x[..., 0, :]
        if self.gates is None:
            return self.activation(x)
        gates = torch.sigmoid(self.gates(scalars)).unflatten(-1, (self.lmax, -1))
        higher = x[..., 1:, :] * gates[..., self.degrees, :]
        return torch.cat([self.activation(scalars).unsqueeze(-2), higher], dim=-2)


class HalfGate(nn.Module):
    """Gate features of two halves: sigmoids of natural scalars scale all degrees of both halves.

    Natural scalars are scaled by their own sigmoids, which is the activation SiLU. Every other
    degree of each half is scaled by learned ones.

    Args:
        lmax: Highest degree of the feature.
        channels: Number of channels of each half.
        halves: Number of halves, 1 or 2, see :class:`equinet.nn.SteerableLinear`.

    Source: Weiler et al., 3D steerable CNNs (NeurIPS 2018), §4.2.

    Example:
        >>> HalfGate(1, 8, halves=2)(torch.randn(5, 4, 16)).shape
        torch.Size([5, 4, 16])
    """

    place: Tensor

    def __init__(self, lmax: int, channels: int, *, halves: int = 1) -> None:
        super().__init__()
        self.channels = channels
        others = halves * (lmax + 1) - 1
        self.gates = nn.Linear(channels, others * channels) if others else None
        degrees = degree_index(lmax).unsqueeze(1)
        place = (degrees * halves + torch.arange(halves)).flatten()
        self.register_buffer("place", place, persistent=False)

    def forward(self, x: Float[Tensor, "*batch lm channel"]) -> Float[Tensor, "*batch lm channel"]:
        """Scale coefficients [..., (lmax+1)², halves · channels]."""
        scalars = x[..., 0, : self.channels]
        if self.gates is not None:
            scalars = torch.cat([scalars, self.gates(scalars)], dim=-1)
        gates = torch.sigmoid(scalars).unflatten(-1, (-1, self.channels))
        return x * gates.index_select(-2, self.place).reshape(x.shape)
