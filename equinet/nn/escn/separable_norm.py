"""The separable layer norm: invariants by themselves, all higher degrees together."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.o3 import degree_index


class SeparableNorm(nn.Module):
    r"""A layer norm for degree zero, and one root mean square for all the others.

    :math:`x_{lmc} \to \gamma_{lc}\, x_{lmc} / \sqrt{\tfrac1L \sum_{l>0}
    \langle x_{lmc}^2 \rangle_{m,c} + \epsilon}` for l > 0: relative sizes of degrees survive, and
    invariants do not drown them.

    Args:
        lmax: Highest degree, at least 1.
        channels: Number of channels.
        epsilon: Constant added to mean squares; zero features stay zero.

    Raises:
        ValueError: If ``lmax`` is below 1.

    Source: Liao et al., EquiformerV2 (ICLR 2024), §4.3.

    Example:
        >>> SeparableNorm(2, 8)(torch.randn(5, 9, 8)).shape
        torch.Size([5, 9, 8])
    """

    degrees: Tensor
    weights: Tensor

    def __init__(self, lmax: int, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        if lmax < 1:
            raise ValueError(f"lmax must be at least 1, found {lmax}")
        self.epsilon = epsilon
        self.scalars = nn.LayerNorm(channels, eps=epsilon)
        self.gain = nn.Parameter(torch.ones(lmax, channels))
        degrees = degree_index(lmax)[1:]
        self.register_buffer("degrees", degrees - 1, persistent=False)
        weights = 1.0 / ((2 * degrees + 1) * lmax * channels)
        self.register_buffer("weights", weights.unsqueeze(-1), persistent=False)

    def forward(self, x: Float[Tensor, "node lm channel"]) -> Float[Tensor, "node lm channel"]:
        """Normalize coefficients of degrees 0 … lmax."""
        higher = x[:, 1:]
        mean_square = (higher.square() * self.weights.to(x.dtype)).sum((1, 2), keepdim=True)
        higher = higher * torch.rsqrt(mean_square + self.epsilon) * self.gain[self.degrees]
        return torch.cat([self.scalars(x[:, :1]), higher], dim=1)
