"""Probe of a run: predict its memory and time from a few steps."""

import logging
import math
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Int
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Timer
from torch.utils.data import DataLoader, Sampler

from equinet.errors import ConfigError, DataError, EquinetError
from equinet.training.checkpoints import StepSeed
from equinet.training.loader import EpochBatches, EpochLoader
from equinet.training.processes import max_over_processes, mean_over_processes
from equinet.training.progress import clock
from equinet.training.tasks import Task

_log = logging.getLogger(__name__)

_FEWEST = 5  # smallest number of steps
_SCANNED = 2000  # number of batches of the first epoch whose sizes are compared
_VALIDATED = 3  # number of batches
_GIB = 2**30


def probe_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Change a trainer's settings into those of a probe: one short epoch that writes nothing.

    Args:
        settings: Settings of the run's trainer; precision, devices, strategy, clipping and
            accumulation are kept.

    Example:
        >>> probe_settings({"max_epochs": 100, "precision": "bf16-mixed"})["max_epochs"]
        1
    """
    limit = settings.get("limit_val_batches")
    validated = min(limit, _VALIDATED) if isinstance(limit, int) else _VALIDATED
    return {
        **settings,
        "max_epochs": 1,
        "max_steps": -1,
        "max_time": None,
        "limit_train_batches": None,
        "limit_val_batches": validated,
        "check_val_every_n_epoch": 1,
        "overfit_batches": 0,
        "enable_checkpointing": False,
        "profiler": None,
    }


def probe(
    task: Task,
    data: Any,
    *,
    make_trainer: Callable[[list[Callback]], Trainer],
    callbacks: Sequence[Callback],
    settings: Mapping[str, Any],
    steps: int = 20,
    seed: int = 0,
) -> dict[str, Any]:
    """Predict the time and memory of a run from some steps on its largest and typical batches.

    The sizes of two thousand batches of the first epoch are compared. A fifth of the steps is taken
    on the largest of them, to measure memory. The others are taken on batches spread evenly over
    all sizes, to measure time. A few validation batches follow. The first step is not timed, and
    nothing is written.

    Args:
        task: Task that would be trained.
        data: Data module, as for :func:`equinet.training.fit`.
        make_trainer: Function that builds the trainer of the probe, with the settings of
            :func:`probe_settings`, from callbacks.
        callbacks: Callbacks of the run.
        settings: Settings of the run's trainer, with its budget and its validation interval.
        steps: Number of optimization steps.
        seed: Seed of the random numbers in all steps.

    Returns:
        Measured and predicted values by name, times in s, memory in GiB; empty on processes other
        than the first.

    Raises:
        ConfigError: ``steps`` is too small to measure anything.
        DataError: The data lack what the task needs.
        EquinetError: The largest batch does not fit into the GPU; its size is named.

    Example:
        >>> from equinet.configuration import compose
        >>> from equinet.train import run
        >>> tree = compose("train", ["+experiment=nbody", "run.probe=5"])
        >>> run(tree)["typical_seconds"]  # doctest: +SKIP
        0.07
    """
    if steps < _FEWEST:
        raise ConfigError(
            f"run.probe: {steps} steps are too few to predict from; give at least {_FEWEST}"
        )
    train, val = data.train_loader(), data.val_loader()
    task.check_data(train.dataset, val.dataset)
    task.calibrate(next(iter(train)))
    epoch = EpochLoader(train, drop_uneven=True).epoch_batches
    joined = settings.get("accumulate_grad_batches") or 1
    chosen = _ProbeBatches(epoch, _work(train.dataset), steps, joined)
    meter = _Meter(chosen)
    trainer: Any = make_trainer([*callbacks, StepSeed(seed=seed), meter])
    batches = DataLoader(
        train.dataset,
        batch_sampler=chosen,
        collate_fn=train.collate_fn,
        num_workers=train.num_workers,
        pin_memory=train.pin_memory,
        worker_init_fn=train.worker_init_fn,
    )
    try:
        trainer.fit(task, batches, EpochLoader(val, drop_uneven=False))
    except torch.OutOfMemoryError as error:
        raise EquinetError(
            f"the GPU ran out of memory on a batch of {_sizes(meter.batch)}; lower data.max_edges, "
            "data.max_atoms or data.batch_size, or set model.checkpointing=true if the model has "
            "this option"
        ) from error
    if not trainer.is_global_zero:
        return {}
    measured = meter.measured
    found = {**measured, **_predicted(measured, data, settings)}
    _say(found, trainer)
    return found


class _ProbeBatches(Sampler[list[int]]):
    """The largest batch of an epoch, repeated, then batches spread evenly over all sizes.

    Sizes are compared when iteration begins, since the process knows its rank only then.
    """

    def __init__(
        self, epoch: EpochBatches, work: Int[np.ndarray, " frames"] | None, steps: int, joined: int
    ) -> None:
        self.epoch = epoch
        self.work = work
        self.largest_steps = max(2, steps // 5)
        self.joined = joined
        self.steps = steps

    def __len__(self) -> int:
        return self.steps * self.joined

    def __iter__(self) -> Iterator[list[int]]:
        scanned = list(islice(iter(self.epoch), _SCANNED))
        sizes = [len(each) if self.work is None else self.work[each].sum() for each in scanned]
        order = np.argsort(sizes, kind="stable")
        for _ in range(self.largest_steps * self.joined):
            yield scanned[order[-1]]
        typical = (self.steps - self.largest_steps) * self.joined
        # A step that accumulates several batches takes them from the whole range of sizes.
        places = (np.arange(typical) + 0.5) / typical * len(order)
        for place in places.reshape(self.joined, -1).T.ravel().astype(int):
            yield scanned[order[place]]


class _Meter(Callback):
    """Times steps from end to end, with the loading of data, and reads the peak memory."""

    def __init__(self, batches: _ProbeBatches) -> None:
        self.epoch = batches.epoch
        self.largest_steps, self.joined = batches.largest_steps, batches.joined
        self.batch: dict[str, int] = {}
        self.measured: dict[str, Any] = {}
        self._largest: dict[str, int] = {}
        self._frames = self._validated = 0
        self._steps: list[float] = []
        self._last = self._validation = 0.0
        self._memory = 0.0

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the structures, atoms and edges of the batch."""
        self.batch = _counts(batch)
        if batch_idx == 0:
            self._largest = self.batch
        if batch_idx >= self.largest_steps * self.joined:
            self._frames += self.batch["frames"]

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Record the time at the end of a step."""
        if (batch_idx + 1) % self.joined:
            return
        now = _now(trainer)
        self._steps.append(now - self._last)
        self._last = now

    def on_validation_start(self, trainer: Trainer, pl_module: pl.LightningModule) -> None:
        """Read the peak memory of training, and reset it."""
        self._memory = _peak(trainer)
        self._validation = _now(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the validated structures, and measure the time."""
        self._validated += _counts(batch)["frames"]
        self.measured["validation_seconds_per_frame"] = (
            _now(trainer) - self._validation
        ) / self._validated

    def on_train_end(self, trainer: Trainer, pl_module: pl.LightningModule) -> None:
        """Take the longest times and the largest memory over all processes."""
        device = trainer.strategy.root_device
        peak = _peak(trainer)
        typical = self._steps[self.largest_steps :]
        mean, median, largest, train_memory, all_memory, validation = max_over_processes(
            [
                float(np.mean(typical)),
                float(np.median(typical)),
                float(np.median(self._steps[1 : self.largest_steps])),
                self._memory or peak,
                max(self._memory, peak),
                self.measured.get("validation_seconds_per_frame", 0.0),
            ],
            device,
        )
        frames = mean_over_processes([float(self._frames)], device)[0] * trainer.world_size
        self.measured = {
            "steps": len(self._steps),
            "processes": trainer.world_size,
            "batches_an_epoch": len(self.epoch),
            "largest_batch": self._largest,
            "largest_seconds": largest,
            "typical_seconds": median,
            "mean_seconds": mean,
            "frames_per_second": frames / (mean * len(typical)),
            "validation_seconds_per_frame": validation,
            "training_memory": train_memory,
            "memory": all_memory,
            "memory_available": _available(device),
        }


