"""Graph attention with messages that are computed in edge frames."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.nn.escn.activation import SphereActivation
from equinet.nn.escn.edge_network import EdgeNetwork
from equinet.nn.escn.frames import EdgeFrames
from equinet.nn.escn.grid import SphereGrid
from equinet.nn.escn.so2_convolution import SO2Conv
from equinet.nn.sphere import DegreeLinear
from equinet.ops import segment_softmax, segment_sum


class Edges(NamedTuple):
    """Quantities of the edges that all layers use.

    Attributes:
        ends: Senders and receivers [2, E].
        sender_kind: Index [E] of the species of each sender.
        receiver_kind: Index [E] of the species of each receiver.
        basis: Values [E, B] of the radial basis functions at the length of each edge.
        envelope: Factor [E] that falls to zero at the cutoff; None leaves it out.
        frames: Matrices of the edge frames, see :class:`EdgeFrames`.

    Example:
        >>> from equinet.nn import edge_frames
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> kinds = torch.tensor([0, 2])
        >>> edges = Edges(
        ...     ends=edge_index,
        ...     sender_kind=kinds[edge_index[0]],
        ...     receiver_kind=kinds[edge_index[1]],
        ...     basis=torch.randn(2, 4),
        ...     envelope=None,
        ...     frames=edge_frames(torch.randn(2, 3), lmax=2, mmax=1),
        ... )
        >>> edges.sender_kind
        tensor([2, 0])
    """

    ends: Int[Tensor, "2 edge"]
    sender_kind: Int[Tensor, " edge"]
    receiver_kind: Int[Tensor, " edge"]
    basis: Float[Tensor, "edge basis"]
    envelope: Float[Tensor, " edge"] | None
    frames: EdgeFrames


class GraphAttention(nn.Module):
    r"""Weigh neighbors by attention, with all operations on an edge in its edge frame.

    Features of sender and receiver, concatenated, are rotated into the edge frame and go through an
    SO(2) convolution with weights of the edge. Some of its invariants become the logits of each
    head, after a layer norm that keeps them in range (attention re-normalization); the features are
    activated on the sphere and pass a second convolution. Weighted by the softmax over the
    neighbors, they are rotated back, summed and mixed.

    With an envelope :math:`u` a weight is :math:`u_j \cdot u_j e^{a_j} / \sum_k u_k e^{a_k}`: a
    neighbor at the cutoff changes neither the sum nor the weights of the others, even if it is the
    only one.

    Args:
        lmax: Highest degree of the features.
        mmax: Highest order kept in the edge frames.
        channels: Number of channels of the input.
        hidden: Number of channels between the two convolutions.
        heads: Number of heads.
        alpha_channels: Number of invariants that the logit of each head is made of.
        value_channels: Number of channels of each head.
        out_channels: Number of channels of the output.
        kinds: Number of species.
        basis_size: Number of radial basis functions.
        edge_channels: Width of the :class:`EdgeNetwork`.
        grid: Grid of the activation, for features in edge frames.
        alpha_dropout: Fraction of the attention weights that is set to zero in training.

    Source: Liao et al., EquiformerV2 (ICLR 2024), §4.1 and §4.2.

    Example:
        >>> from equinet.nn import EdgeGrid, edge_frames
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> kinds = torch.tensor([0, 2])
        >>> edges = Edges(
        ...     ends=edge_index,
        ...     sender_kind=kinds[edge_index[0]],
        ...     receiver_kind=kinds[edge_index[1]],
        ...     basis=torch.randn(2, 4),
        ...     envelope=None,
        ...     frames=edge_frames(torch.randn(2, 3), lmax=2, mmax=1),
        ... )
        >>> layer = GraphAttention(
        ...     lmax=2,
        ...     mmax=1,
        ...     channels=8,
        ...     hidden=8,
        ...     heads=2,
        ...     alpha_channels=4,
        ...     value_channels=4,
        ...     out_channels=8,
        ...     kinds=3,
        ...     basis_size=4,
        ...     edge_channels=8,
        ...     grid=EdgeGrid(2, 1),
        ... )
        >>> layer(torch.randn(2, 9, 8), edges).shape
        torch.Size([2, 9, 8])
    """

    def __init__(
        self,
        *,
        lmax: int,
        mmax: int,
        channels: int,
        hidden: int,
        heads: int,
        alpha_channels: int,
        value_channels: int,
        out_channels: int,
        kinds: int,
        basis_size: int,
        edge_channels: int,
        grid: SphereGrid,
        alpha_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.hidden = hidden
        scalars = heads * alpha_channels + hidden
        self.first = SO2Conv(lmax, mmax, 2 * channels, hidden, scalars=scalars)
        self.radial = EdgeNetwork(basis_size, kinds, edge_channels, self.first.radial_size)
        self.alpha_norm = nn.LayerNorm(alpha_channels)
        self.alpha = nn.Parameter(
            torch.empty(heads, alpha_channels).uniform_(-1, 1) / math.sqrt(alpha_channels)
        )
        self.dropout = nn.Dropout(alpha_dropout)
        self.activation = SphereActivation(grid)
        self.second = SO2Conv(lmax, mmax, hidden, heads * value_channels)
        self.out = DegreeLinear(
            lmax, heads * value_channels, out_channels, bias=True, unit_weights=False
        )

    def forward(
        self, x: Float[Tensor, "node lm channel"], edges: Edges
    ) -> Float[Tensor, "node lm out_channel"]:
        """Return the update, not added to ``x``."""
        sender, receiver = edges.ends
        frames = edges.frames
        pair = [frames.into(x.index_select(0, end)) for end in (sender, receiver)]
        radial = self.radial(edges.basis, edges.sender_kind, edges.receiver_kind)
        messages, scalars = self.first(torch.cat(pair, dim=-1), radial)
        logits, invariants = scalars.tensor_split([scalars.shape[1] - self.hidden], dim=1)
        weights = self._weights(logits.unflatten(1, (self.heads, -1)), edges, x.shape[0])
        values, _ = self.second(self.activation(messages, invariants))
        # Every channel has the weight of its head; a long last dimension multiplies fastest.
        spread = weights.repeat_interleave(values.shape[2] // self.heads, dim=1).unsqueeze(1)
        summed = segment_sum(frames.back(values * spread), receiver, x.shape[0])
        return self.out(summed)

    def _weights(self, logits: Tensor, edges: Edges, num_nodes: int) -> Tensor:
        """Attention of each head over the neighbors [E, heads]."""
        scores = (_smooth_leaky_relu(self.alpha_norm(logits)) * self.alpha).sum(-1)
        envelope = edges.envelope
        if envelope is None:
            return self.dropout(segment_softmax(scores, edges.ends[1], num_nodes))
        envelope = envelope.unsqueeze(-1)
        tiny = torch.finfo(envelope.dtype).tiny
        scores = scores + envelope.clamp(min=tiny).log()
        return self.dropout(segment_softmax(scores, edges.ends[1], num_nodes) * envelope)


def _smooth_leaky_relu(x: Tensor, slope: float = 0.2) -> Tensor:
    """Rise with slope 1 far right and ``slope`` far left, smooth between."""
    return x * (slope + (1 - slope) * torch.sigmoid(x))
