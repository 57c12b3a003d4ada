"""What a run says at its start and leaves at its end."""

import logging
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from equinet import zoo
from equinet.evaluation import classified, learning_curve, parity
from equinet.models import Model, Potential
from equinet.ops import available_backends, resolve_backend
from equinet.run_directory import RunDirectory, relative, write_json
from equinet.training.checkpoints import RunCheckpoint, load_weights
from equinet.training.progress import clock, elapsed, read_metrics
from equinet.training.schedules import timers
from equinet.training.tasks import Task

_log = logging.getLogger(__name__)


def announce(task: Task, trainer: Trainer, directory: RunDirectory) -> None:
    """Log what is about to happen: model, device, precision, backends, files, how to stop."""
    model = task.model
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    processes = f"{trainer.world_size} processes, " if trainer.world_size > 1 else ""
    reach = f", cutoff {model.cutoff:g} Å" if isinstance(model, Potential) else ""
    if isinstance(model, Potential) and model.max_neighbors is not None:
        reach += f", at most {model.max_neighbors} neighbors"
    _log.info("Model    %s, %s parameters%s", type(model).__name__, f"{parameters:,}", reach)
    _log.info(
        "Device   %s%s, %d threads, precision %s",
        processes,
        name,
        torch.get_num_threads(),
        trainer.precision,
    )
    if device.type == "cpu" and torch.cuda.is_available():
        _log.info("         a GPU is there too; trainer=gpu uses it")
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
    """Evaluate the best weights on all sets, and write everything that a run leaves behind.

    Args:
        task: As trained.
        data: Data module with ``val_loader()`` and ``test_loaders()``.
        trainer: That trained it.
        directory: Of the run.
        checkpoint: That knows the best weights.
        stamp: Record of the run, for the model card.

    Returns:
        The content of ``metrics.json``.
    """
    best = _load_best(task, checkpoint)
    sets = {"val": (data.val_loader(), trainer.limit_val_batches)}
    sets |= {name: (loader, trainer.limit_test_batches) for name, loader in _tests(data)}
    rows, results, shown = [], {}, None
    for name, (loader, limit) in sets.items():
        count = limit if isinstance(limit, int) else None
        if limit == 0:
            continue
        found = task.evaluate(islice(loader, count), trainer.strategy.root_device)
        results[name] = {"structures": found.structures, **found.errors}
        rows.append({"name": name, **results[name]})
        if found.classified is not None:
            classified(found.classified, directory.path / f"mistakes_{name}.png", name)
        if shown is None or shown[0] == "val":
            shown = (name, found)
    _write_curves(task, directory)
    if shown is not None and shown[1].parity:
        parity(shown[1].parity, directory.path / "parity.png", shown[0])
    metrics = {
        "sets": results,
        "units": {name: unit for name, unit in task.units.items() if unit},
        "weights": best.name,
        "best_val_loss": checkpoint.best_score,
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "train_seconds": round(elapsed(trainer), 1),
        "data": data.describe(),
    }
    write_json(metrics, directory.metrics)
    _save_model(task, directory, metrics, stamp)
    time = clock(elapsed(trainer))
    _log.info(
        "\nTrained for %s, %d steps. Errors:\n%s", time, trainer.global_step, task.table(rows)
    )
    _log.info("\nRun directory: %s", relative(directory.path))
    _log.info("Next: %s", task.next_step(relative(directory.path), data))
    return metrics


def leave_usable(
    task: Task,
    data: Any,
    directory: RunDirectory,
    checkpoint: RunCheckpoint,
    stamp: Mapping[str, Any],
) -> None:
    """Write the learning curve and the model of an interrupted run, as far as they go."""
    _write_curves(task, directory)
    _load_best(task, checkpoint)
    _save_model(task, directory, {"data": data.describe(), "sets": {}, "units": {}}, stamp)


def _load_best(task: Task, checkpoint: RunCheckpoint) -> Path:
    """Give the task the best weights so far; return the checkpoint they are from."""
    best = checkpoint.best_path if checkpoint.best_path.is_file() else checkpoint.last_path
    task.load_state_dict(load_weights(best))
    return best


def _write_curves(task: Task, directory: RunDirectory) -> None:
    if directory.table.is_file():
        rows = read_metrics(directory.table)
        learning_curve(rows, task.curves, directory.path / "curves.png")


def _backends(names: Iterable[str], device: str) -> dict[str, list[str]]:
    """Ops by what they can run on there; those that agree share a line."""
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
    }
    if isinstance(task.model, Model):
        zoo.save(task.model.cpu(), directory.model, card)
