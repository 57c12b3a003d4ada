"""MACE with Gaunt tensor products: an equivariant many-body force field."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.arguments import Count, Positive, WholeNumber
from equinet.errors import BackendError
from equinet.models.fixed import FixedMACEGaunt, FixedPotential, is_covered
from equinet.models.potential import Evaluation, Potential
from equinet.models.readouts import energy_readouts, layer_degrees
from equinet.nn import (
    BesselBasis,
    DegreeLinear,
    GauntConv,
    GauntManyBody,
    RadialNetwork,
    edge_harmonics,
)
from equinet.ops import Backend

_log = logging.getLogger(__name__)


class MACEGaunt(Potential):
    """Message passing whose messages are many-body products of densities on the sphere.

    Each layer sums filtered features of neighbors to a density around every atom, computes the
    powers 1 … ``correlation`` of the density as a function on the sphere, and adds a
    species-dependent linear map of the previous features. Energies are the sum of readouts of all
    layers.

    Args:
        elements: Atomic numbers that the model knows, in the order of its species.
        cutoff: Distance beyond which neighbors do not interact, Å.
        reference_energies: Reference energy of each element, eV per atom.
        average_neighbors: Mean number of neighbors in the training set, which normalizes sums.
        scale: Unit of the network's output, eV.
        shift: Energy added for each atom, eV.
        max_neighbors: Highest number of edges that end at an atom in the graphs, see
            :class:`equinet.models.Potential`.
        tie_tolerance: Difference of squared lengths, Å², up to which further edges are kept, see
            :class:`equinet.models.Potential`.
        channels: Number of channels of every degree.
        convolution_channels: Number of channels inside the convolutions; None is ``channels``. A
            Gaunt convolution has one radial function per channel and filter degree for all paths
            (l1, l2, l3). With more channels, which are mixed before and after, every path can have
            its own.
        layers: Number of message-passing layers.
        lmax_filter: Highest degree of filters and densities.
        lmax_hidden: Highest degree of the features between layers.
        correlation: Highest power of the density.
        radial_basis: Number of Bessel functions.
        radial_hidden: Widths of the hidden layers of the radial networks.
        pair_radial: Whether the radial basis is multiplied by learned factors of the elements of
            receiver and sender. Factors of zero hide the sender from the receiver.
        readout_hidden: Width of the hidden layer of the last readout.
        backend: Name of the backend of the Gaunt ops; ``auto`` takes the fastest.

    Raises:
        ValueError: A size is below one, or a degree below zero.

    Source: Batatia et al., MACE (NeurIPS 2022); Luo, Chen, Krishnapriyan, Gaunt tensor products
    (ICLR 2024), whose published block replaces the symmetric contraction and keeps
    Clebsch-Gordan convolutions; here the convolutions are Gaunt products too.

    Example:
        >>> model = MACEGaunt(elements=[1, 8], cutoff=5.0, reference_energies=[-13.6, -2040.0],
        ...                   average_neighbors=12.0, channels=16)
        >>> sorted(model.arguments)[:2]
        ['average_neighbors', 'channels']
    """

    quick_to_compile: ClassVar[bool] = True

    def __init__(
        self,
        *,
        elements: Sequence[int],
        cutoff: Positive,
        reference_energies: Sequence[float],
        average_neighbors: Positive,
        scale: float = 1.0,
        shift: float = 0.0,
        max_neighbors: Count | None = None,
        tie_tolerance: float | None = None,
        channels: Count = 64,
        convolution_channels: Count | None = None,
        layers: Count = 2,
        lmax_filter: WholeNumber = 3,
        lmax_hidden: WholeNumber = 2,
        correlation: Count = 3,
        radial_basis: Count = 8,
        radial_hidden: Sequence[Count] = (64, 64, 64),
        pair_radial: bool = False,
        readout_hidden: Count = 16,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(
            elements=elements,
            cutoff=cutoff,
            reference_energies=reference_energies,
            scale=scale,
            shift=shift,
            max_neighbors=max_neighbors,
            tie_tolerance=tie_tolerance,
        )
        convolution_channels = channels if convolution_channels is None else convolution_channels
        kinds = len(self.elements)
        self.lmax_filter = lmax_filter
        self.embedding = nn.Parameter(torch.randn(kinds, 1, channels))
        self.basis = BesselBasis(cutoff, radial_basis)
        self.pairs = nn.Parameter(torch.ones(kinds, kinds, radial_basis)) if pair_radial else None
        self.interactions = nn.ModuleList(
            _Interaction(
                lmax_in=lmax_in,
                lmax_filter=lmax_filter,
                lmax_out=lmax_out,
                channels=channels,
                convolution_channels=convolution_channels,
                correlation=correlation,
                kinds=kinds,
                radial_basis=radial_basis,
                radial_hidden=tuple(radial_hidden),
                average_neighbors=average_neighbors,
                backend=backend,
            )
            for lmax_in, lmax_out in layer_degrees(layers, lmax_hidden)
        )
        self.readouts = energy_readouts(layers, channels, readout_hidden)

    @property
    def message_passes(self) -> int | None:
        """Number of edges in a row along which an energy reaches: one for each layer."""
        return len(self.interactions)

    def atomic_energies(
        self,
        species: Int[Tensor, " node"],
        vectors: Float[Tensor, "edge 3"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, " node"]:
        """Return the sum of the readouts of all layers, see :class:`Potential`."""
        radial = self.basis(torch.linalg.vector_norm(vectors, dim=-1))
        if self.pairs is not None:
            sender, receiver = edge_index
            radial = radial * self.pairs[species[receiver], species[sender]]
        harmonics = edge_harmonics(self.lmax_filter, vectors)
        x = self.embedding[species]
        energy = x.new_zeros(x.shape[0])
        for interaction, readout in zip(self.interactions, self.readouts, strict=True):
            x = interaction(x, species, vectors, harmonics, radial, edge_index)
            energy = energy + readout(x[:, 0]).squeeze(-1)
        return energy

    def fixed(self) -> Evaluation | None:
        """Return splines in place of radial networks and a gradient written by hand.

        Systems of more than some hundred atoms are evaluated piece by piece, so that memory does
        not hold what every edge needs. None, with a warning, where the radial networks are no
        functions that splines follow. See :meth:`Potential.fixed`.
        """
        if type(self) is not MACEGaunt or not is_covered(self):
            return None
        try:
            return FixedPotential(self, FixedMACEGaunt(self))
        except BackendError as error:
            _log.warning("%s; the model is evaluated without splines", error)
            return None

    def weight_decay_parameters(self) -> list[Tensor]:
        """Return all matrices but the factors of pairs, whose decay would hide elements."""
        return [p for p in self.parameters() if p.ndim >= 2 and p is not self.pairs]


class _Interaction(nn.Module):
    """Layer of a convolution, a many-body product and a residual update."""

    def __init__(
        self,
        *,
        lmax_in: int,
        lmax_filter: int,
        lmax_out: int,
        channels: int,
        convolution_channels: int,
        correlation: int,
        kinds: int,
        radial_basis: int,
        radial_hidden: tuple[int, ...],
        average_neighbors: float,
        backend: str,
    ) -> None:
        super().__init__()
        self.lmax_residual = min(lmax_in, lmax_out)
        self.up = DegreeLinear(lmax_in, channels, convolution_channels)
        self.radial = RadialNetwork(radial_basis, lmax_filter, convolution_channels, radial_hidden)
        self.convolution = GauntConv(
            lmax_in,
            lmax_filter,
            lmax_filter,
            convolution_channels,
            average_neighbors=average_neighbors,
            backend=backend,
        )
        self.density = DegreeLinear(lmax_filter, convolution_channels, channels)
        self.many_body = GauntManyBody(
            lmax_filter, lmax_out, channels, correlation, kinds, backend=backend
        )
        self.update = DegreeLinear(lmax_out, channels, channels)
        self.residual = DegreeLinear(self.lmax_residual, channels, channels, kinds=kinds)

    def forward(
        self,
        x: Tensor,
        species: Tensor,
        vectors: Tensor,
        harmonics: Tensor,
        radial: Tensor,
        edge_index: Tensor,
    ) -> Tensor:
        filters = partial(self.radial, radial)
        density = self.convolution(self.up(x), vectors, filters, edge_index, harmonics)
        messages = self.update(self.many_body(self.density(density), species))
        kept = (self.lmax_residual + 1) ** 2
        residual = self.residual(x[:, :kept], species)
        residual = nn.functional.pad(residual, (0, 0, 0, messages.shape[1] - kept))
        return (messages + residual) / math.sqrt(2)
