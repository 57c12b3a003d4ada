"""Convolution of bundle fields whose kernel does not factorize."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.nn.orientation.depthwise import DepthwiseConv, balance
from equinet.o3 import OrientationGrid
from equinet.ops import fiber_convolution, segment_sum


class FullBundleConv(DepthwiseConv):
    r"""Sum over neighbors and orientations at once, with a kernel of the whole pair.

    :math:`y_i(o) = \sum_{o'} w_{o'} \big( k_0(o, o')\,x_i(o') +
    \sum_j k(r_{ij}, o, o')\, x_j(o') \big) + b` per channel. Unlike the kernel of
    :class:`equinet.nn.FiberBundleConv` this one may depend on how the orientations of receiver and
    sender lie to one another and to the edge; it costs as many times more as there are
    orientations, in time and in memory.

    Exactly equivariant under the symmetries of the grid, in the plane under its rotations.

    Args:
        grid: Grid of orientations with weights.
        channels: Number of channels.
        basis: Number of basis functions that are given in a call.

    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in
    position-orientation space (ICLR 2024), §3, before its kernel is made separable.

    Example:
        >>> from equinet.o3 import orientation_grid
        >>> layer = FullBundleConv(orientation_grid("octahedron6"), 8, 4)
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> basis, own_basis = torch.randn(2, 6, 6, 4), torch.randn(6, 6, 4)
        >>> layer(torch.randn(2, 6, 8), basis, own_basis, edge_index).shape
        torch.Size([2, 6, 8])
    """

    weights: Tensor

    def __init__(self, grid: OrientationGrid, channels: int, basis: int) -> None:
        super().__init__()
        self.register_buffer("weights", grid.weights.clone())
        self.kernel = nn.Linear(basis, channels, bias=False)
        self.own = nn.Linear(basis, channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Float[Tensor, "node orientation channel"],
        basis: Float[Tensor, "edge orientation orientation basis"],
        own_basis: Float[Tensor, "orientation orientation basis"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, "node orientation channel"]:
        """Convolve.

        Args:
            x: Signals of the nodes [N, O, C].
            basis: Functions [E, O, O, B] of the edge, the receiver's and the sender's orientation.
            own_basis: Functions [O, O, B] of the same kind for a node and itself.
            edge_index: Senders and receivers [2, E].
        """
        neighbors = self._over_edges(x, basis, edge_index)
        return self._over_own_fiber(x, own_basis) + neighbors + self.bias

    def calibrate(self, x: Tensor, *geometry: Tensor) -> None:
        """See :meth:`equinet.nn.orientation.depthwise.DepthwiseConv.calibrate`."""
        basis, own_basis, edge_index = geometry
        with torch.no_grad():
            itself = self._over_own_fiber(x, own_basis)
            neighbors = self._over_edges(x, basis, edge_index)
            balance(x, itself, neighbors, self.own.weight, self.neighbor_weights)

    @property
    def neighbor_weights(self) -> Tensor:
        """See :attr:`equinet.nn.orientation.depthwise.DepthwiseConv.neighbor_weights`."""
        return self.kernel.weight

    def _over_edges(self, x: Tensor, basis: Tensor, edge_index: Tensor) -> Tensor:
        sender, receiver = edge_index
        weighted = x * self.weights.to(x.dtype).unsqueeze(-1)
        kernel = self.kernel(basis)
        messages = torch.einsum("eopc,epc->eoc", kernel, weighted.index_select(0, sender))
        return segment_sum(messages, receiver, x.shape[0])

    def _over_own_fiber(self, x: Tensor, own_basis: Tensor) -> Tensor:
        kernel = self.own(own_basis) * self.weights.to(x.dtype).unsqueeze(-1)
        return fiber_convolution(x, kernel)
