"""The residual block of position-orientation networks: convolve, then mix channels."""

from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.orientation.depthwise import DepthwiseConv


class ConvNeXtBlock(nn.Module):
    """Apply a depth-wise convolution, a layer norm and an MLP with GELU, and add the input.

    All layers but the convolution act on each node and orientation separately, with the same
    weights, so the block is as equivariant as its convolution.

    Args:
        convolution: Convolution from and to ``channels`` channels.
        channels: Number of channels.
        widening: Number of channels between the two linear maps, in units of ``channels``.

    Source: Liu et al., A ConvNet for the 2020s (CVPR 2022), as used by Bekkers et al. (ICLR 2024).

    Example:
        >>> from equinet.nn import PositionConv
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> block = ConvNeXtBlock(PositionConv(8, 4), 8)
        >>> block(torch.randn(2, 8), torch.randn(2, 4), edge_index).shape
        torch.Size([2, 8])
    """

    def __init__(self, convolution: DepthwiseConv, channels: int, widening: int = 4) -> None:
        super().__init__()
        self.convolution = convolution
        self.mixing = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, widening * channels),
            nn.GELU(),
            nn.Linear(widening * channels, channels),
        )

    def forward(
        self, x: Float[Tensor, "*batch channel"], *geometry: Tensor
    ) -> Float[Tensor, "*batch channel"]:
        """Apply the block to features; the geometry goes to the convolution."""
        return x + self.mixing(self.convolution(x, *geometry))

    def calibrate(self, x: Tensor, *geometry: Tensor) -> None:
        """Calibrate the convolution, see :class:`equinet.nn.DepthwiseConv`."""
        self.convolution.calibrate(x, *geometry)
