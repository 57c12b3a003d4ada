"""Errors of a potential over a whole set, as exact sums, in meV and meV/Å."""

import torch
from torch import Tensor
from torchmetrics import Metric

from equinet.evaluation.residuals import LossWeights, Residuals

UNITS = {
    "energy_rmse": "meV",
    "energy_mae": "meV",
    "energy_rmse_per_atom": "meV/atom",
    "energy_mae_per_atom": "meV/atom",
    "forces_rmse": "meV/Å",
    "forces_mae": "meV/Å",
    "stress_rmse": "meV/Å³",
    "stress_mae": "meV/Å³",
    "loss": "",
}
"""Unit of every error by name."""

_SUFFIX = {
    "": "",
    "meV": "_meV",
    "meV/atom": "_meV",
    "meV/Å": "_meV_per_A",
    "meV/Å³": "_meV_per_A3",
    "%": "_percent",
}


def column(name: str, unit: str) -> str:
    """Name of an error with its unit in ASCII, for files and loggers.

    Example:
        >>> column("forces_rmse", "meV/Å")
        'forces_rmse_meV_per_A'
    """
    return name + _SUFFIX[unit]


class PotentialErrors(Metric):
    """RMSE and MAE of energies, forces and stresses, summed over batches and processes.

    Energies are total energies per structure; ``*_per_atom`` divides each by its number of atoms
    first. Forces and stresses are averaged over components. A mean of batch means would be wrong
    for batches of unequal size, so only sums and counts are kept, in float64.

    Args:
        weights: Of the loss that everything added so far amounts to, as if it were one batch.
        shared: Sum over processes; false where only one of them evaluates.
    """

    full_state_update = False
    higher_is_better = False

    graphs: Tensor
    energy_square: Tensor
    energy_absolute: Tensor
    energy_penalty: Tensor
    atomic_energy_square: Tensor
    atomic_energy_absolute: Tensor
    components: Tensor
    forces_square: Tensor
    forces_absolute: Tensor
    forces_penalty: Tensor
    stress_components: Tensor
    stress_square: Tensor
    stress_absolute: Tensor
    stress_penalty: Tensor

    def __init__(self, weights: LossWeights | None = None, *, shared: bool = True) -> None:
        super().__init__(sync_on_compute=shared)
        self.weights = weights or LossWeights()
        for name in PotentialErrors.__annotations__:
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(name, default=zero, dist_reduce_fx="sum")

    def update(self, errors: Residuals) -> None:
        """Add the residuals of one batch."""
        energy, forces = errors.energy.detach(), errors.forces.detach()
        per_atom = energy / errors.atoms
        self.graphs += energy.numel()
        self.energy_square += energy.square().sum()
        self.energy_absolute += energy.abs().sum()
        self.atomic_energy_square += per_atom.square().sum()
        self.atomic_energy_absolute += per_atom.abs().sum()
        self.components += forces.numel()
        self.forces_square += forces.square().sum()
        self.forces_absolute += forces.abs().sum()
        if errors.stress is not None:
            stress = errors.stress.detach()
            self.stress_components += stress.numel()
            self.stress_square += stress.square().sum()
            self.stress_absolute += stress.abs().sum()
        penalties = [penalty.detach() for penalty in self.weights.penalties(errors)]
        self.energy_penalty += penalties[0]
        self.forces_penalty += penalties[1]
        self.stress_penalty += penalties[2]

    def compute(self) -> dict[str, Tensor]:
        """Return the errors by name, in the units of :data:`UNITS`, and the loss."""
        graphs, components = self.graphs, self.components
        errors = {
            "energy_rmse": (self.energy_square / graphs).sqrt(),
            "energy_mae": self.energy_absolute / graphs,
            "energy_rmse_per_atom": (self.atomic_energy_square / graphs).sqrt(),
            "energy_mae_per_atom": self.atomic_energy_absolute / graphs,
            "forces_rmse": (self.forces_square / components).sqrt(),
            "forces_mae": self.forces_absolute / components,
        }
        loss = self.weights.energy * self.energy_penalty / graphs
        loss = loss + self.weights.forces * self.forces_penalty / components.clamp(min=1)
        if bool(self.stress_components > 0):
            errors["stress_rmse"] = (self.stress_square / self.stress_components).sqrt()
            errors["stress_mae"] = self.stress_absolute / self.stress_components
            loss = loss + self.weights.stress * self.stress_penalty / self.stress_components
        return {name: 1000 * value for name, value in errors.items()} | {"loss": loss}
