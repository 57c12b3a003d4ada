"""What a run tells the report that is drawn in its directory."""

from collections.abc import Container, Mapping
from contextlib import suppress
from typing import Any, cast

from lightning.pytorch import Trainer

from equinet.configuration import RunDirectory
from equinet.data import QM9, official_3bpa_file
from equinet.errors import DataError
from equinet.evaluation import PublishedRow, published_properties, published_rows
from equinet.evaluation.report import Findings, Report
from equinet.models import Committee, Potential
from equinet.training.check import FirstBatchCheck
from equinet.training.progress import clock, elapsed
from equinet.training.tasks import Evaluation, Task


def record(
    task: Task,
    data: Any,
    trainer: Trainer,
    directory: RunDirectory,
    found: Mapping[str, tuple[Any, Evaluation]],
    *,
    best: str,
    seconds: float | None = None,
) -> Report:
    """Collect what the report of a run shows.

    Args:
        task: Task that was trained.
        data: Data module of the run.
        trainer: Trainer of the run.
        directory: Directory of the run.
        found: Loader and results of each set by name; empty where no set was evaluated.
        best: Name of the checkpoint whose weights were evaluated.
        seconds: Time that the evaluation of all sets took, s; None where there was none.
    """
    rows = [
        {"name": name, "structures": result.structures, **result.errors}
        for name, (_, result) in found.items()
    ]
    findings = [
        Findings.of(name, parity=result.parity, predictions=result.predictions, loader=loader)
        for name, (loader, result) in found.items()
    ]
    description = data.describe()
    return Report(
        f"{_name(task)} trained on {description.partition(': ')[0]}",
        about=[_about(task, trainer, best)],
        data=[description, *getattr(data, "summary", ())],
        errors=task.declared,
        rows=rows,
        published=published_of(data, found),
        findings=findings,
        checks=_checks(task, trainer, directory),
        timings=_timings(trainer, seconds),
    )


def _name(task: Task) -> str:
    model = task.model
    if isinstance(model, Committee):
        return f"Committee of {len(model.members)} {type(model.members[0]).__name__}"
    return type(model).__name__


def _about(task: Task, trainer: Trainer, best: str) -> str:
    parameters = sum(p.numel() for p in task.model.parameters() if p.requires_grad)
    model = task.model
    reach = f" and a cutoff of {model.neighborhood}" if isinstance(model, Potential) else ""
    return (
        f"A model with {parameters:,} parameters{reach}, trained for {clock(elapsed(trainer))} in "
        f"{trainer.global_step:,} steps. Its weights are those of {best}."
    )


def published_of(data: Any, found: Container[str]) -> dict[str, list[PublishedRow]]:
    """Return the published errors of those sets that are an official test.

    Args:
        data: Data module of a run.
        found: Names of the sets that were evaluated.
    """
    rows = {
        name: published_rows(official_3bpa_file(path) or "")
        for name, path in getattr(data, "files", {}).items()
        if name in found
    }
    if isinstance(data, QM9) and data.is_published and "test" in found:
        rows["test"] = published_properties(each.name for each in data.properties)
    return {name: published for name, published in rows.items() if published}


def _checks(task: Task, trainer: Trainer, directory: RunDirectory) -> list[tuple[str, str]]:
    """Return what was measured on the first batch, by an earlier session if not by this one."""
    callbacks: list[Any] = cast("Any", trainer).callbacks
    checks = [each for each in callbacks if isinstance(each, FirstBatchCheck)]
    for check in checks:
        found = check.found
        if found is None:
            continue
        has_mirrors = getattr(task.model, "mirror_symmetric", True)
        moves = "a rotation and a reflection" if has_mirrors else "a rotation"
        gradient = "not compared, since the forces of this model are no gradient"
        if found.gradient is not None:
            gradient = f"{found.gradient:.1e} eV/Å"
        return [
            (f"change of the energy under {moves}", f"{found.rotation_energy:.1e} eV"),
            (f"deviation of the forces under {moves}", f"{found.rotation_forces:.1e} eV/Å"),
            ("forces against finite differences of the energy", gradient),
            ("largest deviation that is allowed", f"{check.limit(found):.1e} eV or eV/Å"),
            ("RMS force component of the structure", f"{found.force_scale:.2g} eV/Å"),
        ]
    with suppress(DataError):
        return list(Report.read(directory.path).checks)
    return []


def _timings(trainer: Trainer, seconds: float | None) -> list[tuple[str, str]]:
    time, steps = elapsed(trainer), trainer.global_step
    found = [("training", f"{clock(time)}, {steps:,} steps, {trainer.current_epoch:,} epochs")]
    if steps:
        found.append(("a step, with validations", f"{1000 * time / steps:.1f} ms"))
    if seconds is not None:
        found.append(("evaluation of all sets", f"{seconds:.1f} s"))
    return found