def _predicted(
    measured: Mapping[str, Any], data: Any, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Extrapolate to an epoch, to the run and to its final evaluation."""
    limited = _limited(measured["batches_an_epoch"], settings.get("limit_train_batches"))
    steps = math.ceil(limited / (settings.get("accumulate_grad_batches") or 1))
    per_frame = measured["validation_seconds_per_frame"]
    limit = settings.get("limit_val_batches")
    validation = per_frame * _frames(data.val_loader(), limit) / measured["processes"]
    every = settings.get("check_val_every_n_epoch") or math.inf
    epoch = steps * measured["mean_seconds"]
    epochs = math.inf
    if (settings.get("max_epochs") or -1) > 0:
        epochs = settings["max_epochs"]
    if (settings.get("max_steps") or -1) > 0:
        epochs = min(epochs, settings["max_steps"] / steps)
    run = epochs * (epoch + validation / every)
    remaining = Timer(duration=settings.get("max_time")).time_remaining()
    if remaining is not None and remaining < run:
        run = remaining
        epochs = run / (epoch + validation / every)
    tested = _frames(data.val_loader(), limit) + sum(
        _frames(loader, settings.get("limit_test_batches"))
        for loader in data.test_loaders().values()
    )
    return {
        "steps_an_epoch": steps,
        "epoch_seconds": epoch,
        "validation_seconds": validation,
        "run_epochs": epochs,
        "run_steps": epochs * steps,
        "run_seconds": run,
        "evaluated_frames": tested,
        "evaluation_seconds": per_frame * tested,
    }


def _say(found: Mapping[str, Any], trainer: Trainer) -> None:
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    _log.info(
        "Probe    %d steps, processes %d, %s, precision %s; nothing was kept",
        found["steps"],
        found["processes"],
        name,
        trainer.precision,
    )
    largest, typical = found["largest_seconds"], found["typical_seconds"]
    _log.info("Largest  %s a process: %.3g s a step", _sizes(found["largest_batch"]), largest)
    _log.info("Typical  %.3g s a step (median), %.3g frames/s", typical, found["frames_per_second"])
    kind = "allocated on the GPU" if device.type == "cuda" else "resident, of this process"
    _log.info(
        "Memory   %.2f GiB in training, %.2f with validation, of %.1f (peak %s)",
        found["training_memory"],
        found["memory"],
        found["memory_available"],
        kind,
    )
    _log.info(
        "Epoch    %d steps: about %s, and %s a validation",
        found["steps_an_epoch"],
        clock(found["epoch_seconds"]),
        clock(found["validation_seconds"]),
    )
    if math.isfinite(found["run_seconds"]):
        _log.info(
            "Run      about %s: %.3g epochs, %d steps",
            clock(found["run_seconds"]),
            found["run_epochs"],
            found["run_steps"],
        )
    else:
        _log.info("Run      without end: trainer has no max_time, max_epochs or max_steps")
    _log.info(
        "End      evaluation of %d frames by one process: about %s",
        found["evaluated_frames"],
        clock(found["evaluation_seconds"]),
    )


def _work(dataset: Any) -> Int[np.ndarray, " frames"] | None:
    """Return the cost of each structure: its number of edges, or of atoms where edges are unknown.

    Returns:
        Costs of all structures; None where all cost the same.
    """
    try:
        edges = getattr(dataset, "edge_counts", None)
    except DataError:  # the edges of the store were counted within another cutoff
        edges = None
    return getattr(dataset, "sizes", None) if edges is None else edges


def _counts(batch: Any) -> dict[str, int]:
    if hasattr(batch, "num_graphs"):
        sizes = {"frames": batch.num_graphs, "atoms": batch.num_nodes, "edges": batch.num_edges}
        return {name: int(size) for name, size in sizes.items()}
    return {"frames": len(batch[0])}  # images and labels


def _sizes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _limited(count: int, limit: float | None) -> int:
    """Apply a limit of Lightning: a number of batches, or a fraction of them."""
    if limit is None:
        return count
    return min(count, limit) if isinstance(limit, int) else int(count * limit)


def _frames(loader: DataLoader[Any], limit: float | None) -> int:
    whole = len(loader.dataset)  # type: ignore[arg-type]  # the data sets here have a length
    batches = len(loader)
    return min(whole, round(whole * _limited(batches, limit) / batches))


def _now(trainer: Trainer) -> float:
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize(trainer.strategy.root_device)
    return time.perf_counter()


def _peak(trainer: Trainer) -> float:
    """Return the peak memory, GiB: since the last call on a GPU, of the whole process on a CPU."""
    device = trainer.strategy.root_device
    if device.type != "cuda":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB  # KiB on Linux
    peak = torch.cuda.max_memory_allocated(device) / _GIB
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def _available(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / _GIB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
