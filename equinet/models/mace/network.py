"""MACE: an equivariant many-body force field with all Clebsch-Gordan couplings."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.arguments import Count, Positive, Range, WholeNumber
from equinet.models.mace.interaction import Interaction
from equinet.models.mace.pairs import AgnesiTransform, PairRepulsion
from equinet.models.potential import Potential
from equinet.models.readouts import energy_readouts, layer_degrees
from equinet.nn import BesselBasis, edge_harmonics


class MACE(Potential):
    """Message passing with the published product: all couplings of up to four atoms.

    Each layer sums couplings of the neighbors' features with filters to a density around every
    atom, and computes all equivariant polynomials of the density up to order ``correlation``.
    Energies are the sum of readouts of all layers. :class:`equinet.models.MACEGaunt` is the fast
    relative, whose couplings are products of functions on the sphere. Models that mace-torch has
    trained become models of this class by ``equinet zoo import``.

    Args:
        elements: Atomic numbers that the model knows, in the order of its species.
        cutoff: Distance beyond which neighbors do not interact, Å.
        reference_energies: Reference energy of each element, eV per atom.
        average_neighbors: Number by which sums over neighbors are divided, as a rule their mean.
        scale: Unit of the network's output, eV.
        shift: Energy added for each atom, eV.
        max_neighbors: Highest number of edges that end at an atom in the graphs, see
            :class:`equinet.models.Potential`.
        tie_tolerance: Difference of squared lengths, Å², up to which further edges are kept, see
            :class:`equinet.models.Potential`.
        channels: Number of channels of every degree.
        layers: Number of message-passing layers.
        lmax_filter: Highest degree of filters and densities.
        lmax_hidden: Highest degree of the features between layers.
        correlation: Highest order of the polynomials, 1 to 3.
        radial_basis: Number of Bessel functions.
        envelope_order: Power p of the polynomial envelope, see
            :func:`equinet.nn.polynomial_envelope`.
        radial_hidden: Widths of the hidden layers of the radial networks.
        residual_first: Whether the first layer adds a species-dependent map of its input to its
            result; otherwise such a map is applied to its density.
        residual: Whether the other layers do.
        density: Whether the sums over neighbors are divided by one plus a learned number of
            neighbors, instead of by ``average_neighbors``.
        transformed: Whether the radial basis is that of distances which the Agnesi function maps to
            the interval from 0 to 1, see :class:`equinet.models.mace.pairs.AgnesiTransform`.
        repulsion: Whether the screened repulsion of nuclei is added, see
            :class:`equinet.models.mace.pairs.PairRepulsion`, in units of ``scale``.
        readout_hidden: Width of the hidden layer of the last readout, which is linear if there is
            one layer only.

    Raises:
        ValueError: A size is below one, a degree below zero, ``correlation`` out of range, or an
            element without a covalent radius is combined with ``transformed`` or ``repulsion``.

    Source: Batatia et al., MACE (NeurIPS 2022); the blocks RealAgnostic, RealAgnosticResidual,
    RealAgnosticDensity and RealAgnosticDensityResidual of mace-torch 0.3.

    Example:
        >>> model = MACE(elements=[1, 8], cutoff=5.0, reference_energies=[-13.6, -2040.0],
        ...              average_neighbors=12.0, channels=16)
        >>> sorted(model.arguments)[:2]
        ['average_neighbors', 'channels']
    """

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
        layers: Count = 2,
        lmax_filter: Count = 3,
        lmax_hidden: WholeNumber = 1,
        correlation: Annotated[int, Range("from 1 to 3", least=1, most=3)] = 3,
        radial_basis: Count = 8,
        envelope_order: Count = 5,
        radial_hidden: Sequence[Count] = (64, 64, 64),
        residual_first: bool = True,
        residual: bool = True,
        density: bool = False,
        transformed: bool = False,
        repulsion: bool = False,
        readout_hidden: Count = 16,
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
        kinds = len(self.elements)
        self.lmax_filter = lmax_filter
        self.embedding = nn.Parameter(torch.randn(kinds, 1, channels) / math.sqrt(kinds))
        self.basis = BesselBasis(cutoff, radial_basis, envelope_order)
        self.transform = AgnesiTransform(self.elements) if transformed else None
        self.repulsion = PairRepulsion(self.elements, envelope_order) if repulsion else None
        self.interactions = nn.ModuleList(
            Interaction(
                lmax_in=lmax_in,
                lmax_filter=lmax_filter,
                lmax_out=lmax_out,
                channels=channels,
                correlation=correlation,
                kinds=kinds,
                radial_basis=radial_basis,
                radial_hidden=tuple(radial_hidden),
                average_neighbors=average_neighbors,
                residual=residual if layer else residual_first,
                density=density,
            )
            for layer, (lmax_in, lmax_out) in enumerate(layer_degrees(layers, lmax_hidden))
        )
        # The published network reads a single layer out linearly.
        self.readouts = energy_readouts(layers, channels, readout_hidden if layers > 1 else None)

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
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        places = None if self.transform is None else self.transform(distances, species, edge_index)
        basis = self.basis(distances, places)
        harmonics = edge_harmonics(self.lmax_filter, vectors)
        x = self.embedding[species]
        energy = x.new_zeros(x.shape[0])
        if self.repulsion is not None:
            energy = energy + self.repulsion(distances, species, edge_index)
        for interaction, readout in zip(self.interactions, self.readouts, strict=True):
            x = interaction(x, species, vectors, harmonics, basis, edge_index)
            energy = energy + readout(x[:, 0]).squeeze(-1)
        return energy
