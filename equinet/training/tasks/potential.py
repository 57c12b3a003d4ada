"""The Lightning task of an interatomic potential: energies, forces and maybe stresses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.errors import ConfigError, DataError
from equinet.evaluation import (
    UNITS,
    LossWeights,
    PotentialErrors,
    Residuals,
    predict,
    residuals,
    table,
)
from equinet.models import Committee, Potential
from equinet.run_directory import relative
from equinet.training.processes import mean_over_processes
from equinet.training.schedules import progress
from equinet.training.tasks.rotations import random_rotations, turn_graphs
from equinet.training.tasks.task import Evaluation, Task


class PotentialTask(Task):
    """Trains ``model(graph) -> {"energy", "forces"}`` on labeled structures.

    Args:
        model: A potential; see :class:`equinet.models.Potential`.
        optimizer: Called with parameter groups, as ``functools.partial(torch.optim.Adam, lr=...)``.
            Its weight decay acts on matrices only, see :class:`equinet.training.Task`.
        energy_weight: Weight of the energy errors in the loss, see
            :class:`~equinet.training.LossWeights`. Losses of validation, and with them the choice
            of the best checkpoint, always have this weight.
        forces_weight: Weight of the force errors in the loss.
        stress_weight: Of the stress errors; zero leaves the stress out.
        loss: ``squared`` errors, or ``absolute`` ones as in OC20: energies of structures and
            lengths of force errors; or ``huber``.
        huber_delta: Beyond it Huber's loss is linear, eV and eV/Å.
        free_atoms_only: Leave atoms marked ``fixed`` out of the force loss and the force metrics.
        random_rotations: Turn every structure at random in training, for models that are not
            exactly invariant.
        early_energy_weight: Weight of the energy errors in the training loss until the share
            ``early_share`` of the budget is spent; None for ``energy_weight`` throughout. Forces
            are learned better while energies weigh little, and energies are learned in the end.
        early_share: Share of the training budget, between 0 and 1, for which
            ``early_energy_weight`` holds.
        members: Train so many networks like ``model`` side by side, from initial weights of their
            own, as one :class:`equinet.models.Committee`; the model's weights are of no account.
            Each has its own loss and clipped gradient; errors of training are the members', those
            of validation their mean's. A step takes ``members`` times as long and as much memory.

    Raises:
        ValueError: Weights that :class:`~equinet.training.LossWeights` refuses, no member, or
            several of a model that is made of others itself.

    Source: Kovács et al., J. Chem. Theory Comput. 2021 (the loss and errors of 3BPA); Chanussot et
    al., ACS Catal. 2021 (free atoms).
    """

    units: ClassVar[Mapping[str, str]] = UNITS
    columns: ClassVar[tuple[str, ...]] = (
        "train_loss",
        "train_energy_rmse_meV",
        "train_forces_rmse_meV_per_A",
        "val_loss",
        "val_energy_rmse_meV",
        "val_energy_mae_meV",
        "val_energy_rmse_per_atom_meV",
        "val_energy_mae_per_atom_meV",
        "val_forces_rmse_meV_per_A",
        "val_forces_mae_meV_per_A",
        "val_stress_rmse_meV_per_A3",
        "val_stress_mae_meV_per_A3",
    )
    shown: ClassVar[Mapping[str, str]] = {
        "energy_rmse_meV": "E {:.1f} meV",
        "forces_rmse_meV_per_A": "F {:.1f} meV/Å",
    }
    curves: ClassVar[Mapping[str, str]] = {
        "energy_rmse_meV": "energy RMSE (meV)",
        "forces_rmse_meV_per_A": "force RMSE (meV/Å)",
    }
    ops: ClassVar[tuple[str, ...]] = ("gaunt_product", "gaunt_powers", "gaunt_convolution")

    def __init__(
        self,
        *,
        model: Potential,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        energy_weight: float = 1.0,
        forces_weight: float = 100.0,
        stress_weight: float = 0.0,
        loss: str = "squared",
        huber_delta: float = 0.5,
        free_atoms_only: bool = False,
        random_rotations: bool = False,
        early_energy_weight: float | None = None,
        early_share: float = 0.7,
        members: int = 1,
    ) -> None:
        if not 0 <= early_share <= 1:
            raise ValueError(f"early_share must be between 0 and 1, found {early_share}")
        if members < 1:
            raise ValueError(f"members must be at least 1, found {members}")
        if members > 1:
            model = Committee.like(model, members)
        weights = LossWeights(energy_weight, forces_weight, stress_weight, loss, huber_delta)
        super().__init__(
            model=model,
            optimizer=optimizer,
            train_errors=PotentialErrors(weights),
            val_errors=PotentialErrors(weights),
        )
        self.weights = weights
        self.early_weights = weights
        if early_energy_weight is not None:
            self.early_weights = replace(weights, energy=early_energy_weight)
        self.early_share = early_share
        self.free_atoms_only = free_atoms_only
        self.random_rotations = random_rotations

    @property
    def networks(self) -> list[Potential]:
        """What has a loss of its own: the members of a committee, else the model."""
        if isinstance(self.model, Committee):
            return cast("list[Potential]", list(self.model.members))
        return [cast("Potential", self.model)]

    def forward(self, graph: Any, network: nn.Module | None = None) -> dict[str, Tensor]:
        """Evaluate the model, or one of its members, with the derivatives that the loss needs."""
        network = network or self.model
        results: dict[str, Tensor] = network(graph, forces=True, stress=self.weights.stress > 0)
        return results

    def errors(self, graph: Any, network: nn.Module | None = None) -> Residuals:
        """Evaluate the model, or one of its members, and compare it with a batch's labels."""
        return residuals(self(graph, network), graph, free_atoms_only=self.free_atoms_only)

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:  # noqa: ARG002
        """Return the loss of one batch; the progress bar shows its errors with units."""
        if self.random_rotations:
            graph = turn_graphs(graph, random_rotations(graph.num_graphs))
        errors = [self.errors(graph, network) for network in self.networks]
        graphs, components = self._mean_counts(errors[0])
        weights = self._training_weights()
        losses = [weights.loss(e, graphs=graphs, components=components) for e in errors]
        for each in errors:
            self.train_errors.update(each)
        energy = torch.stack([e.energy for e in errors]).detach().square().mean().sqrt()
        forces = torch.stack([e.forces for e in errors]).detach().square().mean().sqrt()
        # Not the mean: each member is to learn as it would alone.
        loss = torch.stack(losses).sum()
        self.log("train/loss", loss.detach() / len(losses), batch_size=graph.num_graphs)
        shown = {"E meV": 1000 * energy, "F meV/Å": 1000 * forces}
        self.log_dict(shown, prog_bar=True, logger=False, batch_size=graph.num_graphs)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=1)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of each member of a committee by itself."""
        if len(self.networks) == 1 or not gradient_clip_val or gradient_clip_algorithm == "value":
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )
            return
        for network in self.networks:
            nn.utils.clip_grad_norm_(network.parameters(), gradient_clip_val)

    def validation_step(self, graph: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Add the errors of one validation batch."""
        self.val_errors.update(self.errors(graph))

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Predict energies and forces, and stresses where they are labeled."""
        found = predict(self.model, loader, device=device, free_atoms_only=self.free_atoms_only)
        return Evaluation(len(found.energy), found.errors, found.parity)

    def table(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Lay out errors with their units; see :func:`equinet.training.table`."""
        return table(rows)

    def check_data(self, *sets: Any) -> None:
        """Refuse sets without stresses, or a model without one, where the loss asks for them."""
        if self.weights.stress > 0 and not getattr(self.model, "conservative", True):
            raise ConfigError(
                f"task.stress_weight is set, but this {type(self.model).__name__} has direct "
                "forces and no stress; set task.stress_weight=0 or model.forces=gradient"
            )
        if self.weights.stress > 0 and any("stress" not in each[0] for each in sets):
            raise DataError(
                "task.stress_weight is set, but not all training and validation frames have a "
                "stress; give its name as data.stress_key, or set task.stress_weight=0"
            )

    def next_step(self, run: str, data: Any) -> str:
        """Name the command that evaluates the run on a file, if possible on its own test set."""
        file = next((relative(path) for path in data.files.values()), "FILE")
        return f"python -m equinet.evaluate checkpoint={run} data.file={file}"

    def _training_weights(self) -> LossWeights:
        if self.early_weights == self.weights:
            return self.weights
        spent = progress(self.trainer)
        if spent is None:
            raise ConfigError(
                "task.early_energy_weight needs a budget; "
                "give trainer.max_time, trainer.max_epochs or trainer.max_steps"
            )
        return self.early_weights if spent < self.early_share else self.weights

    def _mean_counts(self, errors: Residuals) -> tuple[float, float]:
        """Mean structures and force components per process, to weigh unequal shares equally.

        Gradients are averaged over processes; dividing each share by the mean count instead of its
        own makes that average the gradient of the loss of the joint batch.
        """
        counts = [float(errors.energy.numel()), float(errors.forces.numel())]
        graphs, components = mean_over_processes(counts, self.device)
        return graphs or 1.0, components or 1.0
