"""The spaces of the features of Ponita: how inputs are placed there and outputs are read."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from equinet.nn import (
    BesselBasis,
    DepthwiseConvolution,
    FiberBundleConv,
    FullBundleConv,
    KernelBasis,
    LiftedConv,
    LogarithmicBasis,
    PositionConv,
    axial_invariants,
    edge_lengths,
    lift_graph,
    pair_invariants,
    polynomial_envelope,
)
from equinet.o3 import OrientationGrid
from equinet.ops import segment_sum


class Inputs(NamedTuple):
    """Inputs of a network, in the precision of its parameters.

    Attributes:
        scalars: Scalars [N, in_scalars] of the nodes.
        vectors: Vectors [N, in_vectors, n] of the nodes.
        edge_index: Senders and receivers [2, E].
        edge_vectors: Vectors [E, n] from receiver to sender.
        edge_scalars: Scalars [E, in_edge_scalars] of the edges.
    """

    scalars: Tensor
    vectors: Tensor
    edge_index: Tensor
    edge_vectors: Tensor
    edge_scalars: Tensor

    def moved(self, displacements: Tensor) -> "Inputs":
        """Return the same inputs with nodes moved by displacements [N, n]."""
        sender, receiver = self.edge_index
        change = displacements.index_select(0, sender) - displacements.index_select(0, receiver)
        return self._replace(edge_vectors=self.edge_vectors + change)


@dataclass(frozen=True)
class Field:
    """Inputs on a space.

    Attributes:
        inputs: Features [..., in_scalars + in_vectors], with vectors as components along the
            orientations.
        geometry: Arguments of every convolution besides the features.
    """

    inputs: Tensor
    geometry: tuple[Tensor, ...]

    def read(self, values: Tensor, scalars: int) -> tuple[Tensor, Tensor]:
        """Take scalars [N, S] and vectors [N, V, n] out of values [..., S + V]."""
        raise NotImplementedError


@dataclass(frozen=True)
class PositionField(Field):
    """Numbers at positions, in a space of ``dimension`` dimensions."""

    dimension: int

    def read(self, values: Tensor, scalars: int) -> tuple[Tensor, Tensor]:
        """Take scalars as they are; there are no vectors."""
        return values[:, :scalars], values.new_empty(values.shape[0], 0, self.dimension)


@dataclass(frozen=True)
class BundleField(Field):
    """Signals on a grid of orientations, with its weights [O] and dual frame [O, n]."""

    weights: Tensor
    frame: Tensor

    def read(self, values: Tensor, scalars: int) -> tuple[Tensor, Tensor]:
        """Average scalars over the orientations and read vectors out by the dual frame."""
        means = torch.einsum("nos,o->ns", values[..., :scalars], self.weights.to(values.dtype))
        frame = self.frame.to(values.dtype)
        return means, torch.einsum("nov,oi->nvi", values[..., scalars:], frame)


@dataclass(frozen=True)
class LiftedField(Field):
    """Numbers at lifted nodes, given by orientations [M, 3] and base nodes [M] out of ``nodes``.

    A lifted node counts by its weight [M], which falls from one to zero at the cutoff, so that
    outputs stay smooth where a neighbor, and with it a lifted node, comes or goes.
    """

    orientations: Tensor
    weights: Tensor
    node: Tensor
    nodes: int

    def read(self, values: Tensor, scalars: int) -> tuple[Tensor, Tensor]:
        """Average over the lifted nodes of a node, by their weights.

        Vectors are multiplied by 3, which reproduces them exactly if the orientations cover the
        sphere evenly. Where the weights of a node sum to less than one, the average tends to zero
        with the sum: a node without neighbors reads out zero.
        """
        total = segment_sum(self.weights, self.node, self.nodes)
        # Twice differentiable where the sum is one, and the sum itself beyond.
        total = (total + (1 - total).clamp(min=0) ** 3).unsqueeze(1)
        values = values * self.weights.unsqueeze(1)
        vectors = 3 * values[:, scalars:, None] * self.orientations.unsqueeze(1)
        return (
            segment_sum(values[:, :scalars], self.node, self.nodes) / total,
            segment_sum(vectors, self.node, self.nodes) / total.unsqueeze(2),
        )


class Space(nn.Module):
    """A space of positions, with orientations or without.

    Attributes:
        dimension: Number of coordinates of a position; None for any.
    """

    dimension: int | None = None

    def convolution(self, channels: int) -> DepthwiseConvolution:
        """Return a layer for features of this space."""
        raise NotImplementedError

    def place(self, inputs: Inputs) -> Field:
        """Put inputs on the space."""
        raise NotImplementedError


class Positions(Space):
    """Plain positions: scalars only, kernels of the distance.

    Args:
        cutoff: Distance at which kernels vanish; with None they vanish nowhere.
        edge_scalars: Number of scalars of each edge.
    """

    def __init__(self, cutoff: float | None, edge_scalars: int) -> None:
        super().__init__()
        self.radial = RadialFunctions(cutoff, edge_scalars)

    def convolution(self, channels: int) -> PositionConv:
        """Return a convolution over positions."""
        return PositionConv(channels, self.radial.size)

    def place(self, inputs: Inputs) -> Field:
        """Leave scalars as they are."""
        basis = self.radial(inputs.edge_vectors, inputs.edge_scalars)
        dimension = inputs.edge_vectors.shape[1]
        return PositionField(inputs.scalars, (basis, inputs.edge_index), dimension)


class Bundle(Space):
    """A grid of orientations at every position.

    Args:
        grid: Grid of orientations with weights.
        kernel: ``mlp`` or ``zonal``, see :class:`equinet.nn.FiberBundleConv`; ``full``, see
            :class:`equinet.nn.FullBundleConv`.
        lmax: Highest degree of zonal kernels.
        basis: Number of basis functions of the kernels ``mlp`` and ``full``.
        cutoff: Distance at which kernels vanish; with None they vanish nowhere.
        edge_scalars: Number of scalars of each edge.
    """

    points: Tensor
    weights: Tensor
    frame: Tensor

    def __init__(
        self,
        grid: OrientationGrid,
        kernel: Literal["mlp", "zonal", "full"],
        lmax: int,
        basis: int,
        cutoff: float | None,
        edge_scalars: int,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.kernel: Literal["mlp", "zonal", "full"] = kernel
        self.lmax = lmax
        self.length = cutoff or 1.0
        self.dimension = grid.points.shape[1]
        self.register_buffer("points", grid.points.clone())
        self.register_buffer("weights", grid.weights.clone())
        self.register_buffer("frame", grid.frame)
        self.basis: RadialFunctions | PairFunctions
        if kernel == "zonal":
            self.basis = RadialFunctions(cutoff, edge_scalars)
        else:
            self.basis = PairFunctions(4 if kernel == "full" else 2, basis, cutoff, edge_scalars)

    def convolution(self, channels: int) -> FiberBundleConv | FullBundleConv:
        """Return a convolution over positions and orientations."""
        if self.kernel == "full":
            return FullBundleConv(self.grid, channels, self.basis.size)
        return FiberBundleConv(
            self.grid, channels, self.basis.size, kernel=self.kernel, lmax=self.lmax
        )

    def place(self, inputs: Inputs) -> Field:
        """Repeat scalars at every orientation and take the components of vectors along it."""
        points = self.points.to(inputs.scalars.dtype)
        scalars = inputs.scalars.unsqueeze(1).expand(-1, points.shape[0], -1)
        components = torch.einsum("nvi,oi->nov", inputs.vectors, points)
        placed = torch.cat([scalars, components], dim=-1)
        geometry = self._geometry(inputs, points)
        return BundleField(placed, geometry, self.weights, self.frame)

    def _geometry(self, inputs: Inputs, points: Tensor) -> tuple[Tensor, ...]:
        """Return the arguments of the convolutions besides the features."""
        vectors = inputs.edge_vectors
        if self.kernel == "full":
            itself = vectors.new_zeros(1, vectors.shape[1])
            no_scalars = vectors.new_zeros(1, inputs.edge_scalars.shape[1])
            (own,) = self._of_pairs(itself, no_scalars, points)
            return self._of_pairs(vectors, inputs.edge_scalars, points), own, inputs.edge_index
        if isinstance(self.basis, RadialFunctions):
            basis = self.basis(vectors, inputs.edge_scalars)
        else:
            invariants = axial_invariants((vectors / self.length).unsqueeze(1), points)
            basis = self.basis(invariants, vectors, inputs.edge_scalars)
        # The length tends to one far away and to zero with the edge, where directions vanish.
        square = vectors.square().sum(-1, keepdim=True)
        directions = vectors * torch.rsqrt(self.length**2 + square)
        return directions, basis, inputs.edge_index

    def _of_pairs(self, vectors: Tensor, edge_scalars: Tensor, points: Tensor) -> Tensor:
        """Functions [E, O, O, B] of edges, receivers' and senders' orientations."""
        count, dimension = points.shape
        shape = (vectors.shape[0], count, count, dimension)
        invariants = pair_invariants(
            (vectors / self.length)[:, None, None].expand(shape),
            points.unsqueeze(1).expand(shape),
            points.expand(shape),
            fourth=dimension == 3,
        )
        functions: Tensor = self.basis(invariants, vectors, edge_scalars)
        return functions


class Lifted(Space):
    """Orientations along the edges, at their receivers; three dimensions only.

    With a cutoff, the sums over the orientations of a node weigh each by the envelope of its edge,
    so that an edge at the cutoff counts no more than one that is not there.

    Args:
        chiral: Whether kernels tell mirror images apart.
        basis: Number of basis functions.
        cutoff: Distance at which kernels vanish; with None they vanish nowhere.
        edge_scalars: Number of scalars of each edge.
    """

    dimension = 3

    def __init__(
        self, *, chiral: bool, basis: int, cutoff: float | None, edge_scalars: int
    ) -> None:
        super().__init__()
        self.chiral = chiral
        self.cutoff = cutoff
        self.length = cutoff or 1.0
        self.basis = PairFunctions(5 if chiral else 4, basis, cutoff, edge_scalars)

    def convolution(self, channels: int) -> LiftedConv:
        """Return a convolution over lifted nodes."""
        return LiftedConv(channels, self.basis.size)

    def place(self, inputs: Inputs) -> Field:
        """Lift the graph; scalars go to every lift of a node, vectors as components along it."""
        vectors, nodes = inputs.edge_vectors, inputs.scalars.shape[0]
        lifted = lift_graph(vectors, inputs.edge_index, nodes)
        components = torch.einsum("mvi,mi->mv", inputs.vectors[lifted.node], lifted.orientations)
        # Lifted edges within a node have a vector of zeros, and no inputs.
        vectors = torch.cat([vectors, vectors.new_zeros(nodes, 3)])[lifted.base_edge]
        scalars = inputs.edge_scalars
        scalars = torch.cat([scalars, scalars.new_zeros(nodes, scalars.shape[1])])
        weights = torch.ones_like(inputs.edge_vectors[:, 0])
        if self.cutoff is not None:
            weights = polynomial_envelope(edge_lengths(inputs.edge_vectors), self.cutoff)
        weights = weights[lifted.origin]
        sender, receiver = lifted.orientations[lifted.edge_index]
        invariants = pair_invariants(
            vectors / self.length, receiver, sender, fourth=True, chirality=self.chiral
        )
        basis = self.basis(invariants, vectors, scalars[lifted.base_edge])
        if self.cutoff is not None:
            basis = basis * weights[lifted.edge_index[0]].unsqueeze(1)
        return LiftedField(
            torch.cat([inputs.scalars[lifted.node], components], dim=-1),
            (basis, lifted.edge_index),
            lifted.orientations,
            weights,
            lifted.node,
            nodes,
        )


class RadialFunctions(nn.Module):
    """Radial functions, and their products with the inputs of the edge; all vanish at the cutoff.

    Args:
        cutoff: Distance at which the functions vanish; with None they vanish nowhere.
        edge_scalars: Number of scalars of each edge.
    """

    def __init__(self, cutoff: float | None, edge_scalars: int) -> None:
        super().__init__()
        self.functions = LogarithmicBasis() if cutoff is None else BesselBasis(cutoff)
        self.size = self.functions.size * (1 + edge_scalars)

    def forward(self, edge_vectors: Tensor, edge_scalars: Tensor) -> Tensor:
        """Evaluate at edges [E, n] with inputs [E, F]; the result is [E, size]."""
        radial = self.functions(edge_lengths(edge_vectors)).unsqueeze(1)
        products = radial * edge_scalars.unsqueeze(-1)
        return torch.cat([radial, products], dim=1).flatten(1)


class PairFunctions(nn.Module):
    """Functions of the invariants of a pair and of the inputs of the edge; vanish at the cutoff.

    Args:
        invariants: Number of invariants.
        size: Number of functions.
        cutoff: Distance at which the functions vanish; with None they vanish nowhere.
        edge_scalars: Number of scalars of each edge.
    """

    def __init__(self, invariants: int, size: int, cutoff: float | None, edge_scalars: int) -> None:
        super().__init__()
        self.size = size
        self.cutoff = cutoff
        self.functions = KernelBasis(invariants + edge_scalars, size)

    def forward(self, invariants: Tensor, edge_vectors: Tensor, edge_scalars: Tensor) -> Tensor:
        """Evaluate at invariants [E, ..., K] of edges with inputs [E, F], as [E, ..., size]."""
        between = (1,) * (invariants.ndim - 2)
        edge_scalars = edge_scalars.reshape(len(edge_scalars), *between, edge_scalars.shape[1])
        edge_scalars = edge_scalars.expand(*invariants.shape[:-1], edge_scalars.shape[-1])
        values = self.functions(torch.cat([invariants, edge_scalars], dim=-1))
        if self.cutoff is None:
            return values
        envelope = polynomial_envelope(edge_lengths(edge_vectors), self.cutoff)
        return values * envelope.reshape(-1, *between, 1)
