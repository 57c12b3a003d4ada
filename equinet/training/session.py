"""One training run from its first or last checkpoint to its final report."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, Trainer

from equinet.configuration import RunDirectory, relative
from equinet.errors import ConfigError, EquinetError
from equinet.models import Model, name_of_model
from equinet.training.checkpoints import (
    RunCheckpoint,
    StepSeed,
    TrainingInterruptedError,
    checkpoint_to_resume,
)
from equinet.training.divergence import TrainingDivergedError, keep_batch
from equinet.training.loader import EpochLoader
from equinet.training.peers import Peers
from equinet.training.progress import ErrorBar, MetricsTable
from equinet.training.report import announce, finish, leave_usable
from equinet.training.tasks import Task

_log = logging.getLogger(__name__)


def fit(
    task: Task,
    data: Any,
    *,
    make_trainer: Callable[[list[Callback]], Trainer],
    callbacks: Sequence[Callback],
    directory: RunDirectory,
    stamp: Mapping[str, Any],
    seed: int = 0,
    checkpoint_minutes: float = 5.0,
    log_seconds: float = 10.0,
    calibrate: bool = True,
) -> dict[str, Any]:
    """Train a task in a run directory, from its last checkpoint if it has one.

    Args:
        task: Task to train.
        data: Data module with ``train_loader()``, ``val_loader()``, ``test_loaders()`` and
            ``describe()``.
        make_trainer: Function that builds the trainer from a list of callbacks.
        callbacks: Callbacks of the user; checkpoints, table, seeds and progress are added to them.
        directory: Directory of the run, already claimed.
        stamp: Record of the run, see :func:`equinet.configuration.make_stamp`.
        seed: Seed of the random numbers in all steps.
        checkpoint_minutes: Longest time between two checkpoints, minutes.
        log_seconds: Shortest time between two lines in the log, s.
        calibrate: Whether the model scales its layers on the first batch, which would spoil one
            that is trained already.

    Returns:
        The content of ``metrics.json``; empty on processes other than the first.

    Raises:
        TrainingInterruptedError: Ctrl-C or SIGTERM was received; the checkpoint is written.
        TrainingDivergedError: A loss, gradient, weight or validation error is not finite; the
            checkpoints stay as they were, and the batch is written to the run directory.
        ConfigError: The budget allows no step, there are fewer batches than processes, or a saved
            model of this class could not be loaded again.
        DataError: The data lack what the task needs.
        EquinetError: The checkpoint cannot be read, the model failed its check, a prediction of
            the trained model is not finite, or another process of the run ended too early.

    Example:
        >>> from equinet.configuration import compose
        >>> from equinet.train import run
        >>> tree = compose("train", ["+experiment=nbody", "trainer.max_epochs=1"])
        >>> run(tree)["sets"]["val"]  # doctest: +SKIP
    """
    _refuse_unknown_model(task)
    has_bar = sys.stdout.isatty()
    checkpoint = RunCheckpoint(folder=directory.checkpoints, minutes=checkpoint_minutes)
    table = MetricsTable(path=directory.table, seconds=log_seconds)
    own: list[Callback] = [peers := Peers(), StepSeed(seed=seed), table, checkpoint]
    trainer: Any = make_trainer([*callbacks, *own, *([ErrorBar()] if has_bar else [])])
    # Damaged checkpoints are found here, before anything is written.
    start = checkpoint_to_resume(directory, repair=trainer.is_global_zero)
    train, val = data.train_loader(), data.val_loader()
    task.check_data(train.dataset, val.dataset)
    if start is None and calibrate:
        task.calibrate(next(iter(train)))  # the same batch on every process
    batches = _training_batches(train, trainer)
    if trainer.is_global_zero:
        announce(task, trainer, directory)
    try:
        with _own_errors(peers, directory):
            held_out = EpochLoader(val, drop_uneven=False)
            trainer.fit(task, batches, held_out, ckpt_path=start, weights_only=True)
    except TrainingInterruptedError as stop:
        if trainer.is_global_zero:
            leave_usable(task, data, trainer, directory, checkpoint, stamp)
        raise _resumable(stop, directory) from None
    except (TrainingDivergedError, torch.OutOfMemoryError) as error:
        raise _explained(error, directory) from error
    if not trainer.is_global_zero:
        return {}
    if not directory.resumes_from:
        raise ConfigError(
            "the budget allows no step; raise trainer.max_time, max_epochs or max_steps"
        )
    return finish(task, data, trainer, directory, checkpoint, stamp)


def _resumable(stop: TrainingInterruptedError, directory: RunDirectory) -> TrainingInterruptedError:
    """Add to an interruption how the run goes on."""
    return TrainingInterruptedError(
        f"{stop}; the same command with run.dir={relative(directory.path)} resumes"
    )


def _training_batches(train: Any, trainer: Any) -> EpochLoader:
    """Return the batches of each epoch, of which every process takes its part."""
    batches = EpochLoader(train, drop_uneven=True, fixed=trainer.overfit_batches > 0)
    if len(batches) < trainer.world_size:
        raise ConfigError(
            f"there are {len(batches)} training batches for {trainer.world_size} processes; "
            "lower data.batch_size or trainer.devices"
        )
    return batches


@contextmanager
def _own_errors(peers: Peers, directory: RunDirectory) -> Iterator[None]:
    """Replace what torch and Lightning raise for a lost connection and for Ctrl-C.

    Warnings of Lightning on worker counts and logging intervals, which do not apply to small data,
    are silent.

    Raises:
        EquinetError: Another process of the run has ended.
        KeyboardInterrupt: Ctrl-C was typed before the first step, or twice.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            yield
    except RuntimeError as error:
        ours = isinstance(error, EquinetError | torch.OutOfMemoryError)
        lost = "" if ours else peers.lost(error)
        if not lost:
            raise
        raise EquinetError(f"{lost}; its own output says why; {_next(directory)}") from error
    except SystemExit as error:
        # Lightning exits with 1 after Ctrl-C, where the command has a code of its own.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def _explained(
    error: TrainingDivergedError | torch.OutOfMemoryError, directory: RunDirectory
) -> EquinetError:
    """Add how to continue after a failed step to its error, and write the batch if it diverged."""
    if isinstance(error, torch.OutOfMemoryError):
        return EquinetError(
            "the GPU ran out of memory; lower data.batch_size (and raise "
            "trainer.accumulate_grad_batches to keep the step as it is) or model.channels"
        )
    sentence = str(error)
    if error.file:
        path = directory.path / error.file
        if error.batch is not None:
            keep_batch(error.batch, path)
        sentence += f"; the batch is in {relative(path)}"
    return TrainingDivergedError(f"{sentence}; {_next(directory)}", error.file)


def _next(directory: RunDirectory) -> str:
    """Say what the same command will do after a session that failed."""
    start = "resumes from its last checkpoint" if directory.resumes_from else "starts afresh"
    return f"the same command with run.dir={relative(directory.path)} {start}"


def _refuse_unknown_model(task: Task) -> None:
    """Refuse a model that could be trained and saved, but not loaded again."""
    if isinstance(task.model, Model):
        name_of_model(type(task.model))


def seed_everything(seed: int, *, tf32: bool = False) -> None:
    """Seed Python, NumPy and torch, here and in the loading processes.

    Args:
        seed: Seed of the run.
        tf32: Whether GPUs may round the factors of float32 matrix products to 10 bits.

    Example:
        >>> seed_everything(3)
        >>> first = torch.rand(1)
        >>> seed_everything(3)
        >>> bool(first == torch.rand(1))
        True
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
