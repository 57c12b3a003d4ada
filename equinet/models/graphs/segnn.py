"""SEGNN: steerable messages and updates, steered by the directions of edges and vectors."""

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.arguments import Count, Positive, WholeNumber
from equinet.models.graphs.graph_model import GraphModel
from equinet.models.graphs.inputs import Inputs, total_weights
from equinet.models.graphs.radial_functions import RadialFunctions
from equinet.nn import (
    HalfGate,
    SteerableLinear,
    SteerableProduct,
    edge_lengths,
    has_pseudo_half,
    polynomial_envelope,
)
from equinet.o3 import degree_index, spherical_harmonics
from equinet.ops import segment_sum


class SEGNN(GraphModel):
    r"""Message passing whose messages and updates are products of features with attributes.

    Features of nodes are coefficients of functions on the sphere. Attributes of an edge are the
    spherical harmonics of its direction; those of a node are the mean over its edges plus the
    harmonics of its vectors, such as its velocity. Messages

    .. math:: m_{ij} = \phi_2(\phi_1([f_i, f_j, s_{ij}], a_{ij}), a_{ij}), \qquad
              f_i \leftarrow f_i + \psi_2(\psi_1([f_i, \textstyle\sum_j m_{ij}], a_i), a_i)

    are made of :class:`equinet.nn.SteerableLinear` layers, followed by gates but for the last one;
    the scalars s of an edge are radial functions, alone and times its given scalars. Scalars and
    vectors are read out after every layer, and the read-outs are averaged.

    Rotations, reflections, translations, permutations and batching are exact. Mirror images have
    the same scalars.

    Args:
        in_scalars: Number of scalars of each node.
        in_vectors: Number of vectors of each node.
        out_scalars: Number of scalars that are returned.
        out_vectors: Number of vectors that are returned.
        channels: Number of channels, of each half if there are two.
        layers: Number of layers of messages and updates.
        product: Product of features with attributes: ``cg``, all paths of the Clebsch-Gordan
            product with a matrix of channels each; ``gaunt``, the Gaunt product, with features of
            natural parity alone; or ``gaunt+odd``, with the Poisson bracket added. With ``cg`` and
            ``gaunt+odd`` features have a second half of channels for pseudovectors and other
            features of that parity, see :class:`equinet.nn.SteerableLinear`.
        lmax: Highest degree of the features, at least 1.
        lmax_attributes: Highest degree of the attributes, at least 1.
        cutoff: Distance at which messages vanish smoothly, in the unit of the positions; None for
            messages of all distances.
        level: Level of the outputs: one for each ``node``, or their sums over each ``graph``.
        in_edge_scalars: Number of scalars of each edge.
        moving: Whether each layer displaces the nodes by its contribution to their first output
            vector, so that the attributes of the next layer depend on the new positions. This needs
            output vectors that are displacements.

    Raises:
        ValueError: There are no inputs or no outputs, or ``moving`` is without an output vector.

    Source: Brandstetter, Hesselink, van der Pol, Bekkers, Welling, Geometric and physical
    quantities improve E(3) equivariant message passing (ICLR 2022), §3. There the features have
    natural parity in all products, and outputs are read once, by two further steerable layers.

    Example:
        >>> from torch_geometric.data import Data
        >>> model = SEGNN(in_scalars=1, in_vectors=1, out_scalars=2, out_vectors=1,
        ...               channels=8, layers=1)
        >>> graph = Data(x=torch.ones(2, 1), vec=torch.randn(2, 1, 3), pos=torch.randn(2, 3),
        ...              edge_index=torch.tensor([[1, 0], [0, 1]]))
        >>> {name: list(value.shape) for name, value in model(graph).items()}
        {'scalars': [2, 2], 'vectors': [2, 1, 3]}
    """

    average_neighbors: Tensor

    def __init__(
        self,
        *,
        in_scalars: WholeNumber,
        in_vectors: WholeNumber = 0,
        out_scalars: WholeNumber,
        out_vectors: WholeNumber = 0,
        channels: Count,
        layers: Count,
        product: SteerableProduct = "gaunt",
        lmax: Count = 1,
        lmax_attributes: Count = 1,
        cutoff: Positive | None = None,
        level: Literal["node", "graph"] = "node",
        in_edge_scalars: WholeNumber = 0,
        moving: bool = False,
    ) -> None:
        super().__init__(
            in_scalars=in_scalars,
            in_vectors=in_vectors,
            out_scalars=out_scalars,
            out_vectors=out_vectors,
            in_edge_scalars=in_edge_scalars,
            level=level,
        )
        if moving and out_vectors == 0:
            raise ValueError(
                "moving=True needs an output vector to move by, found out_vectors=0; set "
                "moving=False"
            )
        products = ("gaunt_product", "bracket_product")
        self.ops = {"cg": (), "gaunt": products[:1], "gaunt+odd": products}[product]
        self.channels = channels
        self.components = (lmax + 1) ** 2
        self.pseudo = has_pseudo_half(product)
        self.moving = moving
        self.cutoff = cutoff
        self.lmax_attributes = lmax_attributes
        self.radial = RadialFunctions(cutoff, in_edge_scalars)
        self.embed_scalars = nn.Linear(in_scalars, channels) if in_scalars else None
        self.embed_vectors = nn.Linear(in_vectors, channels, bias=False) if in_vectors else None
        # Weights of the vectors of a node in its attributes, per degree above zero.
        self.steering = nn.Parameter(torch.ones(in_vectors, lmax_attributes))
        self.register_buffer("average_neighbors", torch.ones((), dtype=torch.float64))
        self.layers = nn.ModuleList(
            _Layer(lmax, lmax_attributes, channels, self.radial.size, product)
            for _ in range(layers)
        )
        self.readouts = nn.ModuleList(
            _Readout(channels, out_scalars, out_vectors) for _ in range(layers)
        )

    def node_outputs(
        self,
        scalars: Float[Tensor, "node in_scalar"],
        vectors: Float[Tensor, "node in_vector xyz"],
        edge_index: Int[Tensor, "2 edge"],
        edge_vectors: Float[Tensor, "edge xyz"],
        edge_scalars: Float[Tensor, "edge in_edge_scalar"],
    ) -> tuple[Float[Tensor, "node out_scalar"], Float[Tensor, "node out_vector xyz"]]:
        """Apply the network to plain tensors, see :meth:`GraphModel.node_outputs`."""
        inputs = Inputs(scalars, vectors, edge_index, edge_vectors, edge_scalars)
        x = self._embed(inputs)
        of_vectors = self._harmonics_of_vectors(vectors)
        geometry = self._geometry(inputs, of_vectors)
        read: list[tuple[Tensor, Tensor]] = []
        for layer, readout in zip(self.layers, self.readouts, strict=True):
            if self.moving and read:
                inputs = inputs.moved(read[-1][1][:, 0] / len(self.layers))
                geometry = self._geometry(inputs, of_vectors)
            x = layer(x, edge_index, geometry, self.average_neighbors)
            read.append(readout(x))
        means = (torch.stack(each).mean(0) for each in zip(*read, strict=True))
        return next(means), next(means)

    @torch.no_grad()
    def calibrate(self, graph: Any) -> None:
        """Set the mean number of neighbors, by whose root sums of messages are divided.

        Call it once, before training, with the same batch on all processes.

        Args:
            graph: Batch of the training data, as in :meth:`forward`.

        Raises:
            ValueError: A field is missing or has another shape.
        """
        inputs = self._inputs(graph)
        mean = inputs.edge_index.shape[1] / max(1, inputs.scalars.shape[0])
        self.average_neighbors.fill_(max(1.0, mean))

    def _embed(self, inputs: Inputs) -> Float[Tensor, "node lm channel"]:
        """Place scalars in degree 0 and vectors in degree 1, whose components are (x, y, z)."""
        nodes = inputs.scalars.shape[0]
        first = inputs.scalars.new_zeros(nodes, 1, self.channels)
        if self.embed_scalars is not None:
            first = self.embed_scalars(inputs.scalars).unsqueeze(1)
        second = first.new_zeros(nodes, 3, self.channels)
        if self.embed_vectors is not None:
            second = self.embed_vectors(inputs.vectors.transpose(1, 2))
        absent = (0, self.pseudo * self.channels, 0, self.components - 4)
        return nn.functional.pad(torch.cat([first, second], dim=1), absent)

    def _harmonics_of_vectors(self, vectors: Tensor) -> Float[Tensor, "node lm"]:
        """Return the weighted sum over the vectors of each node, of degrees above zero."""
        harmonics = _harmonics(self.lmax_attributes, vectors)[..., 1:]
        degrees = degree_index(self.lmax_attributes, vectors.device)[1:] - 1
        return (harmonics * self.steering[:, degrees]).sum(1)

    def _geometry(self, inputs: Inputs, of_vectors: Tensor) -> "_Geometry":
        """Evaluate all that depends on positions."""
        nodes, receiver = inputs.scalars.shape[0], inputs.edge_index[1]
        edges = _harmonics(self.lmax_attributes, inputs.edge_vectors)
        weights = torch.ones_like(edges[:, 0])
        if self.cutoff is not None:
            weights = polynomial_envelope(edge_lengths(inputs.edge_vectors), self.cutoff)
        total = total_weights(weights, receiver, nodes)
        mean = segment_sum(edges[:, 1:] * weights.unsqueeze(1), receiver, nodes)
        directed = mean / total.unsqueeze(1) + of_vectors
        attributes = torch.cat([torch.ones_like(directed[:, :1]), directed], dim=1)
        functions = self.radial(inputs.edge_vectors, inputs.edge_scalars)
        envelope = None if self.cutoff is None else weights.reshape(-1, 1, 1)
        return _Geometry(edges, attributes, functions, envelope)


