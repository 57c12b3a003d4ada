"""Potentials at fixed weights: energies, forces and stress without autograd."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.inference.mace_gaunt import FixedMACEGaunt
from equinet.models import Committee, MACEGaunt, Potential, edge_vectors, stress_of
from equinet.ops import native

Evaluation = Callable[..., dict[str, Tensor]]

# Graphs of a batch lie this far apart, Å, so that no piece has atoms of two before it has to.
_APART = 1e6


def fixed(model: Potential) -> Evaluation | None:
    """Prepare a trained potential for fast evaluation on the CPU.

    Weights are copied and multiplied out, radial networks become splines that agree with them to
    rounding, and gradients are computed by hand. Systems beyond some hundred atoms are evaluated
    piece by piece, so that memory does not hold what every edge needs.

    Args:
        model: Potential. Later changes of its weights have no effect on the result.

    Returns:
        A function of a graph and the keywords ``forces`` and ``stress`` as
        :meth:`equinet.models.Potential.forward`, whose results cannot be differentiated; None where
        there is none: for other networks than :class:`equinet.models.MACEGaunt` and committees of
        it, on other devices than the CPU, and without the native engine.

    Example:
        >>> from equinet import zoo
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> fixed(model) is not None
        True
    """
    if isinstance(model, Committee):
        members = [fixed(member) for member in model.potentials]
        found = [member for member in members if member is not None]
        return _FixedCommittee(model, found) if len(found) == len(members) else None
    return FixedPotential(model) if type(model) is MACEGaunt and _is_covered(model) else None


def fastest(model: Any) -> Evaluation:
    """Return the fixed form of a model where it has one, or else the model itself.

    Args:
        model: Model of any kind, in evaluation mode. One that is compiled is returned as it is.

    Example:
        >>> from equinet import zoo
        >>> type(fastest(zoo.load("mace-gaunt-3bpa"))).__name__
        'FixedPotential'
    """
    prepared = fixed(model) if isinstance(model, Potential) and not model.is_compiled else None
    found: Evaluation = model if prepared is None else prepared
    return found


def _is_covered(model: MACEGaunt) -> bool:
    """Tell whether the fixed form knows all options of a network, and runs where it is."""
    layers: Any = model.interactions
    return (
        model.pairs is None
        and model.dtype in (torch.float32, torch.float64)
        and next(model.parameters()).device.type == "cpu"
        and all(layer.many_body.lmax_out <= model.lmax_filter for layer in layers)
        and all(layer.convolution.backend in ("auto", "native") for layer in layers)
        and not native.load()
    )


class FixedPotential:
    """A :class:`equinet.models.MACEGaunt` at fixed weights, see :func:`fixed`.

    Args:
        model: Potential whose weights are copied.

    Example:
        >>> from equinet import zoo
        >>> from equinet.data import frame_from_atoms, to_graph
        >>> from ase.build import molecule
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> graph = to_graph(frame_from_atoms(molecule("CH3OH")), model.neighborhood)
        >>> FixedPotential(model)(graph)["forces"].shape
        torch.Size([6, 3])
    """

    def __init__(self, model: MACEGaunt) -> None:
        self.model = model
        self.network = FixedMACEGaunt(model)

    @torch.no_grad()
    def __call__(
        self, graph: Any, *, forces: bool = True, stress: bool = False
    ) -> dict[str, Tensor]:
        """Evaluate a graph or batch, as :meth:`equinet.models.Potential.forward`."""
        model = self.model
        species = model.species(graph.atomic_numbers)
        cell, pos, edge_index = graph.cell.reshape(-1, 3, 3), graph.pos.detach(), graph.edge_index
        graphs = cell.shape[0]
        batch = graph.batch
        if batch is None:
            batch = torch.zeros_like(graph.atomic_numbers)
        if graphs == 1:  # the usual case in molecular dynamics, where every gather counts
            vectors = pos[edge_index[0]] - pos[edge_index[1]] + graph.edge_shift.to(cell) @ cell[0]
        else:
            vectors = edge_vectors(pos, cell, batch, edge_index, graph.edge_shift)
        atomic, slopes = self.network(
            species,
            vectors,
            edge_index,
            lambda: _places(pos, cell, batch),
            gradient=forces or stress,
        )
        atomic = atomic.double() * model.scale + model.shift
        energy = atomic.new_zeros(graphs).index_add(0, batch, atomic)
        results = {"energy": energy + model.reference_energies(species, batch, graphs)}
        if slopes is None:
            return results
        slopes = slopes.to(pos.dtype) * model.scale
        sender, receiver = edge_index
        if forces:
            found = torch.zeros_like(pos).index_add_(0, receiver, slopes)
            results["forces"] = found.index_add_(0, sender, slopes, alpha=-1)
        if stress:
            results["stress"] = stress_of(_virial(vectors, slopes, batch[receiver], graphs), cell)
        return results


class _FixedCommittee:
    """A committee at fixed weights."""

    def __init__(self, committee: Committee, members: list[Evaluation]) -> None:
        self.committee, self.members = committee, members

    def __call__(
        self, graph: Any, *, forces: bool = True, stress: bool = False
    ) -> dict[str, Tensor]:
        found = [member(graph, forces=forces, stress=stress) for member in self.members]
        return self.committee.combine(found)


def _virial(vectors: Tensor, slopes: Tensor, graph_of_edge: Tensor, graphs: int) -> Tensor:
    """Sum the products of edge vectors and slopes over the edges of each graph: [G, 3, 3]."""
    if graphs == 1:
        return (vectors.T @ slopes).unsqueeze(0)
    products = vectors.unsqueeze(2) * slopes.unsqueeze(1)
    return vectors.new_zeros(graphs, 3, 3).index_add_(0, graph_of_edge, products)


def _places(pos: Tensor, cell: Tensor, batch: Tensor) -> Float[np.ndarray, "node 4"]:
    """Return coordinates by which pieces of a batch are compact: graphs, and atoms in cells."""
    is_periodic = torch.linalg.det(cell).abs() > 0
    inverse = torch.linalg.pinv(cell)
    fractions = torch.einsum("ni,nij->nj", pos, inverse[batch]).remainder(1)
    inside = torch.einsum("ni,nij->nj", fractions, cell[batch])
    inside = torch.where(is_periodic[batch, None], inside, pos)
    return torch.cat([batch.unsqueeze(1) * _APART, inside], dim=1).numpy()
