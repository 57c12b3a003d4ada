"""Layer of MACE: a convolution, all polynomials of the density, and a residual update."""

import math

import torch
from torch import Tensor, nn

from equinet.nn import (
    ClebschGordanConv,
    DegreeLinear,
    RadialNetwork,
    SymmetricContraction,
)
from equinet.ops import segment_sum


class Interaction(nn.Module):
    """Map features of atoms to new ones that depend on their neighbors; see :class:`MACE`.

    Args:
        lmax_in: Highest degree of the features.
        lmax_filter: Highest degree of filters and densities.
        lmax_out: Highest degree of the result.
        channels: Number of channels of every degree.
        correlation: Highest order of the polynomials of the density.
        kinds: Number of species.
        radial_basis: Number of radial basis functions.
        radial_hidden: Widths of the hidden layers of the radial network.
        average_neighbors: Number by which sums over neighbors are divided.
        residual: Whether a species-dependent map of the features is added to the result; otherwise
            such a map is applied to the density.
        density: Whether sums are divided by one plus a learned number of neighbors instead.
    """

    def __init__(
        self,
        *,
        lmax_in: int,
        lmax_filter: int,
        lmax_out: int,
        channels: int,
        correlation: int,
        kinds: int,
        radial_basis: int,
        radial_hidden: tuple[int, ...],
        average_neighbors: float,
        residual: bool,
        density: bool,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.up = DegreeLinear(lmax_in, channels, channels)
        self.convolution = ClebschGordanConv(
            lmax_in, lmax_filter, channels, average_neighbors=1.0 if density else average_neighbors
        )
        self.radial = RadialNetwork(
            radial_basis, self.convolution.paths - 1, channels, radial_hidden
        )
        self.count = nn.Parameter(torch.randn(radial_basis)) if density else None
        lmax_skip = min(lmax_in, lmax_out) if residual else lmax_filter
        self.skip = DegreeLinear(lmax_skip, channels, channels, kinds=kinds)
        self.contraction = SymmetricContraction(lmax_filter, lmax_out, channels, correlation, kinds)
        self.update = DegreeLinear(lmax_out, channels, channels)

    def forward(
        self,
        x: Tensor,
        species: Tensor,
        vectors: Tensor,
        harmonics: Tensor,
        basis: Tensor,
        edge_index: Tensor,
    ) -> Tensor:
        """Evaluate the layer.

        Args:
            x: Features [N, (lmax_in+1)², channels].
            species: Species of each atom [N].
            vectors: Edge vectors [E, 3], Å.
            harmonics: Spherical harmonics [E, (lmax_filter+1)²] of the edges.
            basis: Values [E, radial_basis] of the radial basis.
            edge_index: Senders and receivers [2, E].

        Returns:
            The features [N, (lmax_out+1)², channels].
        """
        radial = self.radial(basis)
        density = self.convolution(self.up(x), vectors, harmonics, radial, edge_index)
        if self.count is not None:
            amount = torch.tanh((basis @ self.count / math.sqrt(basis.shape[1])).square())
            count = segment_sum(amount, edge_index[1], x.shape[0])
            density = density / (1 + count).reshape(-1, 1, 1)
        if not self.residual:
            return self._updated(self.skip(density, species), species)
        kept = (self.skip.lmax + 1) ** 2
        skipped = self.skip(x[:, :kept], species)
        messages = self._updated(density, species)
        return messages + nn.functional.pad(skipped, (0, 0, 0, messages.shape[1] - kept))

    def _updated(self, density: Tensor, species: Tensor) -> Tensor:
        updated: Tensor = self.update(self.contraction(density, species))
        return updated
