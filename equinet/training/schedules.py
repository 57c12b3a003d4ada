"""Learning-rate schedules that depend on the training budget and continue when a run resumes."""

import math
from typing import Annotated, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from equinet.arguments import Fraction, NotNegative, Range, WholeNumber, check_arguments
from equinet.errors import ConfigError
from equinet.training.processes import mean_over_processes


def timers(trainer: Any) -> list[Timer]:
    """Return the timers of a trainer, which count the seconds of all sessions of a resumed run.

    Args:
        trainer: Trainer with callbacks.
    """
    return [callback for callback in trainer.callbacks if isinstance(callback, Timer)]


def progress(trainer: Trainer) -> float | None:
    """Return the fraction of the training budget that is spent, from 0 to 1; None without budget.

    The budget is the one of ``max_steps``, ``max_epochs`` and ``max_time`` that ends first. The
    time counts over all sessions of a resumed run.

    Args:
        trainer: Trainer that is training.
    """
    fractions = []
    if trainer.max_steps > 0:
        fractions.append(trainer.global_step / trainer.max_steps)
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        loop: Any = trainer.fit_loop.epoch_loop
        batches = loop.batch_progress.current.processed
        epochs = trainer.current_epoch + batches / max(float(trainer.num_training_batches), 1.0)
        fractions.append(epochs / trainer.max_epochs)
    for timer in timers(trainer):
        remaining = timer.time_remaining()
        if remaining is not None:
            fractions.append(timer.time_elapsed() / (timer.time_elapsed() + remaining))
    if not fractions:
        return None
    spent = min(max(fractions), 1.0)
    # Clocks differ, and weights would too if processes used different learning rates.
    return mean_over_processes([spent], trainer.strategy.root_device)[0]


class Cosine(Callback):
    r"""Linear warm-up, then a cosine from the optimizer's rate down to a fraction of it.

    .. math:: \eta(p) = \eta_0 \left[f + (1 - f)\,\tfrac12 (1 + \cos \pi p)\right]

    with the spent fraction :math:`p` of the budget, see :func:`progress`. The rate depends on the
    progress alone, so a resumed run continues at the same rate, and a run with
    ``trainer.max_time="00:00:30:00"`` reaches the final rate after thirty minutes on any machine.

    Args:
        warmup_steps: Number of steps over which the rate rises from zero.
        final_fraction: Ratio :math:`f` of the last rate to the first.

    Raises:
        ValueError: An argument is out of its range.

    Source: Loshchilov, Hutter, SGDR (ICLR 2017), one period.

    Example:
        >>> Cosine(warmup_steps=0, final_fraction=0.0).factor(0.5, step=100)
        0.5
    """

    def __init__(self, *, warmup_steps: WholeNumber = 100, final_fraction: Fraction = 0.01) -> None:
        given = {"warmup_steps": warmup_steps, "final_fraction": final_fraction}
        check_arguments(Cosine, given)
        self.warmup_steps = warmup_steps
        self.final_fraction = final_fraction

    def factor(self, spent: float, step: int) -> float:
        """Return the factor of the optimizer's rate.

        Args:
            spent: Fraction of the budget that is spent, from 0 to 1.
            step: Number of steps so far.
        """
        rise = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        fall = 0.5 * (1 + math.cos(math.pi * min(spent, 1.0)))
        return rise * (self.final_fraction + (1 - self.final_fraction) * fall)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a training without a budget.

        Raises:
            ConfigError: The trainer has no limit of steps, epochs or time.
        """
        if progress(trainer) is None:
            raise ConfigError(
                "the cosine schedule needs a budget; "
                "give trainer.max_time, trainer.max_epochs or trainer.max_steps, "
                "or choose schedule=plateau"
            )

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Set the rate for the next step."""
        factor = self.factor(progress(trainer) or 0.0, trainer.global_step)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


class Plateau(Callback):
    """Multiply the rate by a factor when a validation metric has stopped falling.

    This is torch's ``ReduceLROnPlateau``, stepped after each validation.

    Args:
        monitor: Name of the metric that is watched; smaller is better.
        factor: Factor of the reduction, between 0 and 1.
        patience: Number of validations without improvement before the rate is reduced.
        minimum: Lower bound of the rate.

    Raises:
        ValueError: An argument is out of its range.

    Source: the 3BPA protocol of Batatia et al., MACE (NeurIPS 2022).

    Example:
        >>> Plateau(factor=0.5, patience=10).factor
        0.5
    """

    def __init__(
        self,
        *,
        monitor: str = "val/loss",
        factor: Annotated[float, Range("above 0 and below 1", above=0, below=1)] = 0.8,
        patience: WholeNumber = 50,
        minimum: NotNegative = 1e-6,
    ) -> None:
        check_arguments(Plateau, {"factor": factor, "patience": patience, "minimum": minimum})
        self.monitor = monitor
        self.factor = factor
        self.patience = patience
        self.minimum = minimum
        self._schedulers: list[ReduceLROnPlateau] = []
        self._loaded: list[dict[str, Any]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach to the optimizers, and continue with the counters of a checkpoint if any."""
        self._schedulers = [
            ReduceLROnPlateau(
                optimizer, factor=self.factor, patience=self.patience, min_lr=self.minimum
            )
            for optimizer in trainer.optimizers
        ]
        for scheduler, state in zip(self._schedulers, self._loaded, strict=False):
            scheduler.load_state_dict(state)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Update the schedule with the metric of the validation that just ended."""
        if self.monitor in trainer.callback_metrics:
            for scheduler in self._schedulers:
                scheduler.step(float(trainer.callback_metrics[self.monitor]))

    def state_dict(self) -> dict[str, Any]:
        """Return the schedulers' counters."""
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {"schedulers": states or self._loaded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the counters until there are optimizers to attach to."""
        self._loaded = state_dict["schedulers"]