class _Geometry(NamedTuple):
    """Attributes of edges and nodes, functions of edges, and the weights of their messages."""

    edges: Tensor
    nodes: Tensor
    functions: Tensor
    envelope: Tensor | None


class _Layer(nn.Module):
    """One round of messages and updates.

    Args:
        lmax: Highest degree of the features.
        lmax_attributes: Highest degree of the attributes.
        channels: Number of channels of each half.
        functions: Number of scalars of each edge.
        product: Name of the product.
    """

    def __init__(
        self,
        lmax: int,
        lmax_attributes: int,
        channels: int,
        functions: int,
        product: SteerableProduct,
    ) -> None:
        super().__init__()
        pseudo = has_pseudo_half(product)

        def steerable(*, inputs: int = 1, scalars: int = 0) -> SteerableLinear:
            return SteerableLinear(
                lmax,
                lmax_attributes,
                channels,
                channels,
                product=product,
                inputs=inputs,
                scalars=scalars,
            )

        self.message1 = steerable(inputs=2, scalars=functions)
        self.message2 = steerable()
        self.update1 = steerable(inputs=2)
        self.update2 = steerable()
        self.gates = nn.ModuleList(HalfGate(lmax, channels, halves=1 + pseudo) for _ in range(3))

    def forward(
        self, x: Tensor, edge_index: Tensor, geometry: _Geometry, average_neighbors: Tensor
    ) -> Tensor:
        """Add the update to the features x."""
        sender, receiver = edge_index
        first, second, third = self.gates
        # Channels are mixed at the nodes, which are fewer than the edges.
        mixed = self.message1.mix(x).index_select(0, receiver)
        mixed = mixed + self.message1.mix(x, 1).index_select(0, sender)
        messages = first(self.message1.couple(mixed, geometry.edges, geometry.functions))
        messages = second(self.message2(messages, geometry.edges))
        if geometry.envelope is not None:
            messages = messages * geometry.envelope
        received = segment_sum(messages, receiver, x.shape[0])
        received = received * average_neighbors.rsqrt().to(x.dtype)
        mixed = self.update1.mix(x) + self.update1.mix(received, 1)
        update = third(self.update1.couple(mixed, geometry.nodes))
        return x + self.update2(update, geometry.nodes)


class _Readout(nn.Module):
    """Read scalars and vectors out of the natural half of features.

    Args:
        channels: Number of channels of each half.
        scalars: Number of scalars.
        vectors: Number of vectors.
    """

    def __init__(self, channels: int, scalars: int, vectors: int) -> None:
        super().__init__()
        self.channels = channels
        self.scalars = nn.Linear(channels, scalars) if scalars else None
        self.vectors = nn.Linear(channels, vectors, bias=False) if vectors else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scalars [N, scalars] and vectors [N, vectors, 3]."""
        first, second = x[:, 0, : self.channels], x[:, 1:4, : self.channels]
        scalars = first[:, :0] if self.scalars is None else self.scalars(first)
        vectors = second[..., :0] if self.vectors is None else self.vectors(second)
        return scalars, vectors.transpose(1, 2)


def _harmonics(lmax: int, vectors: Tensor) -> Float[Tensor, "*batch lm"]:
    """Return harmonics whose components have mean square one over all directions."""
    return spherical_harmonics(lmax, vectors) * math.sqrt(4 * math.pi)
