"""A feed-forward network whose hidden layers act on samples of functions on the sphere."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.escn.grid import SphereGrid
from equinet.nn.sphere import DegreeLinear


class SphereFeedForward(nn.Module):
    """Mix channels, apply one MLP to every sample on the sphere, mix channels again.

    Degree zero passes through a linear map and an activation of its own, see
    :class:`SphereActivation`.

    Args:
        lmax: Highest degree of the features.
        channels: Number of channels of input and output.
        hidden: Number of channels between the linear maps.
        grid: Grid of the points at which samples are taken.

    Source: Liao et al., EquiformerV2 (ICLR 2024), §4.4.

    Example:
        >>> SphereFeedForward(2, 8, 16, SphereGrid(2))(torch.randn(5, 9, 8)).shape
        torch.Size([5, 9, 8])
    """

    def __init__(self, lmax: int, channels: int, hidden: int, grid: SphereGrid) -> None:
        super().__init__()
        self.grid = grid
        self.scalars = nn.Linear(channels, hidden)
        self.into = DegreeLinear(lmax, channels, hidden, bias=True, unit_weights=False)
        self.points = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(3))
        self.out = DegreeLinear(lmax, hidden, channels, bias=True, unit_weights=False)

    def forward(self, x: Float[Tensor, "node lm channel"]) -> Float[Tensor, "node lm channel"]:
        """Return the update, not added to ``x``."""
        invariants = nn.functional.silu(self.scalars(x[:, :1]))
        values = self.grid.sample(self.into(x))
        for layer in self.points[:-1]:
            values = nn.functional.silu(layer(values))
        hidden = self.grid.back(self.points[-1](values))
        return self.out(torch.cat([invariants.to(hidden.dtype), hidden[:, 1:]], dim=1))
