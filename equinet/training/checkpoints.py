"""Checkpoints from which training resumes bit by bit, and signals that stop it with one."""

import hashlib
import logging
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from equinet.configuration import RunDirectory
from equinet.data import check_archive
from equinet.errors import DataError, EquinetError, WriteError
from equinet.files import reading, whole_file
from equinet.training.processes import mean_over_processes

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(EquinetError):
    """Training was stopped by a signal, after a checkpoint to resume from was written.

    Example:
        >>> TrainingInterruptedError("stopped at step 3, checkpoint written").exit_code
        130
    """

    exit_code = 128 + signal.SIGINT


class RunCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` to resume from and ``best.ckpt`` with the best weights.

    ``last.ckpt`` is written at the end of every epoch, every few minutes within one, when training
    stops, and on Ctrl-C or SIGTERM before the next batch (a second Ctrl-C quits at once). Writing
    replaces the file in one step, so a killed process leaves the old file intact. Its loop counters
    always say "epoch e with k batches done", so there is one way to resume. The checkpoint that
    ``last.ckpt`` replaces is kept as ``previous.ckpt``, for the case that ``last.ckpt`` is damaged.

    ``best.ckpt`` is written when the monitored metric falls. With ``EMAWeightAveraging`` the
    ``state_dict`` of both files holds the averaged weights.

    A validation is also run when training stops for time, steps or epochs, whatever the validation
    interval, because the last weights are usually the best.

    Args:
        folder: Path of the folder to write to.
        monitor: Name of the metric of the best checkpoint; smaller is better.
        minutes: Longest time between two writes of ``last.ckpt``, minutes.

    Example:
        >>> RunCheckpoint(folder="runs/mine/checkpoints").last_path.as_posix()
        'runs/mine/checkpoints/last.ckpt'
    """

    def __init__(
        self, *, folder: str | Path, monitor: str = "val/loss", minutes: float = 5.0
    ) -> None:
        self.folder = Path(folder)
        self.monitor = monitor
        self.minutes = minutes
        self.best_score = float("inf")
        self.stop_requested = False
        self._written = time.monotonic()
        self._step: int | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def last_path(self) -> Path:
        """Path of the checkpoint to resume from."""
        return self.folder / "last.ckpt"

    @property
    def best_path(self) -> Path:
        """Path of the checkpoint with the lowest monitored metric."""
        return self.folder / "best.ckpt"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write temporary files beside checkpoints instead of in ``$TMPDIR``, as Lightning does."""
        trainer.strategy.checkpoint_io = _WholeFiles()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle Ctrl-C and SIGTERM, since Lightning's handlers would not write a checkpoint."""
        self._written = time.monotonic()
        self._step = trainer.global_step if self.last_path.is_file() else None
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._request_stop)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate after the last epoch."""
        if trainer.current_epoch + 1 == trainer.max_epochs and trainer.check_val_every_n_epoch:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write between two steps if it is time, and stop after a signal.

        Raises:
            TrainingInterruptedError: A signal was received; the checkpoint is written.
        """
        if batch_idx % trainer.accumulate_grad_batches:
            return  # a checkpoint holds no partly accumulated gradients
        is_due = time.monotonic() - self._written > 60 * self.minutes
        # All processes write a checkpoint together, so a request of one applies to all.
        wishes = [float(self.stop_requested), float(is_due)]
        stop, due = mean_over_processes(wishes, trainer.strategy.root_device)
        if stop or due:
            self._write_last(trainer)
        if stop:
            raise TrainingInterruptedError(
                f"stopped at step {trainer.global_step}, checkpoint written"
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Make Lightning validate before it stops at its limit of steps or time."""
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True
        if trainer.should_stop and trainer.check_val_every_n_epoch:
            trainer.check_val_every_n_epoch = 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the best checkpoint if the monitored metric is the lowest so far."""
        score = trainer.callback_metrics.get(self.monitor)
        if score is None or trainer.state.fn != "fit":
            return
        if float(score) < self.best_score:
            self.best_score = float(score)
            self._write(trainer, self.best_path)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write at the end of an epoch, also of one that a limit ends early."""
        self._write_last(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the best score so far."""
        self.best_score = state_dict["best_score"]

    def on_save_checkpoint(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Rewrite Lightning's loop counters as "epoch e with k batches done"."""
        checkpoint["loops"]["fit_loop"] = _between_batches(trainer, checkpoint["loops"]["fit_loop"])

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True
        _log.warning("Stopping after this step; Ctrl-C again quits without a checkpoint.")

    def _write_last(self, trainer: Trainer) -> None:
        self._write(trainer, self.last_path)
        self._written = time.monotonic()
        self._step = trainer.global_step

    def _write(self, trainer: Trainer, path: Path) -> None:
        try:
            trainer.save_checkpoint(path, weights_only=False)
        except WriteError as error:
            whole = f"{self.last_path.name} of step {self._step} is whole"
            state = "there is no checkpoint yet" if self._step is None else whole
            raise EquinetError(
                f"{path} cannot be written ({error.strerror}); {state}: make room, and the same "
                "command goes on from there"
            ) from error


class _WholeFiles(TorchCheckpointIO):
    """Writes checkpoints that are complete or absent, and keeps the one before the last."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Write a checkpoint; the one that it replaces is kept as ``previous.ckpt``."""
        place = Path(path)
        with whole_file(place) as partial:
            with partial.open("wb") as file:
                sink: Any = _Sink(file)
                try:
                    torch.save(checkpoint, sink)
                finally:
                    if sink.error is not None:
                        raise sink.error
            if place.name == "last.ckpt" and place.is_file():
                _copy(place, place.with_name("previous.ckpt"))


class _Sink:
    """File that keeps the error of a full disk, which torch would replace by another error."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: bytes | memoryview) -> int:
        """Write, and keep the error if that fails."""
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Pass everything to the operating system."""
        self._file.flush()


class StepSeed(Callback):
    """Seeds torch before every step from the seed of the run, the step and the process.

    A resumed run then draws the same numbers as an uninterrupted one, whatever else drew random
    numbers in between, and checkpoints need no state of the generator.

    Args:
        seed: Seed of the run.

    Example:
        >>> StepSeed(seed=3).seed
        3
    """

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Seed torch for the next step."""
        place = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        digest = hashlib.sha256(repr(place).encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:7], "little"))


def load_weights(path: Path) -> dict[str, Any]:
    """Read the weights of a checkpoint, without running code that it may contain.

    Args:
        path: Path of the checkpoint.

    Returns:
        The ``state_dict`` of the task, with averaged weights if the run averaged them.

    Raises:
        DataError: The file is missing or damaged, or contains code.
    """
    check_archive(path, "a checkpoint")  # torch does not compare the checksums
    with reading(path, "a checkpoint"):
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return dict(checkpoint["state_dict"])


def checkpoint_to_resume(directory: RunDirectory, *, repair: bool) -> Path | None:
    """Choose the checkpoint to resume from: the last one, or the one before if it is damaged.

    Args:
        directory: Directory of the run.
        repair: Whether to replace a damaged checkpoint by the one before; true on the first process
            only.

    Returns:
        Path of a checkpoint that can be read; None where the run has none yet.

    Raises:
        DataError: The last checkpoint is damaged, and so is the one before it, or there is none.
    """
    if directory.resumes_from is None:
        return None
    try:
        load_weights(directory.last)
    except DataError as error:
        if not directory.previous.is_file():
            raise
        load_weights(directory.previous)
        if repair:
            _log.warning("%s; going on from %s instead", error, directory.previous.name)
            _copy(directory.previous, directory.last)
        return directory.previous
    return directory.last


def _copy(source: Path, target: Path) -> None:
    """Link a file to a second name in one step, or copy it where the file system has no links."""
    with whole_file(target) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)


def _between_batches(trainer: Trainer, loops: dict[str, Any]) -> dict[str, Any]:
    """Rewrite the counters of the fit loop as "epoch e with k batches done"."""
    epochs: Any = trainer.fit_loop.epoch_progress.current
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    epoch, done = epochs.processed, batches.current.processed
    if epochs.processed == epochs.started:  # Lightning counts the epoch as ended
        if batches.is_last_batch:
            done = 0
        else:
            epoch -= 1  # a limit ended the epoch early, so it is continued
    total = batches.total.processed
    under_way = {"ready": epoch + 1, "started": epoch + 1, "processed": epoch, "completed": epoch}
    loops["epoch_progress"] = {"total": under_way, "current": dict(under_way)}
    loops["epoch_loop.batch_progress"] = {
        "total": dict.fromkeys(("ready", "started", "processed", "completed"), total),
        "current": dict.fromkeys(("ready", "started", "processed", "completed"), done),
        "is_last_batch": False,
    }
    loops["epoch_loop.state_dict"] = {"_batches_that_stepped": trainer.global_step}
    loops["state_dict"] = {"combined_loader": [{"done": done}]}
    return loops
