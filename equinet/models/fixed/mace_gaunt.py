"""MACEGaunt at fixed weights: energies and their gradients, piece by piece, without autograd."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.models.fixed.edges import Edges
from equinet.models.fixed.interaction import FixedInteraction, Tape
from equinet.models.fixed.pieces import Piece, split, whole
from equinet.ops import native

# Atoms of a piece: their features, samples and radial weights stay in the cache of a core.
PIECE = 256


def is_covered(model: Any) -> bool:
    """Tell whether :class:`FixedMACEGaunt` knows all options of a MACEGaunt, and runs where it is.

    Args:
        model: Potential of the class :class:`equinet.models.MACEGaunt`.

    Example:
        >>> from equinet import zoo
        >>> is_covered(zoo.load("mace-gaunt-3bpa"))
        True
    """
    layers = model.interactions
    return (
        model.pairs is None
        and model.dtype in (torch.float32, torch.float64)
        and next(model.parameters()).device.type == "cpu"
        and all(layer.many_body.lmax_out <= model.lmax_filter for layer in layers)
        and all(layer.convolution.backend in ("auto", "native") for layer in layers)
        and not native.unavailable("interaction")
    )


class FixedMACEGaunt:
    """Network of :class:`equinet.models.MACEGaunt` for evaluation alone.

    Args:
        model: Potential of the class :class:`equinet.models.MACEGaunt`, whose weights are copied.

    Example:
        >>> from equinet.models import MACEGaunt
        >>> model = MACEGaunt(
        ...     elements=[1], cutoff=4.0, reference_energies=[-13.6], average_neighbors=1.0
        ... )
        >>> vectors, edge_index = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]), torch.eye(2).long()
        >>> fixed = FixedMACEGaunt(model)
        >>> energies, gradient = fixed(
        ...     torch.tensor([0, 0]), vectors, edge_index, lambda: np.zeros((2, 3))
        ... )
        >>> energies.shape, gradient.shape
        (torch.Size([2]), torch.Size([2, 3]))
    """

    def __init__(self, model: Any) -> None:
        native.load()  # every call needs its ops
        self.dtype = model.dtype
        self.lmax = model.lmax_filter
        self.embedding = model.embedding.detach().squeeze(1).clone()
        self.interactions = [
            FixedInteraction(layer, model.basis, model.cutoff, self.dtype)
            for layer in model.interactions
        ]
        self.readouts: Any = copy.deepcopy(model.readouts).requires_grad_(requires_grad=False)

    @torch.inference_mode()
    def __call__(
        self,
        species: Int[Tensor, " node"],
        vectors: Float[Tensor, "edge 3"],
        edge_index: Int[Tensor, "2 edge"],
        places: Callable[[], Float[np.ndarray, "node dimension"]],
        *,
        gradient: bool = True,
    ) -> tuple[Float[Tensor, " node"], Float[Tensor, "edge 3"] | None]:
        """Return atomic energies, and the gradient of their sum by the edge vectors.

        Memory beyond the features of the atoms is that of one piece of the system.

        Args:
            species: Species of each atom [N].
            vectors: Edge vectors from receiver to sender [E, 3], Å.
            edge_index: Senders and receivers [2, E].
            places: Function that returns coordinates [N, D] by which pieces of a large system are
                compact.
            gradient: Whether the gradient is computed.

        Returns:
            Energies [N] in units of ``scale``, and the gradient [E, 3] in these units per Å.
        """
        vectors = vectors.to(self.dtype)
        if len(species) <= PIECE:
            return _WholeRun(self, whole(species, edge_index), vectors).run(gradient=gradient)
        pieces, order = split(species, edge_index, places(), PIECE)
        found, slopes = _PieceRun(self, pieces, vectors).run(gradient=gradient)
        energies = torch.empty_like(found)
        energies[order] = found
        return energies, slopes


class _WholeRun:
    """Evaluation of a small system, of which everything is kept for the gradient."""

    def __init__(self, model: FixedMACEGaunt, piece: Piece, vectors: Tensor) -> None:
        self.model, self.piece = model, piece
        self.edges = Edges.of(vectors, piece.sender, piece.receiver, model.lmax)
        self.scalars: list[Tensor] = []
        self.tapes: list[Tape] = []

    def run(self, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
        """Return the atomic energies [N] and, if asked for, the gradient [E, 3]."""
        features = self.model.embedding[self.piece.species].unsqueeze(0)
        energies = []
        for layer, readout in zip(self.model.interactions, self.model.readouts, strict=True):
            features, tape = layer.evaluate(features, self.piece, self.edges)
            energies.append(readout(features[0]))
            self.tapes.append(tape)
            self.scalars.append(features[0])
        return torch.cat(energies, dim=1).sum(1), self._gradient() if gradient else None

    def _gradient(self) -> Tensor:
        by_length = torch.zeros_like(self.edges.lengths)
        by_harmonics = torch.zeros_like(self.edges.harmonics)
        by_features = None
        for number in reversed(range(len(self.tapes))):
            layer = self.model.interactions[number]
            by_scalars = _readout_gradient(self.model.readouts[number], self.scalars[number])
            if by_features is None:
                by_features = by_scalars.new_zeros((layer.lmax_out + 1) ** 2, *by_scalars.shape)
            by_features[0] += by_scalars
            length, harmonics, by_features = layer.differentiate(
                self.tapes[number], by_features, by_seen=number > 0
            )
            by_length += length
            by_harmonics += harmonics
        return self.edges.gradient(by_length, by_harmonics)


class _PieceRun:
    """Evaluation of a large system piece by piece: only features between layers are kept."""

    def __init__(self, model: FixedMACEGaunt, pieces: list[Piece], vectors: Tensor) -> None:
        self.model, self.pieces, self.vectors = model, pieces, vectors
        species = torch.cat([piece.species for piece in pieces])
        self.features = [model.embedding[species].unsqueeze(0)]
        self.energies = vectors.new_zeros(len(species))
        self.by_vectors = torch.zeros_like(vectors)

    def run(self, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
        """Return the atomic energies [N] and, if asked for, the gradient [E, 3]."""
        last = len(self.model.interactions) - 1
        for number in range(last):
            self._evaluate(number)
        by_features = None
        for number in range(last, -1 if gradient else last - 1, -1):
            by_features = self._differentiate(number, by_features, gradient=gradient)
        return self.energies, self.by_vectors if gradient else None

    def _evaluate(self, number: int) -> None:
        """Evaluate a layer before the last, and keep its features."""
        _, atoms, channels = self.features[number].shape
        size = (self.model.interactions[number].lmax_out + 1) ** 2
        features = self.vectors.new_empty(size, atoms, channels)
        for piece in self.pieces:
            found, _ = self._layer(number, piece)
            features[:, piece.atoms] = found
            self.energies[piece.atoms] += self.model.readouts[number](found[0]).squeeze(1)
        self.features.append(features)

    def _differentiate(
        self, number: int, by_features: Tensor | None, *, gradient: bool
    ) -> Tensor | None:
        """Add energies and gradients of a layer; return the gradient by the features it reads."""
        layer, readout = self.model.interactions[number], self.model.readouts[number]
        by_inputs = torch.zeros_like(self.features[number])
        for piece in self.pieces:
            found, tape = self._layer(number, piece)
            if by_features is None:
                self.energies[piece.atoms] += readout(found[0]).squeeze(1)
            if not gradient:
                continue
            by_found = torch.zeros_like(found)
            if by_features is not None:
                by_found += by_features[:, piece.atoms]
            by_found[0] += _readout_gradient(readout, found[0])
            length, harmonics, seen = layer.differentiate(tape, by_found, by_seen=number > 0)
            self.by_vectors[piece.edges] += tape.edges.gradient(length, harmonics)
            if seen is not None:
                piece.add(by_inputs, seen)
        return by_inputs

    def _layer(self, number: int, piece: Piece) -> tuple[Tensor, Tape]:
        vectors = self.vectors[piece.edges]
        edges = Edges.of(vectors, piece.sender, piece.receiver, self.model.lmax)
        seen = piece.read(self.features[number])
        return self.model.interactions[number].evaluate(seen, piece, edges)


def _readout_gradient(readout: Any, scalars: Tensor) -> Tensor:
    """Return the gradient [N, C] of the summed energies of a readout by its inputs."""
    if isinstance(readout, nn.Linear):
        weight: Tensor = readout.weight
        return weight.expand_as(scalars)
    hidden, _, out = readout
    x = scalars @ hidden.weight.T
    gate = torch.sigmoid(x)
    gradient: Tensor = (out.weight * gate * (1 + x * (1 - gate))) @ hidden.weight
    return gradient
