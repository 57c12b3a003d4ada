"""Potentials at fixed weights: energies, forces and stress without autograd."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.models.potential import Potential
from equinet.nn import edge_vectors, stress_of

Network = Callable[..., tuple[Tensor, Tensor | None]]

# Graphs of a batch lie this far apart, Å, so that no piece has atoms of two before it has to.
_APART = 1e6


class FixedPotential:
    """A potential at fixed weights: what is around the network, see :meth:`Potential.fixed`.

    Args:
        model: Potential, for its elements, references and units.
        network: Network at fixed weights, which returns atomic energies and their gradient by the
            edge vectors, see :class:`FixedMACEGaunt`.

    Example:
        >>> from equinet import zoo
        >>> from equinet.models.fixed import FixedMACEGaunt
        >>> from equinet.data import frame_from_atoms, to_graph
        >>> from ase.build import molecule
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> graph = to_graph(frame_from_atoms(molecule("CH3OH")), model.neighborhood)
        >>> FixedPotential(model, FixedMACEGaunt(model))(graph)["forces"].shape
        torch.Size([6, 3])
    """

    def __init__(self, model: Potential, network: Network) -> None:
        self.model = model
        self.network = network

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
