"""The Lightning task of an interatomic potential: energies, forces and maybe stresses."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.errors import ConfigError
from equinet.training.losses import LossWeights, Residuals, residuals
from equinet.training.metrics import PotentialErrors, column
from equinet.training.processes import mean_over_processes


class PotentialTask(pl.LightningModule):
    """Trains ``model(graph) -> {"energy", "forces"}`` on labeled structures.

    Args:
        model: A potential; see :class:`equinet.models.Potential`.
        optimizer: Called with parameter groups, as ``functools.partial(torch.optim.Adam, lr=...)``.
            Its weight decay acts on matrices only, see :func:`parameter_groups`.
        energy_weight: Of the squared energy errors, see :class:`~equinet.training.LossWeights`.
        forces_weight: Of the squared force errors.
        stress_weight: Of the squared stress errors; zero leaves the stress out.
        free_atoms_only: Leave atoms marked ``fixed`` out of the force loss and the force metrics.

    Source: Kovács et al., J. Chem. Theory Comput. 2021 (the loss and errors of 3BPA); Chanussot et
    al., ACS Catal. 2021 (free atoms).
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        energy_weight: float = 1.0,
        forces_weight: float = 100.0,
        stress_weight: float = 0.0,
        free_atoms_only: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = LossWeights(energy_weight, forces_weight, stress_weight)
        self.free_atoms_only = free_atoms_only
        self.train_errors = PotentialErrors(self.weights)
        self.val_errors = PotentialErrors(self.weights)
        self._optimizer = optimizer

    def forward(self, graph: Any) -> dict[str, Tensor]:
        """Evaluate the model with the derivatives that the loss needs."""
        results: dict[str, Tensor] = self.model(graph, forces=True, stress=self.weights.stress > 0)
        return results

    def errors(self, graph: Any) -> Residuals:
        """Evaluate the model on a batch and compare it with the labels."""
        return residuals(self(graph), graph, free_atoms_only=self.free_atoms_only)

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:  # noqa: ARG002
        """Return the loss of one batch; the progress bar shows its errors with units."""
        errors = self.errors(graph)
        graphs, components = self._mean_counts(errors)
        loss = self.weights.loss(errors, graphs=graphs, components=components)
        self.train_errors.update(errors)
        energy = errors.energy.detach().square().mean().sqrt()
        forces = errors.forces.detach().square().mean().sqrt()
        self.log("train/loss", loss.detach(), batch_size=errors.energy.numel())
        shown = {"E meV": 1000 * energy, "F meV/Å": 1000 * forces}
        self.log_dict(shown, prog_bar=True, logger=False, batch_size=errors.energy.numel())
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=1)
        return loss

    def validation_step(self, graph: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Add the errors of one validation batch."""
        self.val_errors.update(self.errors(graph))

    def on_validation_epoch_end(self) -> None:
        """Log the validation errors, units in their names, and the loss they amount to."""
        values = self.val_errors.compute()  # already summed over processes
        self.val_errors.reset()
        self.log_dict({f"val/{column(name)}": value for name, value in values.items()})

    def pop_training_errors(self) -> dict[str, float]:
        """Return the errors of the training batches since the last call, and start afresh.

        The weights moved meanwhile: these are running errors, not those of one set of weights.
        """
        if not self.train_errors.update_called:
            return {}
        values = {column(name): float(v) for name, v in self.train_errors.compute().items()}
        self.train_errors.reset()
        return values

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer; learning rates are set by a schedule callback.

        Raises:
            ConfigError: The optimizer refuses one of its settings.
        """
        try:
            return self._optimizer(parameter_groups(self.model))
        except ValueError as error:
            raise ConfigError(f"optim: {error}") from error

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, but fused optimizers under bfloat16 too.

        Lightning refuses them for the sake of float16, whose gradients are scaled.
        """
        if self.trainer.precision != "bf16-mixed" or not gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)
        else:
            nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def _mean_counts(self, errors: Residuals) -> tuple[float, float]:
        """Mean structures and force components per process, to weigh unequal shares equally.

        Gradients are averaged over processes; dividing each share by the mean count instead of its
        own makes that average the gradient of the loss of the joint batch.
        """
        counts = [float(errors.energy.numel()), float(errors.forces.numel())]
        graphs, components = mean_over_processes(counts, self.device)
        return max(graphs, 1.0), max(components, 1.0)


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Split parameters by what optimizers want to know of them.

    Matrices (two dimensions or more) decay; gains, biases and single numbers do not. A model that
    knows better names the decaying ones itself in ``weight_decay_parameters()``. Groups that
    :func:`channel_matrices` finds have ``matrices=True``, for :class:`equinet.training.Muon`.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    own_choice: Any = getattr(model, "weight_decay_parameters", None)
    chosen = own_choice() if own_choice else [p for p in trainable if p.ndim >= 2]
    decaying = {id(p) for p in chosen}
    matrices = {id(p) for p in channel_matrices(model)}
    groups = []
    for decays, mixes in itertools.product((True, False), repeat=2):
        kind = (decays, mixes)
        params = [p for p in trainable if (id(p) in decaying, id(p) in matrices) == kind]
        group: dict[str, Any] = {"params": params, "matrices": mixes}
        groups.append(group if decays else {**group, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def channel_matrices(model: nn.Module) -> list[Tensor]:
    """Find the parameters that map channels to channels, as matrices in their last dimensions.

    Those of ``nn.Linear``, and what a layer names in ``channel_matrices()``. A single row or column
    is no matrix.
    """
    found: list[Tensor] = []
    for module in model.modules():
        own: Any = getattr(module, "channel_matrices", None)
        if isinstance(module, nn.Linear):
            found.append(module.weight)
        elif own is not None:
            found.extend(own())
    return [p for p in found if min(p.shape[-2:]) > 1]
