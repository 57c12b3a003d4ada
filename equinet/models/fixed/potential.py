"""Potentials at fixed weights: energies, forces and stress without autograd."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equinet.models.potential import Potential
from equinet.nn import stress_of

Network = Callable[..., tuple[Tensor, Tensor | None, Tensor | None]]


class FixedPotential:
    """A potential at fixed weights: what is around the network, see :meth:`Potential.fixed`.

    Args:
        model: Potential, for its elements, references and units.
        network: Network at fixed weights, which returns atomic energies, forces and virials, see
            :class:`FixedMACEGaunt`.

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
        self._species = model.species.by_number.numpy()
        self._references = model.reference_energies.energies.numpy()

    @torch.no_grad()
    def __call__(
        self, graph: Any, *, forces: bool = True, stress: bool = False
    ) -> dict[str, Tensor]:
        """Evaluate a graph or batch, as :meth:`equinet.models.Potential.forward`."""
        cell = graph.cell.reshape(-1, 3, 3).double()
        numbers, pos = graph.atomic_numbers.numpy(), graph.pos.detach()
        batch = np.zeros(len(numbers), np.int64) if graph.batch is None else graph.batch.numpy()
        # Arrays of numpy, whose functions take a fifth of the time of those of torch.
        species = self._species[numbers.clip(0, len(self._species) - 1)]
        if (species < 0).any():
            self.model.species(graph.atomic_numbers)  # names the elements that are not known
        found, by_pos, virial = self.network(
            torch.from_numpy(species),
            pos.double(),
            cell,
            torch.from_numpy(batch),
            graph.edge_index,
            graph.edge_shift.double(),
            gradient=forces or stress,
        )
        atomic = found.numpy() * self.model.scale + self.model.shift
        energy = np.bincount(batch, atomic, len(cell))
        energy += np.bincount(batch, self._references[species], len(cell))
        results = {"energy": torch.from_numpy(energy)}
        if forces and by_pos is not None:
            results["forces"] = (by_pos * self.model.scale).to(pos.dtype)
        if stress and virial is not None:
            results["stress"] = stress_of(virial * self.model.scale, cell).to(pos.dtype)
        return results
