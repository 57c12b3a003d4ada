"""Evaluate a model: ``python -m equinet.evaluate checkpoint=RUN_OR_ZOO_NAME data.file=FILE``."""

import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from equinet import configuration, zoo
from equinet.arguments import Count
from equinet.configuration import (
    RunDirectory,
    device_named,
    find_run,
    make_stamp,
    relative,
    write_json,
)
from equinet.data import (
    AtomicDataset,
    EnergyUnit,
    ForcesUnit,
    Frame,
    LengthUnit,
    Units,
    evaluation_loader,
    frame_to_atoms,
    official_3bpa_file,
    ordered_loader,
    read_structures,
)
from equinet.data.survey import Coverage, Remark, repeated, report
from equinet.elements import symbol
from equinet.errors import ConfigError, DataError
from equinet.evaluation import (
    LABELED_ERRORS,
    POTENTIAL_ERRORS,
    absent,
    describe,
    parity,
    published_rows,
    structure_errors,
    summarize,
    units,
)
from equinet.evaluation.report import Findings, Report, attempt_report
from equinet.files import hold, reading, remove_partials, whole_file, writing
from equinet.models import Potential
from equinet.training import Predictions, predict, table

_log = logging.getLogger("equinet.evaluate")

OPTIONS: Mapping[str, Any] = {
    "checkpoint": str,
    "output": str | None,
    "device": str,
    "batch_size": Count | None,
    "dtype": Literal["float32", "float64"] | None,
    "free_atoms_only": bool | None,
    "data.file": str | Sequence[str],
    "data.energy_key": str | None,
    "data.forces_key": str | None,
    "data.allow_zero_forces": bool,
    "data.energy_unit": EnergyUnit,
    "data.length_unit": LengthUnit,
    "data.forces_unit": ForcesUnit | None,
}
"""Options of the command that must have values of some kind."""

