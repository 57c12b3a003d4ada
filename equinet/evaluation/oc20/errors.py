"""The errors by which OC20 ranks models, as it defines them, summed over batches and processes.

Source: Chanussot et al., ACS Catal. 11, 6059 (2021), doi 10.1021/acscatal.0c04525, and the Open
Catalyst Project's evaluator.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from equinet.evaluation.tables import Column

S2EF_UNITS = {
    "energy_mae": "meV",
    "forces_mae": "meV/Å",
    "forces_cosine": "",
    "forces_magnitude_error": "meV/Å",
    "efwt": "%",
    "ewt": "%",
}
"""Unit of every error of :class:`S2EFErrors` by name."""

IS2RE_UNITS = {"energy_mae": "meV", "ewt": "%"}
"""Unit of every error of :class:`RelaxedEnergyErrors` by name."""

S2EF_COLUMNS = (
    Column("energy_mae", "E MAE", "meV"),
    Column("forces_mae", "F MAE", "meV/Å"),
    Column("forces_cosine", "F cosine", digits=3),
    Column("efwt", "EFwT", "%"),
)
"""What published tables show."""

_ENERGY_THRESHOLD = 0.02  # eV
_FORCE_THRESHOLD = 0.03  # eV/Å, of a component
_DISTANCES = tuple(np.arange(0.01, 0.5, 0.001).tolist())  # Å


class S2EFErrors(Metric):
    """Errors of energies and forces on free atoms.

    ``energy_mae`` is a mean over structures, ``forces_mae`` over the components of free atoms.
    ``forces_cosine`` and ``forces_magnitude_error`` are means over free atoms. ``efwt`` is the
    share of structures whose energy is off by less than 0.02 eV and every force component on a free
    atom by less than 0.03 eV/Å, both strictly; ``ewt`` asks for the energy alone. Only sums and
    counts are kept, in float64: a mean of batch means would be wrong.

    Args:
        shared: Sum over processes; false where only one of them evaluates.
    """

    full_state_update = False

    structures: Tensor
    energy_absolute: Tensor
    within_both: Tensor
    within_energy: Tensor
    free_atoms: Tensor
    forces_absolute: Tensor
    cosines: Tensor
    magnitudes: Tensor

    def __init__(self, *, shared: bool = True) -> None:
        super().__init__(sync_on_compute=shared)
        for name in S2EFErrors.__annotations__:
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(name, default=zero, dist_reduce_fx="sum")

    def update(self, predicted: Mapping[str, Tensor], graph: Any) -> None:
        """Add one batch.

        Args:
            predicted: ``energy`` [G], eV, and ``forces`` [N, 3], eV/Å.
            graph: The batch, with the same as labels, and ``fixed`` where atoms are held.
        """
        energy_error = (predicted["energy"].detach().double() - graph.energy.double()).abs()
        free = _free(graph)
        found = predicted["forces"].detach().double()[free]
        true = graph.forces.double()[free]
        error = (found - true).abs()
        off = (~(error < _FORCE_THRESHOLD)).any(dim=1).double()  # NaN is off too
        atoms_off = torch.zeros_like(energy_error).index_add(0, graph.batch[free], off)
        within_energy = energy_error < _ENERGY_THRESHOLD
        self.structures += energy_error.numel()
        self.energy_absolute += energy_error.sum()
        self.within_energy += within_energy.sum()
        self.within_both += (within_energy & (atoms_off == 0)).sum()
        self.free_atoms += len(error)
        self.forces_absolute += error.sum()
        # In float32, as the evaluator computes it.
        cosines = torch.cosine_similarity(found.float(), true.float(), dim=1, eps=1e-8)
        self.cosines += cosines.double().sum()
        self.magnitudes += (found.norm(dim=1) - true.norm(dim=1)).abs().sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the errors by name, in the units of :data:`S2EF_UNITS`."""
        structures, atoms = self.structures, self.free_atoms
        return {
            "energy_mae": 1000 * self.energy_absolute / structures,
            "forces_mae": 1000 * self.forces_absolute / (3 * atoms),
            "forces_cosine": self.cosines / atoms,
            "forces_magnitude_error": 1000 * self.magnitudes / atoms,
            "efwt": 100 * self.within_both / structures,
            "ewt": 100 * self.within_energy / structures,
        }


