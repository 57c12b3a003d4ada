"""Report of a run: the first lines of its log, and the files that it writes at the end."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from equinet import zoo
from equinet.configuration import RunDirectory, relative, write_json
from equinet.errors import EquinetError
from equinet.evaluation import (
    classified,
    describe,
    learning_curve,
    parity,
    published_table,
    read_metrics,
    structure_errors,
    summarize,
)
from equinet.evaluation.report import attempt_report
from equinet.models import Model, Potential
from equinet.ops import available_backends, resolve_backend
from equinet.training.checkpoints import RunCheckpoint, load_weights
from equinet.training.progress import clock, elapsed
from equinet.training.record import published_of, record
from equinet.training.schedules import timers
from equinet.training.tasks import Evaluation, Task

_log = logging.getLogger(__name__)


def announce(task: Task, trainer: Trainer, directory: RunDirectory) -> None:
    """Log the model, device, precision, backends, budget and directory, and how to stop.

    Args:
        task: Task that is trained.
        trainer: Trainer of the run.
        directory: Directory of the run.
    """
    model = task.model
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    processes = f"{trainer.world_size} processes, " if trainer.world_size > 1 else ""
    reach = f", cutoff {model.neighborhood}" if isinstance(model, Potential) else ""
    _log.info("Model    %s, %s parameters%s", type(model).__name__, f"{parameters:,}", reach)
    _log.info(
        "Device   %s%s, %d threads, precision %s",
        processes,
        name,
        torch.get_num_threads(),
        trainer.precision,
    )
    if device.type == "cpu" and torch.cuda.is_available():
        _log.info("         this machine has a GPU; trainer=gpu uses it")
    for backends, ops in _backends(getattr(model, "ops", task.ops), device.type).items():
        _log.info("Backends %s: %s", ", ".join(ops), backends)
    _log.info("Budget   %s", _budget(trainer))
    _log.info("Output   %s", directory.path)
    step = directory.resumes_from
    if step:
        _log.info("Resume   from %s", step)
    _log.info("Stop     Ctrl-C; the same command with run.dir=%s resumes", relative(directory.path))


def finish(
    task: Task,
    data: Any,
    trainer: Trainer,
    directory: RunDirectory,
    checkpoint: RunCheckpoint,
    stamp: Mapping[str, Any],
) -> dict[str, Any]:
    """Evaluate the best weights on all sets, and write errors, figures and the model.

    Args:
        task: Task that was trained.
        data: Data module with ``val_loader()`` and ``test_loaders()``.
        trainer: Trainer that trained it.
        directory: Directory of the run.
        checkpoint: Callback that knows the best weights.
        stamp: Record of the run, for the model card.

    Returns:
        The content of ``metrics.json``.

    Raises:
        EquinetError: A prediction is not finite; the learning curve and the model are written
            nevertheless.
    """
    best = _load_best(task, checkpoint)
    start = time.perf_counter()
    try:
        found = _evaluate(task, data, trainer)
    except EquinetError:
        leave_usable(task, data, trainer, directory, checkpoint, stamp)
        raise
    seconds = time.perf_counter() - start
    results = {
        name: {"structures": result.structures, **result.errors}
        for name, (_, result) in found.items()
    }
    distributions = {
        name: summary
        for name, (loader, result) in found.items()
        if result.per_structure is not None
        and (summary := summarize(result.per_structure, loader)) is not None
    }
    _write_pictures(task, {name: result for name, (_, result) in found.items()}, directory)
    metrics = {
        "sets": results,
        "units": {name: unit for name, unit in task.units.items() if unit},
        "per_structure": {name: {"forces_rmse": each} for name, each in distributions.items()},
        "weights": best.name,
        "best_val_loss": checkpoint.best_score,
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "train_seconds": round(elapsed(trainer), 1),
        "data": data.describe(),
    }
    write_json(metrics, directory.metrics)
    _save_model(task, directory, {**metrics, "card": data.for_card()}, stamp)
    rows = [{"name": name, **result} for name, result in results.items()]
    lines = [task.table(rows), *(describe(name, each) for name, each in distributions.items())]
    for name, published in published_of(data, found).items():
        lines.append(published_table(name, published, task.declared))
    spent = clock(elapsed(trainer))
    _log.info(
        "\nTrained for %s, %d steps. Errors:\n%s", spent, trainer.global_step, "\n".join(lines)
    )
    attempt_report(
        lambda: record(task, data, trainer, directory, found, best=best.name, seconds=seconds),
        directory.path,
    )
    _log.info("\nRun directory: %s", relative(directory.path))
    _log.info("Next: %s", task.next_step(relative(directory.path), data))
    return metrics


class _Limited:
    """The first batches of a loader, with its data set."""

    def __init__(self, loader: Any, count: int | None) -> None:
        self.dataset = loader.dataset
        self._loader, self._count = loader, count

    def __iter__(self) -> Iterator[Any]:
        return islice(self._loader, self._count)


def _evaluate(task: Task, data: Any, trainer: Trainer) -> dict[str, tuple[_Limited, Evaluation]]:
    """Evaluate all sets, except those that are limited to no batches."""
    sets = {"val": (data.val_loader(), trainer.limit_val_batches)}
    sets |= {name: (loader, trainer.limit_test_batches) for name, loader in _tests(data)}
    found = {}
    for name, (loader, limit) in sets.items():
        if limit == 0:
            continue
        limited = _Limited(loader, limit if isinstance(limit, int) else None)
        found[name] = (limited, task.evaluate(limited, trainer.strategy.root_device))
    return found


def _write_pictures(task: Task, found: Mapping[str, Evaluation], directory: RunDirectory) -> None:
    """Draw the learning curve, the results of the sets and the parity of the first test set."""
    _write_curves(task, directory)
    for name, result in found.items():
        if result.classified is not None:
            classified(result.classified, directory.path / f"mistakes_{name}.png", name)
    tests = [name for name in found if name != "val"]
    shown = (tests or list(found))[:1]
    if shown and found[shown[0]].parity:
        parity(found[shown[0]].parity, directory.path / "parity.png", shown[0])
    values = {n: r.per_structure for n, r in found.items() if r.per_structure is not None}
    if values:
        structure_errors(values, directory.path / "errors.png")


def leave_usable(
    task: Task,
    data: Any,
    trainer: Trainer,
    directory: RunDirectory,
    checkpoint: RunCheckpoint,
    stamp: Mapping[str, Any],
) -> None:
    """Write the learning curve, the model and the report of a run that ended before its evaluation.

    Args:
        task: Task that was trained.
        data: Data module, as in :func:`finish`.
        trainer: Trainer that trained the task.
        directory: Directory of the run.
        checkpoint: Callback that knows the best weights.
        stamp: Record of the run, for the model card.
    """
    _write_curves(task, directory)
    best = _load_best(task, checkpoint)
    known = {"data": data.describe(), "card": data.for_card(), "sets": {}, "units": {}}
    _save_model(task, directory, known, stamp)
    attempt_report(
        lambda: record(task, data, trainer, directory, {}, best=best.name), directory.path
    )


def _load_best(task: Task, checkpoint: RunCheckpoint) -> Path:
    """Load the best weights so far into the task, and return the path of their checkpoint."""
    best = checkpoint.best_path if checkpoint.best_path.is_file() else checkpoint.last_path
    task.load_state_dict(load_weights(best))
    return best


def _write_curves(task: Task, directory: RunDirectory) -> None:
    if directory.table.is_file():
        rows = read_metrics(directory.table)
        learning_curve(rows, task.curves, directory.path / "curves.png")


def _backends(names: Iterable[str], device: str) -> dict[str, list[str]]:
    """Group ops by the backends that they have on a device."""
    found: dict[str, list[str]] = {}
    for op in names:
        reasons = available_backends(op, device)
        chosen = resolve_backend(op, "auto", device)
        others = ", ".join(key for key, reason in reasons.items() if not reason and key != chosen)
        absent = "; ".join(f"no {key}: {reason}" for key, reason in reasons.items() if reason)
        text = f"auto is {chosen}; also {others}{f'; {absent}' if absent else ''}"
        found.setdefault(text, []).append(op)
    return found


def _tests(data: Any) -> list[tuple[str, Any]]:
    return list(data.test_loaders().items())


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def _budget(trainer: Trainer) -> str:
    limits = []
    if trainer.max_steps > 0:
        limits.append(_count(trainer.max_steps, "step"))
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        limits.append(_count(trainer.max_epochs, "epoch"))
    for timer in timers(trainer):
        remaining = timer.time_remaining()
        if remaining is not None:
            limits.append(f"{clock(remaining + timer.time_elapsed())} of training")
    return ", ".join(limits) + (", whichever comes first" if len(limits) > 1 else "")


def _save_model(
    task: Task,
    directory: RunDirectory,
    metrics: Mapping[str, Any],
    stamp: Mapping[str, Any],
) -> None:
    card = {
        "data": metrics["data"],
        "data_fingerprint": stamp["data_fingerprint"],
        "metrics": metrics["sets"],
        "units": metrics["units"],
        "command": " ".join(stamp["command"]),
        "commit": stamp["commit"],
        **metrics["card"],
    }
    if isinstance(task.model, Model):
        zoo.save(task.model.cpu(), directory.model, card)
