"""A layer of MACEGaunt at fixed weights: evaluated, and differentiated by hand.

Features are stored component by component, [lm, N, C], so that a map of channels is one matrix
product for each component.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.models.fixed.edges import Edges
from equinet.models.fixed.pieces import Piece
from equinet.models.fixed.radial_spline import RadialSpline
from equinet.o3 import antipodal_quadrature, degree_index, spherical_harmonics
from equinet.ops.native import filter_sum as convolution
from equinet.ops.native import forms
from equinet.ops.native import sphere_forms as sphere


class Grid:
    """Points on the sphere at which a convolution multiplies features and filters.

    Args:
        lmax: Highest degree of the features.
        lmax_filter: Highest degree of filters and results.
        dtype: Floating-point type of the matrices.
    """

    def __init__(self, lmax: int, lmax_filter: int, dtype: torch.dtype) -> None:
        points, weights = antipodal_quadrature(lmax + 2 * lmax_filter)
        filters = spherical_harmonics(lmax_filter, points)
        self.sample = spherical_harmonics(lmax, points).to(dtype)
        """Matrix [P, lm] from coefficients of features to samples."""
        self.project = (filters * weights.unsqueeze(1)).T.to(dtype).contiguous()
        """Matrix [lm, P] from samples of results to coefficients."""
        self.half = filters[: len(points) // 2].to(dtype).contiguous()
        """Harmonics of the filter at the first of each pair of opposite points."""


@dataclass(frozen=True)
class Tape:
    """What the derivative of a layer takes from its evaluation.

    Attributes:
        piece: Atoms that were evaluated.
        edges: Edges between them.
        radial: Radial weights [E, lmax_filter + 1, C].
        samples: Features of the senders, as the convolution reads them.
        density: Densities [lm, N, C].
        power_weights: Weights of the powers for each atom [N, order, lm, C].
    """

    piece: Piece
    edges: Edges
    radial: Tensor
    samples: Tensor
    density: Tensor
    power_weights: Tensor


class FixedInteraction:
    """One layer of :class:`equinet.models.MACEGaunt` whose weights do not change any more.

    All factors are multiplied into matrices, and the radial network is replaced by a spline.

    Args:
        layer: Entry of ``MACEGaunt.interactions``.
        basis: Radial basis of the model.
        cutoff: Cutoff radius, Å.
        dtype: Floating-point type of features.
    """

    def __init__(self, layer: Any, basis: nn.Module, cutoff: float, dtype: torch.dtype) -> None:
        layer = copy.deepcopy(layer).double().requires_grad_(requires_grad=False)
        product = layer.convolution
        a, b, c = product.even()
        self.lmax_filter: int = product.lmax_filter
        self.lmax_out: int = layer.many_body.lmax_out
        self.order: int = layer.many_body.correlation
        self.grid = Grid(layer.up.lmax, self.lmax_filter, dtype) if layer.up.lmax else None
        # Constant functions only scale the filter.
        scale = 1.0 if self.grid else 1 / math.sqrt(4 * math.pi)

        def matrices(weight: Tensor, lmax: int) -> Tensor:
            return weight[degree_index(lmax)].to(dtype).contiguous()

        up = layer.up.weight * layer.up.gain * a.unsqueeze(1) * scale
        down = layer.density.weight * layer.density.gain * c.unsqueeze(2)
        self.up = matrices(up, layer.up.lmax)
        self.down = matrices(down, self.lmax_filter)
        # The mean of messages and residual features has variance one.
        self.update = matrices(
            layer.update.weight * layer.update.gain / math.sqrt(2), self.lmax_out
        )
        residual = layer.residual
        matrix = residual.weight * residual.gain / math.sqrt(2)
        kinds = matrix.unflatten(1, (residual.kinds, -1)).unbind(1)
        self.residual = [matrices(kind, residual.lmax) for kind in kinds]
        powers = layer.many_body.weight * layer.many_body.gain
        self.power_weights = powers[:, :, degree_index(self.lmax_out)].to(dtype).contiguous()
        self.forms = ",".join("a" * power for power in range(2, self.order + 1))
        outputs = tuple(range(self.order - 1))
        self.gradient = forms.differentiate(self.forms, 1, (0,), outputs) if outputs else None
        radial = copy.deepcopy(basis).double()
        self.spline = RadialSpline(
            lambda d: layer.radial(radial(d), b * product.gain).flatten(1), cutoff, dtype
        )

    def evaluate(
        self, seen: Float[Tensor, "lm_in seen channel"], piece: Piece, edges: Edges
    ) -> tuple[Float[Tensor, "lm_out node channel"], Tape]:
        """Return new features of the atoms of a piece from the features that the piece reads."""
        radial = self.spline.values(edges.lengths).unflatten(1, (self.lmax_filter + 1, -1))
        samples = torch.bmm(seen, self.up).transpose(0, 1)
        if self.grid:
            samples = torch.matmul(self.grid.sample, samples)
        half = self.grid.half if self.grid else None
        summed = convolution.filter_sum(
            edges.harmonics, radial, samples, half, edges.sender, edges.receiver, piece.size
        )
        if self.grid:
            summed = torch.matmul(self.grid.project, summed)
        density = torch.bmm(summed.transpose(0, 1), self.down)
        weights = self.power_weights[piece.species]
        tape = Tape(piece, edges, radial, samples, density, weights)
        return self._update(self._powers(density, weights), seen, piece), tape

    def differentiate(
        self, tape: Tape, gradient: Float[Tensor, "lm_out node channel"], *, by_seen: bool
    ) -> tuple[
        Float[Tensor, " edge"],
        Float[Tensor, "edge lm_filter"],
        Float[Tensor, "lm_in seen channel"] | None,
    ]:
        """Return the gradients by lengths, harmonics and, if asked for, the features read."""
        piece, edges = tape.piece, tape.edges
        density = self._density_gradient(tape, torch.bmm(gradient, self.update.mT))
        summed = torch.bmm(density, self.down.mT).transpose(0, 1)
        half = self.grid.half if self.grid else None
        if self.grid:
            summed = torch.matmul(self.grid.project.T, summed)
        by_harmonics, by_radial = convolution.filter_correlation(
            edges.harmonics, tape.radial, tape.samples, summed, half, edges.sender, edges.receiver
        )
        by_length = self.spline.slopes(edges.lengths, by_radial.flatten(1))
        if not by_seen:
            return by_length, by_harmonics, None
        samples = convolution.filter_sum(
            edges.harmonics, tape.radial, summed, half, edges.receiver, edges.sender, piece.reads
        )
        if self.grid:
            samples = torch.matmul(self.grid.sample.T, samples)
        seen = torch.bmm(samples.transpose(0, 1), self.up.mT)
        kept = len(self.residual[0])
        for kind, atoms in piece.kinds:
            seen[:kept, atoms] += torch.bmm(gradient[:kept, atoms], self.residual[kind].mT)
        return by_length, by_harmonics, seen

    def _powers(self, density: Tensor, weights: Tensor) -> Tensor:
        """Add the powers of densities [lm, N, C], weighted: [lm_out, N, C]."""
        first = density[: (self.lmax_out + 1) ** 2].transpose(0, 1)
        total = first * weights[:, 0]
        if self.order > 1:
            lmax = [self.lmax_out] * (self.order - 1)
            powers = sphere.sphere_forms([density.transpose(0, 1)], self.forms, lmax)
            for number, power in enumerate(powers, start=1):
                total.addcmul_(power, weights[:, number])
        return total.transpose(0, 1)

    def _density_gradient(self, tape: Tape, gradient: Tensor) -> Tensor:
        """Return the gradient [lm, N, C] by densities from that by sums of powers."""
        powers = gradient.transpose(0, 1).unsqueeze(1) * tape.power_weights
        kept = powers.shape[2]
        if self.gradient is None:
            density = torch.zeros_like(tape.density)
        else:
            known = [tape.density.transpose(0, 1), *powers.unbind(1)[1:]]
            operands = [known[number] for number in self.gradient.operands]
            (found,) = sphere.sphere_forms(operands, self.gradient.forms, [self.lmax_filter])
            density = found.transpose(0, 1)
        density[:kept] += powers[:, 0].transpose(0, 1)
        return density

    def _update(self, messages: Tensor, seen: Tensor, piece: Piece) -> Tensor:
        """Mix the channels of messages [lm_out, N, C] and add the residual features."""
        updated = torch.bmm(messages, self.update)
        kept = len(self.residual[0])
        for kind, atoms in piece.kinds:
            updated[:kept, atoms] += torch.bmm(seen[:kept, atoms], self.residual[kind])
        return updated
