"""``python -m equinet oc20``: evaluate, relax, and write submissions to OC20's leaderboard."""

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equinet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from equinet.data import StoredFrames
    from equinet.models import Potential

_SECONDS = 30.0  # least time between two lines of progress


def add_parser(verbs: Any) -> None:
    """Add ``oc20 evaluate`` and ``oc20 relax``."""
    parser = verbs.add_parser("oc20", help="evaluate on OC20's splits, relax, write submissions")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    evaluate = actions.add_parser("evaluate", help="print errors on each split and published ones")
    _add_common(evaluate)
    evaluate.add_argument(
        "--task",
        choices=("s2ef", "is2re"),
        default="s2ef",
        help="s2ef predicts energies and forces, is2re energies of relaxed structures from the "
        "initial ones (default: s2ef)",
    )
    evaluate.add_argument(
        "--batch-size", type=int, default=32, help="number of structures in a batch (default: 32)"
    )
    evaluate.add_argument("--submission", type=Path, help="file.npz to write the predictions to")
    evaluate.set_defaults(run=evaluate_splits)
    relax = actions.add_parser("relax", help="relax the initial structures of each split")
    _add_common(relax)
    relax.add_argument(
        "--fmax",
        type=float,
        default=0.02,
        help="force below which a relaxation has converged, eV/Å (default: 0.02)",
    )
    relax.add_argument(
        "--steps", type=int, default=300, help="largest number of steps (default: 300)"
    )
    relax.add_argument(
        "--max-atoms", type=int, default=2000, help="atoms that are relaxed at once (default: 2000)"
    )
    relax.add_argument(
        "--submission", type=Path, help="file.npz to write relaxed energies (IS2RE) to"
    )
    relax.add_argument(
        "--submission-is2rs", type=Path, help="file.npz to write relaxed structures (IS2RS) to"
    )
    relax.set_defaults(run=relax_splits)


def evaluate_splits(arguments: argparse.Namespace) -> Iterator[str]:
    """Evaluate a model on every split and yield the table; write a submission if asked.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: There is no such model or split, no structure has known elements only, or a
            structure of a submission has others.
    """
    from equinet.data import StoredDataset
    from equinet.evaluation.oc20 import (
        is2re_table,
        predict_relaxed_energies,
        predict_split,
        s2ef_table,
        write_is2re_submission,
        write_s2ef_submission,
    )

    model, stores, keys = _prepare(arguments, (arguments.submission,))
    direct = arguments.task == "is2re"
    rows: list[dict[str, Any]] = []
    predictions: dict[str, Any] = {}
    for name, folder in stores.items():
        frames = _frames(folder, arguments.most, relaxed=direct)
        frames, sentences = _of_known_elements(frames, model, name, submits=bool(keys))
        yield from sentences
        dataset = StoredDataset(frames, model.neighborhood, name=name)
        options = {"batch_size": arguments.batch_size, "device": arguments.device}
        found: Any
        if direct:
            found, errors = predict_relaxed_energies(model, dataset, **options)
        else:
            found, errors = predict_split(model, dataset, **options)
        yield f"{name}: {len(dataset)} structures{'' if errors else ', without labels'}"
        if errors:
            rows.append({"name": name, "structures": len(dataset), **errors})
        if keys:
            predictions[keys[name]] = found
    if rows:
        yield is2re_table(rows, relaxed=False) if direct else s2ef_table(rows)
    if arguments.submission:
        write: Any = write_is2re_submission if direct else write_s2ef_submission
        yield from _submit(write, arguments.submission, predictions)


