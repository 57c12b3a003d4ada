"""Base class of the Lightning tasks."""

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet import zoo
from equinet.errors import ConfigError, DataError
from equinet.evaluation import (
    Classified,
    Error,
    Parity,
    Predictions,
    SummedErrors,
    columns,
    curves,
    lay_out,
    log_forms,
    tabulated,
    units,
)
from equinet.training.divergence import TrainingDivergedError, diverged
from equinet.training.processes import gather, max_over_processes, rank_and_world


@dataclass(frozen=True)
class Evaluation:
    """Results of a task on one set.

    Attributes:
        structures: Number of structures, graphs or images.
        errors: Errors by name, in the task's units.
        parity: Predicted and true values to draw; empty where there is nothing to draw.
        classified: Images to draw with their classes; None where there are none.
        per_structure: Force RMSE of each structure, meV/Å; None where no forces are predicted.
        predictions: Predictions of a potential; None for other models.

    Example:
        >>> Evaluation(100, {"accuracy": 98.0}).parity
        ()
    """

    structures: int
    errors: dict[str, float]
    parity: tuple[Parity, ...] = ()
    classified: Classified | None = None
    per_structure: Float[np.ndarray, " structure"] | None = None
    predictions: Predictions | None = None


class Task(pl.LightningModule):
    """Trains a model on batches; a subclass computes predictions and loss and declares errors.

    A subclass adds its batches to ``train_errors`` and ``val_errors``, whose ``compute()`` returns
    errors by name, ``loss`` among them, and ends its ``training_step`` by :meth:`finish_step`.
    Columns, units, log lines, progress bar, tables and curves follow from ``declared``.

    Args:
        model: Model, called with a batch.
        optimizer: Function of parameter groups that builds the optimizer, such as
            ``functools.partial(torch.optim.Adam, lr=0.01)``. Its weight decay acts on matrices
            only, see :func:`parameter_groups`.
        train_errors: Running errors of the training batches.
        val_errors: Errors of the batches of a validation.

    Example:
        >>> class PlainTask(Task):
        ...     declared = (Error("mse", unit="meV", curve="MSE"),)
        >>> PlainTask.columns, PlainTask.curves
        (('val_mse_meV',), {'mse_meV': 'MSE (meV)'})
    """

    declared: tuple[Error, ...]
    """Errors of the task, in the order of the columns of ``metrics.csv``."""
    units: Mapping[str, str]
    """Unit of every error by name, empty where it has none."""
    columns: tuple[str, ...]
    """Columns of ``metrics.csv`` beside epoch, step, seconds and learning rate."""
    shown: Mapping[str, str]
    """Format of the errors that a line of the log shows, by column without its split."""
    curves: Mapping[str, str]
    """Labels of the errors that the learning curve shows, by column without its split."""
    ops: ClassVar[tuple[str, ...]] = ()
    """Names of the ops whose backends are logged at the start; the model's own ``ops`` if any."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Derive units, columns, formats and labels from the errors that a class declares."""
        super().__init_subclass__(**options)
        if "declared" in cls.__dict__:
            cls.units, cls.columns = units(cls.declared), columns(cls.declared)
            cls.shown, cls.curves = log_forms(cls.declared), curves(cls.declared)

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        train_errors: SummedErrors,
        val_errors: SummedErrors,
    ) -> None:
        super().__init__()
        self.model = model
        self.train_errors = train_errors
        self.val_errors = val_errors
        self._optimizer = optimizer
        self._step: tuple[Any, int, dict[str, Tensor]] = (None, 0, {})

    def declare(self, declared: tuple[Error, ...]) -> None:
        """Declare the errors of this object, where they depend on what it learns.

        Args:
            declared: Errors in the order of the columns of ``metrics.csv``.
        """
        self.declared = declared
        self.units, self.columns = units(declared), columns(declared)
        self.shown, self.curves = log_forms(declared), curves(declared)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """Networks with a loss and a clipped gradient of their own; here this is the model."""
        return [self.model]

    @abstractmethod
    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Evaluate the model, in evaluation mode, on all batches of a loader.

        Args:
            loader: Loader of batches with labels.
            device: Device on which to compute.
        """

    def table(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Lay out errors with their units.

        Args:
            rows: Sets, each with ``name``, ``structures`` and errors by name.
        """
        return lay_out(rows, tabulated(self.declared, rows))

    def check_data(self, *sets: Any) -> None:
        """Refuse data sets that the task cannot be trained on.

        Args:
            sets: Data sets for training and validation.

        Raises:
            DataError: The data sets lack a field that the task needs; the message names it.
        """

    def calibrate(self, graph: Any) -> None:
        """Let the model scale its layers on a batch before training, if it has ``calibrate()``.

        Args:
            graph: Batch of the training data.
        """
        own: Any = getattr(self.model, "calibrate", None)
        if own is not None:
            own(graph)

    def next_step(self, run: str, data: Any) -> str:
        """Return the command that uses the model of a finished run.

        Args:
            run: Directory of the run, relative to the working directory.
            data: Data module of the run.
        """
        return f'equinet.zoo.load("{run}") in Python'

    def column(self, name: str) -> str:
        """Return the name of an error with its unit in ASCII.

        Args:
            name: Name of a declared error.
        """
        return self._declaration(name).column

    def finish_step(
        self,
        loss: Float[Tensor, ""],
        batch: Any,
        batch_idx: int,
        *,
        count: int,
        errors: Mapping[str, Tensor],
        predicted: Mapping[str, Tensor],
    ) -> Float[Tensor, ""]:
        """Refuse a loss that is not finite, log it, and show errors in the progress bar.

        Args:
            loss: Loss of the batch, the sum over all networks.
            batch: Batch that the loss was computed from.
            batch_idx: Number of the batch in the epoch.
            count: Number of structures in the batch.
            errors: Errors of the batch by name, in their units.
            predicted: Predictions of the batch, or their errors, by name, to find the origin of a
                loss that is not finite.

        Returns:
            The loss.

        Raises:
            TrainingDivergedError: The loss of a process is NaN or infinite; all processes raise the
                error, before the step of the optimizer.
        """
        self._step = (batch, batch_idx, {name: x.detach() for name, x in predicted.items()})
        is_off = not math.isfinite(float(loss.detach()))
        (any_off,) = max_over_processes([float(is_off)], self.device)
        if any_off:
            raise self._diverged("loss", here=is_off)
        self.log("train/loss", loss.detach() / len(self.networks), batch_size=count)
        shown = {self._declaration(name).bar: value for name, value in errors.items()}
        self.log_dict(shown, prog_bar=True, logger=False, batch_size=count)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=1)
        return loss

    def on_validation_epoch_end(self) -> None:
        """Log the validation errors, with units in their names, and the validation loss.

        Raises:
            TrainingDivergedError: The loss is NaN or infinite.
        """
        values = self.pop_validation_errors()
        if not math.isfinite(float(values["loss"])):
            raise TrainingDivergedError(
                f"the validation loss at step {self.trainer.global_step} (epoch "
                f"{self.trainer.current_epoch}) is not finite, although that of training is; lower "
                "optim.lr, give callbacks.ema.decay a number below 1, or check the validation data "
                "with `equinet data lint`"
            )
        self.log_dict({f"val/{self.column(name)}": value for name, value in values.items()})

    def pop_validation_errors(self) -> dict[str, Tensor]:
        """Return the errors of the validation batches of all processes, and reset their sums."""
        values: dict[str, Tensor] = self.val_errors.compute()
        self.val_errors.reset()
        return values

    def pop_training_errors(self) -> dict[str, float]:
        """Return the errors of the training batches since the last call, and reset their sums.

        The weights change between batches, so these are not the errors of one set of weights.
        """
        if not self.train_errors.update_called:
            return {}
        values = {self.column(name): float(v) for name, v in self.train_errors.compute().items()}
        self.train_errors.reset()
        return values

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the running training errors, and refuse weights that are not finite.

        Raises:
            TrainingDivergedError: A weight is NaN or infinite; the checkpoint is not written.
        """
        for part in ("state_dict", "current_model_state"):
            found = zoo.not_finite(checkpoint.get(part, {}))
            if found:
                average = " averaged" if "current_model_state" in checkpoint else ""
                kind = average if part == "state_dict" else ""
                raise TrainingDivergedError(
                    f"the{kind} weights at step {self.trainer.global_step} are not finite "
                    f"({found[0]}, one of {len(found)}), so no checkpoint is written; lower "
                    "optim.lr, or give callbacks.ema.decay a number below 1"
                )
        if self.train_errors.update_called:
            parts = gather(self.train_errors.amounts())
            totals = {name: sum(part[name] for part in parts) for name in parts[0]}
            checkpoint["train_errors"] = totals
            if len(parts) > 1:
                checkpoint["train_errors_by_process"] = parts

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue with the training errors.

        Each process takes its own sums, since another order of addition would round otherwise; with
        another number of processes the first one takes the totals.
        """
        amounts = checkpoint.get("train_errors")
        if amounts is None:
            return
        rank, world = rank_and_world()
        parts = checkpoint.get("train_errors_by_process", [amounts])
        if len(parts) != world:
            parts = [amounts, *[{}] * (world - 1)]
        self.train_errors.restore(parts[rank])

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
        """Clip the gradient of each network, and refuse a norm that is not finite.

        Lightning's own clipping is used for float16 only, whose gradients are scaled and sometimes
        infinite; it refuses fused optimizers.

        Raises:
            TrainingDivergedError: The norm of a gradient is NaN or infinite.
        """
        if not gradient_clip_val:
            return
        if self._trainer is not None and self._trainer.precision == "16-mixed":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)
        else:
            norms = [
                nn.utils.clip_grad_norm_(parameters, gradient_clip_val)
                for parameters in self._parameters_of_networks(optimizer)
            ]
            # Gradients are already averaged over processes, so all processes find the same norms.
            if not torch.stack(norms).isfinite().all():
                raise self._diverged("gradient", joint=True)

    def _parameters_of_networks(self, optimizer: torch.optim.Optimizer) -> list[list[Tensor]]:
        """Return the parameters of each network in the order of the optimizer's groups.

        Norms are summed in this order. It is that of Lightning's own clipping, so that a training
        gives the same bits with either.
        """
        ordered = [p for group in optimizer.param_groups for p in group["params"]]
        members = [{id(p) for p in network.parameters()} for network in self.networks]
        return [[p for p in ordered if id(p) in member] for member in members]

    def _diverged(
        self, quantity: str, *, here: bool = True, joint: bool = False
    ) -> TrainingDivergedError:
        """Describe the current step; all processes call it together."""
        batch, batch_idx, predicted = self._step
        return diverged(
            quantity,
            batch,
            batch_idx,
            trainer=self.trainer,
            predicted=predicted,
            here=here,
            joint=joint,
        )

    def _declaration(self, name: str) -> Error:
        return next(error for error in self.declared if error.name == name)


