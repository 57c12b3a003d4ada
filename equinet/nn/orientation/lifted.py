"""Convolution of fields whose orientations are the directions of the edges themselves."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.nn.orientation.depthwise import DepthwiseConv, calibration_gain, scale_parameter
from equinet.nn.orientation.invariants import edge_lengths
from equinet.ops import segment_sum


class LiftedGraph(NamedTuple):
    """A graph whose nodes are positions with an orientation.

    Attributes:
        node: Base node [M] of each lifted node.
        orientations: Unit vectors [M, n] of the lifted nodes.
        edge_index: Senders and receivers [2, F] among the lifted nodes.
        base_edge: Edge [F] of the base graph that each lifted edge follows; E + i, beyond the base
            edges, where it stays at node i.
        origin: Edge [M] of the base graph that each lifted node is made of.

    Example:
        >>> vectors = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> lift_graph(vectors, torch.tensor([[1, 0], [0, 1]]), 2).orientations
        tensor([[ 1.,  0.],
                [-1.,  0.]])
    """

    node: Int[Tensor, " lifted"]
    orientations: Float[Tensor, "lifted xyz"]
    edge_index: Int[Tensor, "2 lifted_edge"]
    base_edge: Int[Tensor, " lifted_edge"]
    origin: Int[Tensor, " lifted"]


def lift_graph(
    vectors: Float[Tensor, "edge xyz"], edge_index: Int[Tensor, "2 edge"], nodes: int
) -> LiftedGraph:
    """Make a node of every edge, at the position of the receiver, oriented towards the sender.

    Two lifted nodes are joined by edges in both directions if their base nodes are the same node or
    are joined. An edge of length zero has no direction and is not lifted; a node without neighbors
    has no lifted node.

    Args:
        vectors: Vectors [E, n] from receiver to sender.
        edge_index: Senders and receivers [2, E].
        nodes: Number of base nodes.

    Example:
        >>> vectors = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> lift_graph(vectors, torch.tensor([[1, 0], [0, 1]]), 2).edge_index
        tensor([[1, 0, 0, 1],
                [0, 1, 0, 1]])
    """
    directed = edge_lengths(vectors.detach()) > 0
    origin = directed.nonzero().squeeze(1)
    origin = origin[edge_index[1, origin].argsort(stable=True)]
    node = edge_index[1, origin]
    oriented = vectors[origin]
    orientations = oriented / torch.linalg.vector_norm(oriented, dim=-1, keepdim=True)
    count = torch.bincount(node, minlength=nodes)
    first = count.cumsum(0) - count
    # All pairs (sender, receiver) of lifts for every base edge, and for every node with itself.
    itself = torch.arange(nodes, device=node.device)
    sender, receiver = torch.cat([edge_index, itself.expand(2, -1)], dim=1)
    pairs = count[sender] * count[receiver]
    base_edge = torch.repeat_interleave(pairs)
    within = torch.arange(base_edge.shape[0], device=node.device)
    within = within - (pairs.cumsum(0) - pairs)[base_edge]
    width = count[sender[base_edge]]
    lifted = torch.stack(
        [
            first[sender[base_edge]] + within % width,
            first[receiver[base_edge]] + within // width,
        ]
    )
    return LiftedGraph(node, orientations, lifted, base_edge, origin)


class LiftedConv(DepthwiseConv):
    r"""Sum over neighbors with a kernel of the pair's invariants, one a channel.

    :math:`y_a = \sum_b k(a, b)\,x_b + b` over lifted nodes. The orientations come from the data and
    rotate with them, so this is exactly equivariant under all rotations.

    Args:
        channels: Number of channels.
        basis: Number of basis functions of the invariants.

    Source: Bekkers et al. (ICLR 2024), §4, point-cloud form.

    Example:
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> LiftedConv(8, 4)(torch.randn(2, 8), torch.randn(2, 4), edge_index).shape
        torch.Size([2, 8])
    """

    def __init__(self, channels: int, basis: int) -> None:
        super().__init__()
        self.kernel = nn.Linear(basis, channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Float[Tensor, "lifted channel"],
        basis: Float[Tensor, "lifted_edge basis"],
        edge_index: Int[Tensor, "2 lifted_edge"],
    ) -> Float[Tensor, "lifted channel"]:
        """Convolve features [M, C], given functions of the invariants of each pair [F, B]."""
        return self._linear(x, basis, edge_index) + self.bias

    def calibrate(self, x: Tensor, *geometry: Tensor) -> None:
        """See :meth:`equinet.nn.orientation.depthwise.DepthwiseConv.calibrate`."""
        with torch.no_grad():
            gain = calibration_gain(x, self._linear(x, *geometry))
        scale_parameter(gain, self.kernel.weight)

    @property
    def neighbor_weights(self) -> Tensor:
        """See :attr:`equinet.nn.orientation.depthwise.DepthwiseConv.neighbor_weights`."""
        return self.kernel.weight

    def _linear(self, x: Tensor, basis: Tensor, edge_index: Tensor) -> Tensor:
        sender, receiver = edge_index
        return segment_sum(self.kernel(basis) * x.index_select(0, sender), receiver, x.shape[0])