def relax_splits(arguments: argparse.Namespace) -> Iterator[str]:
    """Relax every split with a model and yield a table; write submissions if asked.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: There is no such model or split, no structure has known elements only, or a
            structure of a submission has others.
    """
    from equinet.evaluation import relax
    from equinet.evaluation.oc20 import (
        gather,
        is2re_table,
        write_is2re_submission,
        write_is2rs_submission,
    )

    files = (arguments.submission, arguments.submission_is2rs)
    model, stores, keys = _prepare(arguments, files)
    rows: list[dict[str, Any]] = []
    predictions: dict[str, Any] = {}
    for name, folder in stores.items():
        frames = _frames(folder, arguments.most)
        frames, sentences = _of_known_elements(frames, model, name, submits=bool(keys))
        yield from sentences
        results, shown = [], time.monotonic()
        for result in relax(
            model,
            frames,
            fmax=arguments.fmax,
            max_steps=arguments.steps,
            max_atoms=arguments.max_atoms,
            device=arguments.device,
        ):
            results.append(result)
            if time.monotonic() - shown > _SECONDS:
                shown = time.monotonic()
                yield f"{name}: {len(results)} of {len(frames)} relaxed"
        split = gather(frames, results)
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in split.outcomes.items())
        yield f"{name}: {len(frames)} structures, {outcomes}, {split.steps:.1f} steps on average"
        yield from (f"  {sentence}" for sentence in split.diverged)
        if split.lost:
            yield f"  left out, since they have no energy: systems {', '.join(split.lost)}"
        if split.errors:
            count = len(split.predictions.ids)
            rows.append({"name": name, "structures": count, **split.errors})
        if keys:
            predictions[keys[name]] = split.predictions
    if rows:
        yield is2re_table(rows, relaxed=True)
    if arguments.submission:
        yield from _submit(write_is2re_submission, arguments.submission, predictions)
    if arguments.submission_is2rs:
        yield from _submit(write_is2rs_submission, arguments.submission_is2rs, predictions)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a run directory, a model folder, or a name from the zoo")
    parser.add_argument("stores", type=Path, help="folder of the splits' stores, or one store")
    parser.add_argument(
        "--splits", nargs="+", help="names of the stores (default: all but the training split)"
    )
    parser.add_argument(
        "--most",
        type=int,
        help="structures of each split, chosen at random (default: all)",
    )
    parser.add_argument("--device", default="cpu", help="such as cuda")


def _prepare(
    arguments: argparse.Namespace, files: tuple[Path | None, ...]
) -> tuple["Potential", dict[str, Path], dict[str, str]]:
    """Load the model, find the stores and, for submissions, the splits of the leaderboard."""
    from equinet import zoo
    from equinet.evaluation.oc20 import split_of
    from equinet.models import Potential

    model = zoo.load(arguments.model, device=arguments.device)
    if not isinstance(model, Potential):
        raise ConfigError(
            f"{arguments.model} is no potential but a {type(model).__name__}; give a model that "
            "predicts energies"
        )
    submits = any(files)
    if submits and arguments.most:
        raise ConfigError(
            "--most leaves structures out, so nothing can be submitted with it; leave it out, or "
            "--submission"
        )
    stores = _stores(arguments)
    return model, stores, {name: split_of(name) for name in stores} if submits else {}


def _stores(arguments: argparse.Namespace) -> dict[str, Path]:
    from equinet.data.store import find_splits, is_store

    if is_store(arguments.stores):
        return {arguments.stores.resolve().name: arguments.stores}
    found = find_splits(arguments.stores)
    stores = {name: path for name, path in found.items() if is_store(path)}
    names = arguments.splits or [name for name in stores if "train" not in name]
    for name in names:
        if name not in stores:
            raise DataError(
                f"{arguments.stores}: no store {name!r}; there are {', '.join(stores) or 'none'} "
                "(python -m equinet data convert makes them)"
            )
    if not names:
        raise DataError(
            f"{arguments.stores}: no store beside the training split; name stores with --splits"
        )
    return {name: stores[name] for name in names}


def _frames(folder: Path, most: int | None, *, relaxed: bool = False) -> "StoredFrames":
    import numpy as np

    from equinet.data import FrameStore, StoredFrames

    frames = StoredFrames(FrameStore(folder), relaxed=relaxed)
    if most is not None and most < len(frames):
        order = np.random.default_rng(0).permutation(len(frames))
        frames = frames.part(np.sort(order[:most]))
    return frames


def _of_known_elements(
    frames: "StoredFrames", model: "Potential", name: str, *, submits: bool
) -> "tuple[StoredFrames, list[str]]":
    """Leave out structures with elements that the model does not know, and say how many."""
    from equinet.elements import symbol

    known = frames.of_elements(model.elements)
    if len(known) == len(frames):
        return known, []
    unseen = ", ".join(map(symbol, sorted(set(frames.elements) - set(model.elements))))
    if submits or not len(known):
        which = "structures of a submission" if len(known) else "every structure"
        raise DataError(
            f"{name} holds {unseen}, which the model was not trained for, in {which}; name other "
            "splits with --splits"
        )
    left = f"{len(frames) - len(known)} of {len(frames)} structures left out"
    return known, [f"{name}: {left}, since the model was not trained for {unseen}"]


def _submit(write: Any, path: Path, predictions: Mapping[str, Any]) -> Iterator[str]:
    from equinet.evaluation.oc20 import SPLITS

    ordered = {split: predictions[split] for split in SPLITS if split in predictions}
    write(path, ordered)
    yield f"{path}: {', '.join(ordered)}, written and read back"
    missing = [split for split in SPLITS if split not in ordered]
    if missing:
        yield f"  a submission that counts also needs {', '.join(missing)}"
