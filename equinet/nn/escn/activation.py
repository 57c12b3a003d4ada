"""The separable activation on the sphere: at every point for functions, apart for invariants."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.escn.grid import SphereGrid


class SphereActivation(nn.Module):
    """Apply SiLU to the samples of a feature on the sphere, and to separate invariants.

    Degree zero of the result is the activated invariants; the higher degrees come from the samples.
    The two are separate because a plain activation on the sphere makes training unstable.

    Args:
        grid: Grid of the points at which samples are taken.

    Source: Liao et al., EquiformerV2 (ICLR 2024), §4.2.

    Example:
        >>> layer = SphereActivation(SphereGrid(2))
        >>> layer(torch.randn(5, 9, 8), torch.randn(5, 8)).shape
        torch.Size([5, 9, 8])
    """

    def __init__(self, grid: SphereGrid) -> None:
        super().__init__()
        self.grid = grid

    def forward(
        self, x: Float[Tensor, "*batch row channel"], scalars: Float[Tensor, "*batch channel"]
    ) -> Float[Tensor, "*batch row channel"]:
        """Activate a feature, whose first component is degree zero.

        Args:
            x: Components [..., row, channels] in the order that the grid takes.
            scalars: Invariants [..., channels] that take the place of degree zero.
        """
        activated = self.grid.back(nn.functional.silu(self.grid.sample(x)))
        invariants = nn.functional.silu(scalars).unsqueeze(-2).to(activated.dtype)
        return torch.cat([invariants, activated[..., 1:, :]], dim=-2)