class RelaxedEnergyErrors(Metric):
    """Errors of the energies of relaxed structures: ``energy_mae``, ``ewt``.

    A mean over structures, and the share of them whose energy is off by less than 0.02 eV,
    strictly.

    Args:
        shared: Sum over processes; false where only one of them evaluates.
    """

    full_state_update = False

    structures: Tensor
    energy_absolute: Tensor
    within: Tensor

    def __init__(self, *, shared: bool = True) -> None:
        super().__init__(sync_on_compute=shared)
        for name in RelaxedEnergyErrors.__annotations__:
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(name, default=zero, dist_reduce_fx="sum")

    def update(self, predicted: Float[Tensor, " graph"], true: Float[Tensor, " graph"]) -> None:
        """Add one batch.

        Args:
            predicted: eV.
            true: eV.
        """
        off = (predicted.detach().double() - true.double()).abs()
        self.structures += off.numel()
        self.energy_absolute += off.sum()
        self.within += (off < _ENERGY_THRESHOLD).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the errors in the units of :data:`IS2RE_UNITS`, and ``loss``, the MAE in eV."""
        mean = self.energy_absolute / self.structures
        ewt = 100 * self.within / self.structures
        return {"energy_mae": 1000 * mean, "ewt": ewt, "loss": mean}


class RelaxationErrors(Metric):
    """How near relaxed structures come to the true ones: ``adwt``, %.

    For every structure the minimum-image distances of its free atoms to their true places are
    averaged; ``adwt`` is the share of structures for which that mean is below a threshold, averaged
    over the thresholds 0.010, 0.011, ..., 0.499 Å.

    Args:
        shared: Sum over processes; false where only one of them evaluates.
    """

    full_state_update = False

    structures: Tensor
    successes: Tensor

    def __init__(self, *, shared: bool = True) -> None:
        super().__init__(sync_on_compute=shared)
        for name in RelaxationErrors.__annotations__:
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(name, default=zero, dist_reduce_fx="sum")

    def update(self, positions: Float[Tensor, "atom 3"], graph: Any) -> None:
        """Add one batch.

        Args:
            positions: Where a relaxation ended, Å.
            graph: The batch, with the true places as ``relaxed_positions``.
        """
        free = _free(graph)
        distances = minimum_image_distances(
            positions.detach().double(),
            graph.relaxed_positions.double(),
            graph.cell.double(),
            graph.pbc,
            graph.batch,
        )
        count = graph.cell.shape[0]
        atoms = torch.zeros(count, dtype=torch.float64, device=distances.device)
        sums = atoms.index_add(0, graph.batch[free], distances[free])
        atoms = atoms.index_add(0, graph.batch[free], torch.ones_like(distances[free]))
        thresholds = torch.tensor(_DISTANCES, dtype=torch.float64, device=distances.device)
        self.structures += count
        self.successes += ((sums / atoms)[:, None] < thresholds).double().mean(dim=1).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return ``adwt`` in percent."""
        return {"adwt": 100 * self.successes / self.structures}


def minimum_image_distances(
    first: Float[Tensor, "atom 3"],
    second: Float[Tensor, "atom 3"],
    cell: Float[Tensor, "graph 3 3"],
    pbc: Bool[Tensor, "graph 3"],
    batch: Int[Tensor, " atom"],
) -> Float[Tensor, " atom"]:
    """Distances between places, each fractional difference taken modulo one.

    That is the nearest image where the difference is small against the cell, as in relaxations.

    Args:
        first: Å.
        second: Å, of the same atoms.
        cell: Rows are lattice vectors, Å.
        pbc: Which of them are periodic.
        batch: Structure of each atom.

    Returns:
        Å.
    """
    own = cell[batch]
    fractional = torch.linalg.solve(own.transpose(1, 2), (first - second)[:, :, None])[:, :, 0]
    wrapped = fractional.remainder(1.0).remainder(1.0)  # once leaves 1 - tiny numbers at 1
    wrapped = torch.where(wrapped > 0.5, wrapped - 1, wrapped)
    fractional = torch.where(pbc[batch], wrapped, fractional)
    return (fractional[:, None, :] @ own)[:, 0].norm(dim=1)


def mean_of_splits(splits: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average errors over splits, each counting once whatever its size, as published tables do.

    Args:
        splits: Errors by name; only those that all splits have are averaged.

    Example:
        >>> mean_of_splits([{"efwt": 1.0}, {"efwt": 2.0, "adwt": 5.0}])
        {'efwt': 1.5}
    """
    names = [name for name in splits[0] if all(name in split for split in splits)] if splits else []
    return {name: float(np.mean([split[name] for split in splits])) for name in names}


def _free(graph: Any) -> Bool[Tensor, " atom"]:
    fixed = getattr(graph, "fixed", None)
    return torch.ones_like(graph.atomic_numbers, dtype=torch.bool) if fixed is None else ~fixed
