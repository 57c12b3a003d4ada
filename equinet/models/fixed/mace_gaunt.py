"""MACEGaunt at fixed weights: energies and their gradients, piece by piece, without autograd."""

import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.models.fixed.edges import Edges
from equinet.models.fixed.interaction import FixedInteraction, Tape
from equinet.models.fixed.pieces import Piece, split
from equinet.nn import edge_vectors
from equinet.ops import native
from equinet.ops.native import gaunt_network

# Atoms of a piece: their features, samples and radial weights stay in the cache of a core.
PIECE = 256

# Graphs of a batch lie this far apart, Å, so that no piece has atoms of two before it has to.
_APART = 1e6


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
        and not native.unavailable("gaunt_network")
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
        >>> pos, edge_index = torch.eye(3)[:2].double(), torch.tensor([[0, 1], [1, 0]])
        >>> energies, forces, virial = FixedMACEGaunt(model)(
        ...     torch.tensor([0, 0]), pos, torch.zeros(1, 3, 3).double(), torch.tensor([0, 0]),
        ...     edge_index, torch.zeros(2, 3).double()
        ... )
        >>> energies.shape, forces.shape, virial.shape
        (torch.Size([2]), torch.Size([2, 3]), torch.Size([1, 3, 3]))
    """

    def __init__(self, model: Any) -> None:
        native.load()  # every call needs its ops
        self.dtype = model.dtype
        self.lmax = model.lmax_filter
        self.cutoff = model.cutoff
        self.embedding = model.embedding.detach().squeeze(1).clone()
        self.interactions = [
            FixedInteraction(layer, model.basis, model.cutoff, self.dtype)
            for layer in model.interactions
        ]
        self.readouts: Any = copy.deepcopy(model.readouts).requires_grad_(requires_grad=False)
        self._weights = [each for layer in self.interactions for each in layer.weights]
        self._readouts = [each for readout in self.readouts for each in _matrices(readout)]

    @torch.inference_mode()
    def __call__(
        self,
        species: Int[Tensor, " node"],
        pos: Float[Tensor, "node 3"],
        cell: Float[Tensor, "graph 3 3"],
        batch: Int[Tensor, " node"],
        edge_index: Int[Tensor, "2 edge"],
        edge_shift: Float[Tensor, "edge 3"],
        *,
        gradient: bool = True,
    ) -> tuple[
        Float[Tensor, " node"],
        Float[Tensor, "node 3"] | None,
        Float[Tensor, "graph 3 3"] | None,
    ]:
        """Return atomic energies, and their gradient as forces and virial, all in float64.

        A small system is evaluated by one native call. Memory beyond the features of the atoms of a
        large one is that of one piece.

        Args:
            species: Species of each atom [N].
            pos: Positions [N, 3], Å, float64.
            cell: Lattice vectors in rows [G, 3, 3], Å, float64; zeros where not periodic.
            batch: Index of the graph of each atom [N].
            edge_index: Senders and receivers [2, E].
            edge_shift: Shift of each edge [E, 3], in units of the lattice vectors, float64.
            gradient: Whether forces and virial are computed.

        Returns:
            Energies [N] in units of ``scale``; forces [N, 3] in these units per Å; and the sum
            [G, 3, 3] over edges of vector times slope, in these units.
        """
        if len(species) > PIECE:
            return self._in_pieces(
                species, pos, cell, batch, edge_index, edge_shift, gradient=gradient
            )
        found = gaunt_network.evaluate(
            (pos, cell, batch, *edge_index, edge_shift),
            species,
            self.embedding,
            self._weights,
            self._readouts,
            self.cutoff,
            gradient=gradient,
        )
        return (found[0], found[1], found[2]) if gradient else (found[0], None, None)

    def _in_pieces(
        self,
        species: Tensor,
        pos: Tensor,
        cell: Tensor,
        batch: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor,
        *,
        gradient: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the same for a large system."""
        vectors = edge_vectors(pos, cell, batch, edge_index, edge_shift)
        pieces, order = split(species, edge_index, _places(pos, cell, batch), PIECE)
        found, slopes = _PieceRun(self, pieces, vectors.to(self.dtype)).run(gradient=gradient)
        energies = torch.empty_like(found, dtype=torch.float64)
        energies[order] = found.double()
        if slopes is None:
            return energies, None, None
        return energies, *_collect(vectors, slopes.double(), batch, edge_index, len(cell))


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


def _matrices(readout: Any) -> list[Tensor]:
    """Return the weights of a readout as the native op takes them."""
    if isinstance(readout, nn.Linear):
        return [readout.weight[:0], readout.weight[:0].T.contiguous(), readout.weight]
    hidden, _, out = readout
    return [hidden.weight, hidden.weight.T.contiguous(), out.weight]


def _collect(
    vectors: Tensor, slopes: Tensor, batch: Tensor, edge_index: Tensor, graphs: int
) -> tuple[Tensor, Tensor]:
    """Sum the slopes of edges to forces [N, 3], and with vectors to virials [G, 3, 3]."""
    sender, receiver = edge_index
    forces = slopes.new_zeros(len(batch), 3).index_add_(0, receiver, slopes)
    forces.index_add_(0, sender, slopes, alpha=-1)
    products = vectors.unsqueeze(2) * slopes.unsqueeze(1)
    return forces, slopes.new_zeros(graphs, 3, 3).index_add_(0, batch[receiver], products)


def _places(pos: Tensor, cell: Tensor, batch: Tensor) -> Float[np.ndarray, "node 4"]:
    """Return coordinates by which pieces of a batch are compact: graphs, and atoms in cells."""
    is_periodic = torch.linalg.det(cell).abs() > 0
    inverse = torch.linalg.pinv(cell)
    fractions = torch.einsum("ni,nij->nj", pos, inverse[batch]).remainder(1)
    inside = torch.einsum("ni,nij->nj", fractions, cell[batch])
    inside = torch.where(is_periodic[batch, None], inside, pos)
    return torch.cat([batch.unsqueeze(1) * _APART, inside], dim=1).numpy()