_NEGLIGIBLE = 1e-3  # eV; a smaller difference of an isolated atom is not worth a word
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def run(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate the model and the files that a plain configuration names.

    Writes ``metrics.json``, ``stamp.json``, ``report.html`` with the ``report.json`` that it is
    drawn from, ``parity.png``, ``errors.png`` and ``predictions.extxyz``: the labels with
    ``predicted_energy`` and ``predicted_forces``, for a committee also ``energy_spread`` and
    ``forces_spread``, for a fallback also ``familiar``. Several files are evaluated one after the
    other, each into a folder of its own, and then compared in one table.

    Args:
        tree: Plain configuration with the keys of ``configs/evaluate.yaml``.

    Returns:
        The content of ``metrics.json``; for several files, these contents by name of the file.

    Raises:
        ConfigError: There is no such model, device or precision, or two files have one name.
        DataError: The file cannot be used, or holds elements that the model was not trained for.
        EquinetError: A prediction is not finite.
    """
    configuration.check_options(tree, OPTIONS)
    given = tree["data"]["file"]
    if isinstance(given, Sequence) and not isinstance(given, str):
        return _evaluate_each(tree, [Path(str(file)).expanduser() for file in given])
    name, file = str(tree["checkpoint"]), Path(str(given)).expanduser()
    directory = find_run(name)
    model = _load(name, directory, tree["dtype"])
    dataset, remarks = _read(tree["data"], file, model)
    _say_energies_of_lone_atoms(dataset, model)
    card = zoo.load_card(directory.path if directory else name)
    _warn_of_unlike(dataset, card, file)
    if directory and directory.training_structures.is_file():
        _warn_of_training_structures(dataset, directory.training_structures, file)
    free_atoms_only = tree["free_atoms_only"]
    if free_atoms_only is None and directory and directory.config.is_file():
        with reading(directory.config, "the configuration of a run"):
            task = configuration.load_yaml(directory.config)["task"]
            free_atoms_only = task.get("free_atoms_only")
    output = _output(tree["output"], directory, file)
    with hold(output, "evaluates"), writing(output):
        remove_partials(output, held=True)
        return _evaluate(
            tree, model, dataset, output, remarks, card, free_atoms_only=bool(free_atoms_only)
        )


def _evaluate_each(tree: Mapping[str, Any], files: Sequence[Path]) -> dict[str, Any]:
    """Evaluate several files, and print their errors in one table."""
    names = [file.stem for file in files]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"data.file: {', '.join(map(str, files)) or 'an empty list'} must be files of "
            "different names, since each name is that of a folder of results"
        )
    found, output = {}, tree["output"]
    for name, file in zip(names, files, strict=True):
        own = {
            "data": {**tree["data"], "file": str(file)},
            "output": None if output is None else str(Path(str(output)) / name),
        }
        found[name] = run({**tree, **own})
    rows = [
        {"name": name, "structures": metrics["structures"], **metrics["errors"]}
        for name, metrics in found.items()
    ]
    _log.info("\nAll files")
    _log.info("%s", table(rows, []))
    return found


def _units(settings: Mapping[str, Any]) -> Units:
    return Units(*(settings[f"{name}_unit"] for name in ("energy", "length", "forces")))


def _read(
    settings: Mapping[str, Any], file: Path, model: Potential
) -> tuple[AtomicDataset, list[Remark]]:
    """Read the file, and say what it holds before anything is predicted."""
    units = _units(settings)
    frames = read_structures(
        file,
        energy_key=settings["energy_key"],
        forces_key=settings["forces_key"],
        allow_zero_forces=settings["allow_zero_forces"],
        units=units,
    )
    remarks = list(report({file.name: frames}, units))
    for remark in remarks:
        _log.log(logging.WARNING if remark.is_loud else logging.INFO, "%s", remark.text)
    frames = _of_known_elements(frames, model, file)
    dataset = AtomicDataset(frames, model.neighborhood, name=file.name, mixed_labels=True)
    return dataset, remarks


def _evaluate(
    tree: Mapping[str, Any],
    model: Any,
    dataset: AtomicDataset,
    output: Path,
    remarks: Sequence[Remark],
    card: Mapping[str, Any],
    *,
    free_atoms_only: bool,
) -> dict[str, Any]:
    """Predict, and write the files of :func:`run` into a folder that this process holds."""
    name, file = str(tree["checkpoint"]), Path(str(tree["data"]["file"])).expanduser()
    device, size = device_named(tree["device"]), tree["batch_size"]
    loader = evaluation_loader(dataset, size) if size else ordered_loader(dataset, device)
    start = time.perf_counter()
    found = predict(model, loader, device=device, free_atoms_only=free_atoms_only)
    seconds = time.perf_counter() - start
    distribution = summarize(found.per_structure, loader)
    official = official_3bpa_file(file)
    file_units = _units(tree["data"])
    fingerprint = dataset.fingerprint()
    metrics = {
        "checkpoint": name,
        "file": str(file),
        "official_name": official,
        "fingerprint": fingerprint,
        "structures": len(dataset),
        "file_units": None if file_units.are_own else file_units.describe(),
        "free_atoms_only": free_atoms_only,
        "errors": found.errors,
        "units": {key: units(POTENTIAL_ERRORS)[key] for key in found.errors},
        "per_structure": {} if distribution is None else {"forces_rmse": distribution},
    }
    write_json(metrics, output / "metrics.json")
    write_json(make_stamp(seed=None, fingerprint=fingerprint), output / "stamp.json")
    _write_predictions(dataset.frames, found, output / "predictions.extxyz")
    parity(found.parity, output / "parity.png", file.name)
    structure_errors({file.stem: found.per_structure}, output / "errors.png")
    rows = [{"name": file.stem, "structures": len(dataset), **found.errors}]
    about = f"{file} (official {official})" if official else str(file)
    _log.info("%s on %s", name, about)
    _log.info("%s", table(rows, published_rows(official or "")))
    for sentence in absent(rows, LABELED_ERRORS):
        _log.info("%s", sentence)
    if distribution is not None:
        _log.info("%s", describe(file.stem, distribution))
    attempt_report(
        lambda: Report(
            f"{type(model).__name__} on {file.stem}",
            about=_about(model, card, name, about),
            data=[remark.text.removeprefix("Data").strip() for remark in remarks],
            errors=POTENTIAL_ERRORS,
            rows=rows,
            published={file.stem: published_rows(official or "")},
            findings=[
                Findings.of(file.stem, parity=found.parity, predictions=found, loader=loader)
            ],
            timings=_timings(found, seconds, device),
            settings=list(_settings(tree)),
        ),
        output,
    )
    _log.info("Written to %s", relative(output))
    return metrics


def _about(model: Potential, card: Mapping[str, Any], name: str, file: str) -> list[str]:
    """Say which model was evaluated on which file, and what it was trained on if that is known."""
    parameters = sum(p.numel() for p in model.parameters())
    line = (
        f"{name}, a model with {parameters:,} parameters and a cutoff of {model.neighborhood}, "
        f"evaluated on {file}."
    )
    return [line, f"The model was trained on {card['data']}."] if "data" in card else [line]


def _timings(found: Predictions, seconds: float, device: torch.device) -> list[tuple[str, str]]:
    structures, atoms = len(found.atoms), int(found.atoms.sum())
    return [
        (f"energies and forces of all structures on {device}", f"{seconds:.2f} s"),
        ("one structure", f"{1000 * seconds / structures:.3g} ms"),
        ("one atom", f"{1e3 * seconds / atoms:.3g} ms"),
    ]


def _settings(tree: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the settings as they are typed on the command line."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{path}{name}.")
        else:
            yield f"{path}{name}={'null' if value is None else value}"


def _load(name: str, directory: RunDirectory | None, dtype: str | None) -> Any:
    model = zoo.load(directory.trained_model() if directory else name)
    if not isinstance(model, Potential):
        raise ConfigError(
            f"checkpoint: {name} is no potential but a {type(model).__name__}; the errors of its "
            "run are in metrics.json"
        )
    # Autograd does a fifth more work for weights that may be learned.
    model.requires_grad_(requires_grad=False)
    return model if dtype is None else model.to(_DTYPES[dtype])


def _of_known_elements(frames: Sequence[Frame], model: Potential, file: Path) -> list[Frame]:
    """Leave out structures with elements that the model was not trained for."""
    kept = [frame for frame in frames if set(frame.numbers.tolist()) <= set(model.elements)]
    if len(kept) == len(frames):
        return kept
    unseen = {z for frame in frames for z in frame.numbers.tolist()} - set(model.elements)
    names, known = (", ".join(map(symbol, sorted(found))) for found in (unseen, model.elements))
    if not kept:
        raise DataError(
            f"{file} holds {names}, which the model was not trained for ({known}), in every "
            "structure; evaluate a model that knows them"
        )
    _log.warning(
        "%s: %d of %d structures hold %s, which the model was not trained for (%s), and are left "
        "out",
        *(file.name, len(frames) - len(kept), len(frames), names, known),
    )
    return kept


def _warn_of_unlike(dataset: AtomicDataset, card: Mapping[str, Any], file: Path) -> None:
    """Say once how many structures are unlike those that the model was trained on."""
    coverage = Coverage.from_card(card)
    if coverage is None:
        return
    reasons = {frame.source: coverage.unlike(frame.numbers) for frame in dataset.frames}
    unlike = [source for source, reason in reasons.items() if reason]
    if unlike:
        _log.warning(
            "SUSPECT  %s: %d of %d structures are unlike the training set, first %s: %s; do not "
            "trust their energies",
            *(file.name, len(unlike), len(dataset), unlike[0], reasons[unlike[0]]),
        )


def _warn_of_training_structures(dataset: AtomicDataset, path: Path, file: Path) -> None:
    """Say how many structures the model was trained on."""
    with reading(path, "hashes of structures"):
        known = {row.tobytes() for row in np.load(path, allow_pickle=False)}
    count, first = repeated(dataset.frames, known)
    if count:
        _log.warning(
            "SUSPECT  %s: %d of %d structures are training structures, first %s",
            *(file.name, count, len(dataset), first),
        )


def _say_energies_of_lone_atoms(dataset: AtomicDataset, model: Potential) -> None:
    """Say how far the energies of atoms without neighbors are from their reference energies."""
    lone: set[int] = set()
    for index in range(len(dataset)):
        graph = dataset[index]
        is_lone = torch.ones_like(graph.atomic_numbers, dtype=torch.bool)
        is_lone[graph.edge_index[1]] = False
        lone |= set(graph.atomic_numbers[is_lone].tolist())
    if not lone:
        return
    frames = [
        Frame(np.array([z]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool))
        for z in sorted(lone)
    ]
    atoms = AtomicDataset(frames, model.neighborhood)
    (batch,) = evaluation_loader(atoms, len(lone))
    with torch.no_grad():
        energy = model(batch, forces=False)["energy"]
        species = model.species(batch.atomic_numbers)
        offsets = energy - model.reference_energies(species, batch.batch, len(lone))
    if offsets.abs().max() > _NEGLIGIBLE:
        found = zip(sorted(lone), offsets.tolist(), strict=True)
        listed = ", ".join(f"{symbol(z)} {offset:+.3f} eV" for z, offset in found)
        _log.warning(
            "some atoms have no neighbors; an isolated atom does not have its reference energy in "
            "this model but differs by %s, of which a shift per atom is part; where dissociation "
            "matters, train on isolated atoms too",
            listed,
        )


def _output(given: str | None, directory: RunDirectory | None, file: Path) -> Path:
    base = directory.path if directory else Path.cwd()
    output = Path(given).expanduser() if given else base / "evaluate" / file.stem
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"output: cannot make the folder {output} ({error.strerror}); give another folder"
        ) from error
    return output


def _write_predictions(frames: Sequence[Frame], found: Predictions, path: Path) -> None:
    forces = found.split(found.forces)
    spreads = None if found.forces_spread is None else found.split(found.forces_spread)
    with whole_file(path) as partial:
        for i, frame in enumerate(frames):
            atoms: Any = frame_to_atoms(frame)
            atoms.info["predicted_energy"] = float(found.energy[i])
            atoms.arrays["predicted_forces"] = forces[i]
            if spreads is not None and found.energy_spread is not None:
                atoms.info["energy_spread"] = float(found.energy_spread[i])
                atoms.arrays["forces_spread"] = spreads[i]
            if found.familiar is not None:
                atoms.info["familiar"] = bool(found.familiar[i])
            atoms.write(partial, format="extxyz", append=True)


def job(tree: dict[str, Any]) -> None:
    """Evaluate as the command line does, see :func:`run`.

    Args:
        tree: Plain configuration, see :func:`run`.
    """
    run(tree)


def main() -> None:
    """Run the command line and exit with 0, 1 (data, model), 2 (configuration) or 130 (Ctrl-C)."""
    sys.exit(configuration.command("evaluate", job))


if __name__ == "__main__":
    main()
