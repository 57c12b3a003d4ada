"""Convolution of fields that hold plain numbers at every position."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.nn.orientation.depthwise import DepthwiseConv, balance
from equinet.nn.radial import RadialNetwork
from equinet.ops import segment_sum


class PositionConv(DepthwiseConv):
    r"""Sum over neighbors with a kernel of the distance, one a channel.

    :math:`y_i = s\,x_i + \sum_j R(|r_{ij}|)\,x_j + b`: a convolution without orientations. Exactly
    equivariant under all rotations and reflections, in any dimension.

    Args:
        channels: Number of channels.
        basis: Number of radial basis functions.

    Source: Schütt et al., SchNet (NeurIPS 2017).

    Example:
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> PositionConv(8, 4)(torch.randn(2, 8), torch.randn(2, 4), edge_index).shape
        torch.Size([2, 8])
    """

    def __init__(self, channels: int, basis: int) -> None:
        super().__init__()
        self.radial = RadialNetwork(basis, 0, channels, hidden=(64,))
        self.own = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Float[Tensor, "node channel"],
        basis: Float[Tensor, "edge basis"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, "node channel"]:
        """Convolve features [N, C], given the radial basis at the edges [E, B]."""
        return self.own * x + self._over_edges(x, basis, edge_index) + self.bias

    def calibrate(self, x: Tensor, *geometry: Tensor) -> None:
        """See :meth:`equinet.nn.orientation.depthwise.DepthwiseConv.calibrate`."""
        with torch.no_grad():
            neighbors = self._over_edges(x, *geometry)
            balance(x, self.own * x, neighbors, self.own, self.neighbor_weights)

    @property
    def neighbor_weights(self) -> Tensor:
        """See :attr:`equinet.nn.orientation.depthwise.DepthwiseConv.neighbor_weights`."""
        return self.radial.weights[-1]

    def _over_edges(self, x: Tensor, basis: Tensor, edge_index: Tensor) -> Tensor:
        sender, receiver = edge_index
        messages = self.radial(basis).squeeze(1) * x.index_select(0, sender)
        return segment_sum(messages, receiver, x.shape[0])
