"""A layer of MACEGaunt at fixed weights: evaluated, and differentiated by hand."""

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
from equinet.o3 import antipodal_quadrature, spherical_harmonics
from equinet.ops.native import interaction as native


@dataclass(frozen=True)
class Tape:
    """What the derivative of a layer takes from its evaluation.

    Attributes:
        piece: Atoms that were evaluated.
        edges: Edges between them.
        tensors: Tensors that the native op has kept for its gradient.
    """

    piece: Piece
    edges: Edges
    tensors: list[Tensor]


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
        product, powers, residual = layer.convolution, layer.many_body, layer.residual
        lmax, lmax_filter = layer.up.lmax, product.lmax_filter
        a, b, c = product.even()
        # Constant functions only scale the filter.
        scale = 1.0 if lmax else 1 / math.sqrt(4 * math.pi)
        # The mean of messages and residual features has variance one.
        half = 1 / math.sqrt(2)
        matrices = [
            layer.up.weight * layer.up.gain * a.unsqueeze(1) * scale,
            layer.density.weight * layer.density.gain * c.unsqueeze(2),
            layer.update.weight * layer.update.gain * half,
            (residual.weight * residual.gain * half)
            .unflatten(1, (residual.kinds, -1))
            .transpose(0, 1),
        ]
        radial = copy.deepcopy(basis).double()
        spline = RadialSpline(
            lambda d: layer.radial(radial(d), b * product.gain).flatten(1), cutoff, dtype
        )
        lmax_out = powers.lmax_out
        grids = [torch.empty(0)] * 5
        if lmax:
            grids[:3] = _grid(lmax, lmax_filter, lmax + 2 * lmax_filter)
        if powers.correlation > 1:
            degree = powers.correlation * lmax_filter + lmax_out
            grids[3:] = _grid(lmax_filter, lmax_out, degree)[:2]
        transposed = [each.mT for each in matrices]
        weights = [spline.rows, *matrices, powers.weight * powers.gain, *transposed, *grids]
        self.weights = [each.to(dtype).contiguous() for each in weights]
        """Weights in the order of :mod:`equinet.ops.native.interaction`."""
        self.lmax_out: int = lmax_out
        self.cutoff = cutoff

    def evaluate(
        self, seen: Float[Tensor, "lm_in seen channel"], piece: Piece, edges: Edges
    ) -> tuple[Float[Tensor, "lm_out node channel"], Tape]:
        """Return new features of the atoms of a piece from the features that the piece reads."""
        features, *kept = native.evaluate(seen, *self._operands(piece, edges))
        return features, Tape(piece, edges, kept)

    def differentiate(
        self, tape: Tape, gradient: Float[Tensor, "lm_out node channel"], *, by_seen: bool
    ) -> tuple[
        Float[Tensor, " edge"],
        Float[Tensor, "edge lm_filter"],
        Float[Tensor, "lm_in seen channel"] | None,
    ]:
        """Return the gradients by lengths, harmonics and, if asked for, the features read."""
        operands = self._operands(tape.piece, tape.edges)
        found = native.gradient(gradient, tape.tensors, *operands, by_seen=by_seen)
        return found[0], found[1], found[2] if by_seen else None

    def _operands(self, piece: Piece, edges: Edges) -> tuple[Any, ...]:
        indices = (edges.sender, edges.receiver, piece.species)
        return (edges.lengths, edges.harmonics, *indices, self.weights, self.cutoff)


def _grid(lmax: int, lmax_out: int, degree: int) -> list[Tensor]:
    """Return matrices between coefficients and samples at points that integrate up to a degree.

    Args:
        lmax: Highest degree of the functions that are sampled.
        lmax_out: Highest degree of the functions on which samples are projected.
        degree: Polynomial degree that the points integrate exactly.

    Returns:
        Matrix [P, lm] to samples, matrix [lm_out, P] from samples, and the harmonics
        [P / 2, lm_out] at the first of each pair of opposite points.
    """
    points, weights = antipodal_quadrature(degree)
    harmonics = spherical_harmonics(lmax_out, points)
    project = (harmonics * weights.unsqueeze(1)).T
    return [spherical_harmonics(lmax, points), project, harmonics[: len(points) // 2]]
