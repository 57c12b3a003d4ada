"""Normalization that keeps directions: each node is divided by the size of its degrees."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.o3 import degree_index


class DegreeNorm(nn.Module):
    r"""Divide by the root mean square over all components and channels, degrees weighted equally.

    :math:`x_{lmc} \to \gamma_{lc}\, x_{lmc} / \sqrt{\tfrac{1}{L+1}\sum_l
    \langle x_{lmc}^2 \rangle_{m,c} + \epsilon}`; degree zero is centered over channels first and
    gets a bias, as in an ordinary layer norm.

    Args:
        lmax: Highest degree of the feature.
        channels: Number of channels.
        epsilon: Constant added to the mean square; zero features stay zero.

    Source: the separable layer norm of Liao et al., EquiformerV2 (ICLR 2024), §4.3, with one
    statistic for all degrees.

    Example:
        >>> DegreeNorm(2, 8)(torch.randn(5, 9, 8)).shape
        torch.Size([5, 9, 8])
    """

    degrees: Tensor
    weights: Tensor

    def __init__(self, lmax: int, channels: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.gain = nn.Parameter(torch.ones(lmax + 1, channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        degrees = degree_index(lmax)
        self.register_buffer("degrees", degrees, persistent=False)
        weights = 1.0 / ((2 * degrees + 1) * (lmax + 1) * channels)
        self.register_buffer("weights", weights.unsqueeze(-1), persistent=False)

    def forward(self, x: Float[Tensor, "*batch lm channel"]) -> Float[Tensor, "*batch lm channel"]:
        """Normalize coefficients of degrees 0 … lmax."""
        scalars = x[..., :1, :]
        x = torch.cat([scalars - scalars.mean(-1, keepdim=True), x[..., 1:, :]], dim=-2)
        mean_square = (x.square() * self.weights.to(x.dtype)).sum((-2, -1), keepdim=True)
        x = x * torch.rsqrt(mean_square + self.epsilon) * self.gain[self.degrees]
        return torch.cat([x[..., :1, :] + self.bias, x[..., 1:, :]], dim=-2)
