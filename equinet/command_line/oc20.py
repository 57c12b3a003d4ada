"""``python -m equinet oc20``: evaluate on OC20's splits and write what its leaderboard takes."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equinet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from equinet.data import StoredDataset


def add_parser(verbs: Any) -> None:
    """Add ``oc20 evaluate``."""
    parser = verbs.add_parser("oc20", help="evaluate on OC20's splits, write submissions")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    evaluate = actions.add_parser("evaluate", help="errors on each split, beside published ones")
    evaluate.add_argument("model", help="a run directory, a model folder, or a name from the zoo")
    evaluate.add_argument("stores", type=Path, help="folder of stores, one a split")
    evaluate.add_argument(
        "--splits", nargs="+", help="names of the stores; by default all but the training split"
    )
    evaluate.add_argument("--most", type=int, help="structures of each split, chosen at random")
    evaluate.add_argument("--batch-size", type=int, default=32, help="structures at a time")
    evaluate.add_argument("--device", default="cpu", help="such as cuda")
    evaluate.add_argument("--submission", type=Path, help="write the predictions to this .npz")
    evaluate.set_defaults(run=evaluate_splits)


def evaluate_splits(arguments: argparse.Namespace) -> Iterator[str]:
    """Evaluate a model on every split and yield the table; write a submission if asked.

    Raises:
        EquinetError: There is no such model or split, or a structure has an unknown element.
    """
    from equinet import zoo
    from equinet.models import Potential
    from equinet.training.oc20_evaluation import predict_split, s2ef_table, split_of
    from equinet.training.submission import SPLITS, write_s2ef_submission

    model = zoo.load(arguments.model, device=arguments.device)
    if not isinstance(model, Potential):
        raise ConfigError(f"{arguments.model} is no potential but a {type(model).__name__}")
    submission = arguments.submission
    if submission and arguments.most:
        raise ConfigError("--most leaves structures out, so nothing can be submitted with it")
    names = _names(arguments)
    keys = {name: split_of(name) for name in names} if submission else {}
    rows, predictions = [], {}
    for name in names:
        dataset = _dataset(arguments.stores / name, model.neighborhood, arguments.most)
        _refuse_unseen(dataset, set(model.elements))
        found, errors = predict_split(
            model, dataset, batch_size=arguments.batch_size, device=arguments.device
        )
        yield f"{name}: {len(dataset)} structures{'' if errors else ', without labels'}"
        if errors:
            rows.append({"name": name, "structures": len(dataset), **errors})
        if submission:
            predictions[keys[name]] = found
    if rows:
        yield s2ef_table(rows)
    if submission:
        ordered = {split: predictions[split] for split in SPLITS if split in predictions}
        write_s2ef_submission(submission, ordered)
        yield f"{submission}: {', '.join(ordered)}, written and read back"
        missing = [split for split in SPLITS if split not in ordered]
        if missing:
            yield f"  a submission that counts also needs {', '.join(missing)}"


def _names(arguments: argparse.Namespace) -> list[str]:
    from equinet.data.store import find_splits
    from equinet.data.store.layout import is_store

    found = find_splits(arguments.stores)
    stores = [name for name, path in found.items() if is_store(path)]
    names = arguments.splits or [name for name in stores if "train" not in name]
    for name in names:
        if name not in stores:
            raise DataError(
                f"{arguments.stores}: no store {name!r}; there are {', '.join(stores) or 'none'} "
                "(python -m equinet data convert makes them)"
            )
    if not names:
        raise DataError(f"{arguments.stores}: no store beside the training split")
    return list(names)


def _dataset(folder: Path, neighborhood: dict[str, Any], most: int | None) -> "StoredDataset":
    import numpy as np

    from equinet.data import FrameStore, StoredDataset, StoredFrames

    frames = StoredFrames(FrameStore(folder))
    if most is not None and most < len(frames):
        order = np.random.default_rng(0).permutation(len(frames))
        frames = frames.part(np.sort(order[:most]))
    return StoredDataset(frames, **neighborhood, name=folder.name)


def _refuse_unseen(dataset: "StoredDataset", known: set[int]) -> None:
    from equinet.elements import symbol

    unseen = sorted(set(dataset.elements) - known)
    if unseen:
        names = ", ".join(map(symbol, unseen))
        raise DataError(f"{dataset.name} holds {names}, which the model was not trained for")