def refuse_mixed_labels(*sets: Any) -> None:
    """Refuse data sets of which only some structures have a label.

    Args:
        sets: Data sets for training and validation.

    Raises:
        DataError: Some structures of a set have no energy or no forces.
    """
    for each in sets:
        for label in ("energy", "forces"):
            if f"has_{label}" in each[0]:
                without = [frame for frame in each.frames if getattr(frame, label) is None]
                raise DataError(
                    f"{without[0].source}: no {label}, like {len(without) - 1} further frames; "
                    "this task needs all labels: leave these frames out, or take task=potential"
                )


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Split parameters by weight decay and by whether they are matrices.

    Weight decay acts on parameters of at least two dimensions, and on no gains, biases and single
    numbers; a model with a method ``weight_decay_parameters()`` lists them itself. Groups of the
    parameters that :func:`channel_matrices` finds have ``matrices=True``, for
    :class:`equinet.training.Muon`.

    Args:
        model: Model to train.
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

    These are the weights of ``nn.Linear`` and the parameters that a layer returns from its method
    ``channel_matrices()``. A single row or column does not count as a matrix.

    Args:
        model: Model to train.
    """
    found: list[Tensor] = []
    for module in model.modules():
        own: Any = getattr(module, "channel_matrices", None)
        if isinstance(module, nn.Linear):
            found.append(module.weight)
        elif own is not None:
            found.extend(own())
    return [p for p in found if min(p.shape[-2:]) > 1]
