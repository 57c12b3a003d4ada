"""Errors of a potential over a whole set, as exact sums, in meV and meV/Å."""

import torch
from torch import Tensor

from equinet.evaluation.errors import LOSS, Error, SummedErrors
from equinet.evaluation.residuals import LossWeights, Residuals

_BOTH = ("train", "val")

POTENTIAL_ERRORS: tuple[Error, ...] = (
    LOSS,
    Error(
        "energy_rmse",
        "E RMSE",
        "meV",
        of="energy",
        measure="root",
        word="E",
        log=".1f",
        curve="energy RMSE",
        splits=_BOTH,
    ),
    Error("energy_mae", "E MAE", "meV", of="energy", measure="absolute"),
    Error("energy_rmse_per_atom", "E RMSE/atom", "meV/atom", of="atomic_energy", measure="root"),
    Error("energy_mae_per_atom", "", "meV/atom", of="atomic_energy", measure="absolute"),
    Error(
        "forces_rmse",
        "F RMSE",
        "meV/Å",
        of="forces",
        measure="root",
        word="F",
        log=".1f",
        curve="force RMSE",
        splits=_BOTH,
    ),
    Error("forces_mae", "F MAE", "meV/Å", of="forces", measure="absolute"),
    Error("stress_rmse", "S RMSE", "meV/Å³", of="stress", measure="root"),
    Error("stress_mae", "S MAE", "meV/Å³", of="stress", measure="absolute"),
)
"""Errors of a potential, in the order of ``metrics.csv``."""

LABELED_ERRORS = {"energies": "energy_rmse", "forces": "forces_rmse"}
"""An error that each label gives, by the name of the label, see :func:`absent`."""


class PotentialErrors(SummedErrors):
    """RMSE and MAE of energies, forces and stresses, summed over batches and processes.

    Energies are total energies of structures; ``*_per_atom`` divides each by its number of atoms
    first. Forces and stresses are averaged over components.

    Args:
        weights: Weights of the loss, which is computed as if all batches were one; None for the
            defaults of :class:`LossWeights`.
        shared: Whether sums are added up over processes; False where only one of them evaluates.

    Example:
        >>> import torch
        >>> errors = PotentialErrors()
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> errors.update(Residuals(one, 2 * one, torch.zeros(2, 3)))
        >>> float(errors.compute()["energy_mae_per_atom"])
        500.0
    """

    declared: tuple[Error, ...] = POTENTIAL_ERRORS
    further: tuple[str, ...] = ("energy_penalty", "forces_penalty", "stress_penalty")

    def __init__(self, weights: LossWeights | None = None, *, shared: bool = True) -> None:
        super().__init__(shared=shared)
        self.weights = weights or LossWeights()

    def update(self, errors: Residuals) -> None:
        """Add the residuals of one batch.

        Args:
            errors: Residuals of the batch.
        """
        energy, forces, stress = self.weights.penalties(errors)
        self.add(
            energy=errors.energy,
            atomic_energy=errors.energy / errors.atoms,
            forces=errors.forces,
            energy_penalty=(energy, errors.energy.numel()),
            forces_penalty=(forces, errors.forces.numel()),
        )
        if errors.stress is not None:
            count = errors.stress.numel()
            self.add(stress=errors.stress, stress_penalty=(stress, count))

    def compute(self) -> dict[str, Tensor]:
        """Return the errors by name, in the units of :data:`POTENTIAL_ERRORS`, and the loss."""
        loss = torch.zeros_like(self.sums[0])
        if self.count("energy_penalty"):
            loss = loss + self.weights.energy * self.average("energy_penalty")
        if self.count("forces_penalty"):
            loss = loss + self.weights.forces * self.average("forces_penalty")
        if self.count("stress_penalty"):
            loss = loss + self.weights.stress * self.average("stress_penalty")
        return {**super().compute(), "loss": loss}
