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
