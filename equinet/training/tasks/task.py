"""What every Lightning task shares, and what a run asks of it."""

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from equinet.errors import ConfigError
from equinet.evaluation import Classified, Parity, column


@dataclass(frozen=True)
class Evaluation:
    """What a task found on one set.

    Attributes:
        structures: Number of graphs.
        errors: By name, in the task's units.
        parity: Predictions to draw against what is true, if there are any to draw.
        classified: Images to show with their classes, if there are any to show.
    """

    structures: int
    errors: dict[str, float]
    parity: tuple[Parity, ...] = ()
    classified: Classified | None = None


class Task(pl.LightningModule):
    """Trains a model on batches of graphs; a subclass says what is predicted and what errors are.

    A subclass adds its batches to ``train_errors`` and ``val_errors``, whose ``compute()`` returns
    errors by name, ``loss`` among them.

    Args:
        model: Called with a batch of graphs.
        optimizer: Called with parameter groups, as ``functools.partial(torch.optim.Adam, lr=...)``.
            Its weight decay acts on matrices only, see :func:`parameter_groups`.
        train_errors: Running errors of the training batches.
        val_errors: Errors of a validation.
    """

    units: ClassVar[Mapping[str, str]]
    """Unit of every error by name, empty where it has none."""
    columns: ClassVar[tuple[str, ...]]
    """Columns of ``metrics.csv`` beside epoch, step, seconds and learning rate."""
    shown: ClassVar[Mapping[str, str]]
    """How to write the errors that a line of the log shows, by column without its split."""
    curves: ClassVar[Mapping[str, str]]
    """Labels of the errors that the learning curve shows, by column without its split."""
    ops: ClassVar[tuple[str, ...]] = ()
    """Operations whose backends are worth naming at the start, unless the model has its own."""

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        train_errors: Metric,
        val_errors: Metric,
    ) -> None:
        super().__init__()
        self.model = model
        self.train_errors = train_errors
        self.val_errors = val_errors
        self._optimizer = optimizer

    @abstractmethod
    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Evaluate the model, in evaluation mode, on all batches of a loader."""

    @abstractmethod
    def table(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Lay out errors for people; each row has ``name``, ``structures`` and the errors."""

    def check_data(self, *sets: Any) -> None:
        """Refuse data sets that the task cannot be trained on.

        Args:
            sets: Of graphs, for training and validation.

        Raises:
            DataError: The message says what they lack.
        """

    def calibrate(self, graph: Any) -> None:
        """Let a model that can do so scale its layers on a batch, before it is trained."""
        own: Any = getattr(self.model, "calibrate", None)
        if own is not None:
            own(graph)

    def next_step(self, run: str, data: Any) -> str:  # noqa: ARG002
        """Say how to go on from a finished run.

        Args:
            run: Its directory, as one would type it.
            data: Data module.
        """
        return f'equinet.zoo.load("{run}") in Python'

    def column(self, name: str) -> str:
        """Name of an error with its unit in ASCII."""
        return column(name, self.units[name])

    def on_validation_epoch_end(self) -> None:
        """Log the validation errors, units in their names, and the loss they amount to."""
        values = self.pop_validation_errors()
        self.log_dict({f"val/{self.column(name)}": value for name, value in values.items()})

    def pop_validation_errors(self) -> dict[str, Tensor]:
        """Return the errors of the validation batches of all processes, and start afresh."""
        values: dict[str, Tensor] = self.val_errors.compute()
        self.val_errors.reset()
        return values

    def pop_training_errors(self) -> dict[str, float]:
        """Return the errors of the training batches since the last call, and start afresh.

        The weights moved meanwhile: these are running errors, not those of one set of weights.
        """
        if not self.train_errors.update_called:
            return {}
        values = {self.column(name): float(v) for name, v in self.train_errors.compute().items()}
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
