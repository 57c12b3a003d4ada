"""Spaces of the features of Ponita, on which inputs are placed and outputs are read out."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from equinet.models.graphs.inputs import Inputs, total_weights
from equinet.models.graphs.radial_functions import RadialFunctions
from equinet.nn import (
    DepthwiseConv,
    FiberBundleConv,
    FullBundleConv,
    KernelBasis,
    LiftedConv,
    PositionConv,
    axial_invariants,
    edge_lengths,
    lift_graph,
    pair_invariants,
    polynomial_envelope,
)
from equinet.o3 import OrientationGrid, contract
from equinet.ops import segment_sum


@dataclass(frozen=True)
class Field:
    """Inputs on a space, and the geometry that convolutions need.

    Attributes:
        inputs: Features [..., in_scalars + in_vectors], with vectors as components along the
            orientations.
        geometry: Further arguments of every convolution, after the features.
    """

    inputs: Tensor
    geometry: tuple[Tensor, ...]

    def read(self, values: Tensor, scalars: int) -> tuple[Tensor, Tensor]:
        """Read scalars and vectors of the nodes out of values on the space.

        Args:
            values: Values on the space [..., S + V].
            scalars: Number of scalars S.

        Returns:
            Scalars [N, S] and vectors [N, V, n].
        """
        raise NotImplementedError


@dataclass(frozen=True)
class PositionField(Field):
    """Numbers at positions, in a space of ``dimension`` dimensions."""

    dimension: int

    def read(self, values: Tensor, scalars: int) -> tuple[Tensor, Tensor]:
        """Return the values as scalars, and no vectors."""
        return values[:, :scalars], values.new_empty(values.shape[0], 0, self.dimension)


@dataclass(frozen=True)
class BundleField(Field):
    """Signals on a grid of orientations, with its weights [O] and dual frame [O, n]."""

    weights: Tensor
    frame: Tensor

    def read(self, values: Tensor, scalars: int) -> tuple[Tensor, Tensor]:
        """Average scalars over the orientations and read vectors out by the dual frame."""
        means = contract("nos,o->ns", values[..., :scalars], self.weights.to(values.dtype))
        frame = self.frame.to(values.dtype)
        return means, contract("nov,oi->nvi", values[..., scalars:], frame)


@dataclass(frozen=True)
class LiftedField(Field):
    """Numbers at lifted nodes, given by orientations [M, 3] and base nodes [M] out of ``nodes``.

    The weight [M] of a lifted node falls from one to zero at the cutoff, so that outputs stay
    smooth where an edge, and with it a lifted node, appears or disappears.
    """

    orientations: Tensor
    weights: Tensor
    node: Tensor
    nodes: int

    def read(self, values: Tensor, scalars: int) -> tuple[Tensor, Tensor]:
        """Average over the lifted nodes of a node, by their weights.

        Vectors are multiplied by 3, which reproduces them exactly if the orientations cover the
        sphere evenly. If the weights of a node sum to less than one, the average tends to zero with
        the sum, so that outputs of a node without neighbors are zero.
        """
        total = total_weights(self.weights, self.node, self.nodes).unsqueeze(1)
        values = values * self.weights.unsqueeze(1)
        vectors = 3 * values[:, scalars:, None] * self.orientations.unsqueeze(1)
        return (
            segment_sum(values[:, :scalars], self.node, self.nodes) / total,
            segment_sum(vectors, self.node, self.nodes) / total.unsqueeze(2),
        )


class Space(nn.Module):
    """Space of positions, with or without orientations.

    Attributes:
        dimension: Number of coordinates of a position; None for any number.
    """

    dimension: int | None = None

    def convolution(self, channels: int) -> DepthwiseConv:
        """Return a convolution for features of this space.

        Args:
            channels: Number of channels of the features.
        """
        raise NotImplementedError

    def place(self, inputs: Inputs) -> Field:
        """Place inputs on the space.

        Args:
            inputs: Inputs of the network.
        """
        raise NotImplementedError


class Positions(Space):
    """Space of positions without orientations, for scalars and kernels of the distance.

    Args:
        cutoff: Distance at which kernels vanish; None for kernels of all distances.
        edge_scalars: Number of scalars of each edge.
    """

    def __init__(self, cutoff: float | None, edge_scalars: int) -> None:
        super().__init__()
        self.radial = RadialFunctions(cutoff, edge_scalars)

    def convolution(self, channels: int) -> PositionConv:
        """Return a convolution over positions."""
        return PositionConv(channels, self.radial.size)

    def place(self, inputs: Inputs) -> Field:
        """Place scalars at their nodes."""
        basis = self.radial(inputs.edge_vectors, inputs.edge_scalars)
        dimension = inputs.edge_vectors.shape[1]
        return PositionField(inputs.scalars, (basis, inputs.edge_index), dimension)


class Bundle(Space):
    """Space of positions with the same grid of orientations at every position.

    Args:
        grid: Grid of orientations with weights.
        kernel: Kernel of the convolutions: ``mlp`` or ``zonal``, see
            :class:`equinet.nn.FiberBundleConv`; or ``full``, see
            :class:`equinet.nn.FullBundleConv`.
        lmax: Highest degree of zonal kernels.
        basis: Number of basis functions of the kernels ``mlp`` and ``full``.
        cutoff: Distance at which kernels vanish; None for kernels of all distances.
        edge_scalars: Number of scalars of each edge.

    Example:
        >>> from equinet.o3 import orientation_grid
        >>> space = Bundle(orientation_grid("icosahedron12"), "zonal", 2, 8, None, 0)
        >>> space.points.shape
        torch.Size([12, 3])
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
        components = contract("nvi,oi->nov", inputs.vectors, points)
        placed = torch.cat([scalars, components], dim=-1)
        geometry = self._geometry(inputs, points)
        return BundleField(placed, geometry, self.weights, self.frame)

    def _geometry(self, inputs: Inputs, points: Tensor) -> tuple[Tensor, ...]:
        """Return the further arguments of the convolutions, after the features."""
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
        # Directions have length one for long edges, and vanish smoothly with the length of an edge.
        square = vectors.square().sum(-1, keepdim=True)
        directions = vectors * torch.rsqrt(self.length**2 + square)
        return directions, basis, inputs.edge_index

    def _of_pairs(self, vectors: Tensor, edge_scalars: Tensor, points: Tensor) -> Tensor:
        """Return functions [E, O, O, B] of edges and the orientations of receivers and senders."""
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
    """Space of orientations along the edges, at their receivers; three dimensions only.

    With a cutoff, sums over the orientations of a node are weighted by the envelopes of the edges,
    so that the weight of an edge vanishes at the cutoff.

    Args:
        chiral: Whether kernels distinguish mirror images.
        basis: Number of basis functions of the kernels.
        cutoff: Distance at which kernels vanish; None for kernels of all distances.
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
        """Lift the graph, with scalars repeated and vectors as components along orientations."""
        vectors, nodes = inputs.edge_vectors, inputs.scalars.shape[0]
        lifted = lift_graph(vectors, inputs.edge_index, nodes)
        components = contract("mvi,mi->mv", inputs.vectors[lifted.node], lifted.orientations)
        # Lifted edges within a node have a zero vector and zero scalars.
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


class PairFunctions(nn.Module):
    """Functions of the invariants of a pair and the scalars of its edge; they vanish at the cutoff.

    Args:
        invariants: Number of invariants of a pair.
        size: Number of functions to return.
        cutoff: Distance at which the functions vanish; None for functions of all distances.
        edge_scalars: Number of scalars of each edge.
    """

    def __init__(self, invariants: int, size: int, cutoff: float | None, edge_scalars: int) -> None:
        super().__init__()
        self.size = size
        self.cutoff = cutoff
        self.functions = KernelBasis(invariants + edge_scalars, size)

    def forward(self, invariants: Tensor, edge_vectors: Tensor, edge_scalars: Tensor) -> Tensor:
        """Evaluate the functions at pairs.

        Args:
            invariants: Invariants of the pairs [E, ..., K].
            edge_vectors: Vectors of the edges [E, n].
            edge_scalars: Scalars of the edges [E, in_edge_scalars].

        Returns:
            Values [E, ..., size].
        """
        between = (1,) * (invariants.ndim - 2)
        edge_scalars = edge_scalars.reshape(len(edge_scalars), *between, edge_scalars.shape[1])
        edge_scalars = edge_scalars.expand(*invariants.shape[:-1], edge_scalars.shape[-1])
        values = self.functions(torch.cat([invariants, edge_scalars], dim=-1))
        if self.cutoff is None:
            return values
        envelope = polynomial_envelope(edge_lengths(edge_vectors), self.cutoff)
        return values * envelope.reshape(-1, *between, 1)
