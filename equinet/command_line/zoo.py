"""``python -m equinet zoo``: list, describe, verify, export, join, import and share models."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equinet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from equinet.models import Potential

_MODEL = "a run directory, a model folder, or a name from the zoo"
_SHOWN_APART = ("schema", "class", "arguments", "units", "dtype", "parameters", "example")


def add_parser(verbs: Any) -> None:
    """Add the actions of ``zoo``, from ``list`` to ``pull``."""
    parser = verbs.add_parser(
        "zoo", help="list, describe, verify, export, join, import, share trained models"
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the models that come with equinet")
    listing.set_defaults(run=show_list)
    info = actions.add_parser("info", help="print the card of a model")
    info.add_argument("model", help=_MODEL)
    info.set_defaults(run=show_info)
    verify = actions.add_parser("verify", help="check that models are undamaged and can be loaded")
    verify.add_argument("models", nargs="*", help=f"each {_MODEL} (default: the whole zoo)")
    verify.set_defaults(run=verify_models)
    export = actions.add_parser("export", help="compile a potential into a file for torch")
    export.add_argument("model", help=_MODEL)
    export.add_argument("file", type=Path, help="file to write, ending in .pt2")
    export.add_argument("--stress", action="store_true", help="compute the stress too")
    export.add_argument("--device", default="cpu", help="device to compile for (default: cpu)")
    export.set_defaults(run=export_model)
    committee = actions.add_parser("committee", help="join potentials into their mean and spread")
    committee.add_argument("models", nargs="+", help=f"two or more, each {_MODEL}")
    committee.add_argument("--out", type=Path, required=True, help="model folder to write")
    committee.set_defaults(run=join_as_committee)
    fallback = actions.add_parser(
        "fallback",
        help="join a potential for known compositions and one for all others",
    )
    fallback.add_argument("known", help=f"potential for known compositions: {_MODEL}")
    fallback.add_argument("other", help=f"potential for all other compositions: {_MODEL}")
    fallback.add_argument(
        "--train", type=Path, required=True, help="training structures of both, a store or a file"
    )
    fallback.add_argument("--out", type=Path, required=True, help="model folder to write")
    fallback.set_defaults(run=join_as_fallback)
    imported = actions.add_parser("import", help="turn a model of another package into one of ours")
    imported.add_argument("file", type=Path, help="file of the model, such as MACE.model")
    imported.add_argument(
        "--from", dest="package", choices=["mace"], required=True, help="package that wrote it"
    )
    imported.add_argument("--head", help="head to take, if the model has several")
    imported.add_argument(
        "--out", type=Path, help="model folder to write (default: the name without its ending)"
    )
    imported.set_defaults(run=import_model)
    push = actions.add_parser("push", help="copy a model into a folder that can be shared")
    push.add_argument("model", help=_MODEL)
    push.add_argument("folder", type=Path, help="folder to write, to be uploaded as it is")
    push.set_defaults(run=push_model)
    pull = actions.add_parser("pull", help="take a shared model from a folder or the web")
    pull.add_argument(
        "source", help="model folder, or https://huggingface.co/OWNER/MODEL/resolve/main and alike"
    )
    pull.add_argument("--out", type=Path, required=True, help="model folder to write")
    pull.add_argument("--sha256", help="checksum that the weights must have (default: any)")
    pull.set_defaults(run=pull_model)


def show_list(_: argparse.Namespace) -> Iterator[str]:
    """Yield a line for each model of the zoo."""
    from equinet import zoo

    entries = zoo.list()
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        yield f"{entry.name:<{width}}  {entry.summary}"
    if not entries:
        yield "The zoo is empty so far; run directories are models too (zoo info RUN)."


def show_info(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the card of a model as indented lines.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: There is no such model, or its card is damaged.
    """
    from equinet import zoo

    card = zoo.load_card(arguments.model)
    yield _headline(card)
    for name, value in card["arguments"].items():
        yield from _lines(name, value, card["units"])
    for name, value in card.items():
        if name not in _SHOWN_APART:
            yield from _lines(name, value, card["units"])


def verify_models(arguments: argparse.Namespace) -> Iterator[str]:
    """Load models and yield a line for each that is intact.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: A model is damaged; the message says why.
    """
    from equinet import zoo

    for model in arguments.models or [entry.name for entry in zoo.list()]:
        loaded, card = zoo.load(model), zoo.load_card(model)
        line = f"{model}: whole, {_headline(card)}"
        if "example" in card:
            try:
                line += f"; {zoo.check(loaded, card['example'])}"
            except DataError as error:
                raise DataError(f"{model}: {error}") from error
        yield line


def export_model(arguments: argparse.Namespace) -> Iterator[str]:
    """Compile a potential ahead of time and yield lines on progress and result.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: There is no such model, it is not a potential, or it cannot be compiled here.
    """
    from equinet import zoo

    model = _potential(arguments.model, arguments.device)
    yield f"compiling for this machine's {arguments.device}, which takes a minute or two ..."
    zoo.export(model, arguments.file, stress=arguments.stress)
    results = "energy, forces and stress" if arguments.stress else "energy and forces"
    yield f"{arguments.file}: {results}; load it with torch._inductor.aoti_load_package"


def join_as_committee(arguments: argparse.Namespace) -> Iterator[str]:
    """Save the committee of some potentials and yield lines on the result.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: A model is not a potential, or the models cannot be joined.
    """
    from equinet.models import Committee

    potentials, origins = _members(arguments.models, arguments.out)
    try:
        committee = Committee.of(potentials)
    except ValueError as error:
        raise ConfigError(f"{', '.join(arguments.models)}: {error}") from error
    yield from _save(committee, arguments.out, {"origins": origins})


def join_as_fallback(arguments: argparse.Namespace) -> Iterator[str]:
    """Save two potentials as one that chooses by composition, and yield lines on the result.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: A model is not a potential, the models cannot be joined, or the training
            data cannot be read.
    """
    from equinet.data import FrameStore, pairs_that_meet, read_frames
    from equinet.models import Fallback

    names, train = [arguments.known, arguments.other], arguments.train
    potentials, origins = _members(names, arguments.out)
    frames = FrameStore(train) if train.is_dir() else read_frames(train, labels_required=False)
    yield f"{train}: reading which elements meet in {len(frames)} structures ..."
    pairs = pairs_that_meet(frames)
    try:
        fallback = Fallback.of(potentials[0], potentials[1], pairs)
    except ValueError as error:
        raise ConfigError(f"{', '.join(names)}, --train {train}: {error}") from error
    yield f"{len(pairs)} pairs of elements do"
    yield from _save(fallback, arguments.out, {"origins": origins, "train": str(train)})


def import_model(arguments: argparse.Namespace) -> Iterator[str]:
    """Save a model of another package as one of this package, and yield lines on the result.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: The file holds something that a model does not need, or a part of a network
            that equinet lacks, or the folder is there already.
    """
    from equinet import zoo

    out = arguments.out or arguments.file.with_suffix("")
    if out.exists():
        raise ConfigError(f"--out {out} is there already; give another folder, or remove it")
    yield f"{arguments.file}: reading, without running anything in it ..."
    model, origin = zoo.import_mace(arguments.file, head=arguments.head)
    yield from _save(model, out, origin)


def push_model(arguments: argparse.Namespace) -> Iterator[str]:
    """Copy a model into a folder that can be shared, and yield lines on the result.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: There is no such model, it is damaged, or the folder is there already.
    """
    from equinet import zoo

    folder = zoo.push(arguments.model, arguments.folder)
    yield f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}"
    yield f"SHA-256 of the weights: {zoo.load_card(folder)['sha256']}"


def pull_model(arguments: argparse.Namespace) -> Iterator[str]:
    """Take a shared model, and yield lines on the result.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: The model cannot be read, is damaged or another one, or the folder is there.
    """
    from equinet import zoo

    folder = zoo.pull(arguments.source, arguments.out, sha256=arguments.sha256)
    yield f"{folder}: whole, {_headline(zoo.load_card(folder))}"
    yield f"Next: python -m equinet.evaluate checkpoint={folder} data.file=FILE"


def _members(names: list[str], out: Path) -> tuple[list["Potential"], list[dict[str, Any]]]:
    """Load the potentials to join, which must be distinct, and the entries on their origin."""
    from equinet import zoo

    if out.exists():
        raise ConfigError(f"--out {out} is there already; give another folder, or remove it")
    potentials = [_potential(name) for name in names]
    cards = [zoo.load_card(name) for name in names]
    name_of: dict[str, str] = {}
    for name, card in zip(names, cards, strict=True):
        if card["sha256"] in name_of:
            first = name_of[card["sha256"]]
            raise ConfigError(f"{name} is the same model as {first}; give each member once")
        name_of[card["sha256"]] = name
    return potentials, [_origin(card) for card in cards]


def _save(model: "Potential", out: Path, card: Mapping[str, Any]) -> Iterator[str]:
    from equinet import zoo

    try:
        zoo.save(model, out, card)
    except OSError as error:
        raise ConfigError(
            f"--out {out} cannot be written ({error.strerror}); give another folder"
        ) from error
    members = getattr(model, "members", ())
    of = f", of {len(members)} members" if members else ""
    yield f"{out}: {_headline(zoo.load_card(out))}{of}"
    yield f"Next: python -m equinet.evaluate checkpoint={out} data.file=FILE"


def _potential(name: str, device: str = "cpu") -> "Potential":
    """Load a model that must be a potential."""
    from equinet import zoo
    from equinet.models import Potential

    model = zoo.load(name, device=device)
    if not isinstance(model, Potential):
        raise ConfigError(
            f"{name} is no potential but a {type(model).__name__}; give a model that predicts "
            "energies and forces"
        )
    return model


def _origin(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a card that say where a member came from."""
    kept = ("sha256", "equinet", "data", "command", "commit")
    return {key: card[key] for key in kept if key in card}


def _headline(card: Mapping[str, Any]) -> str:
    return f"{card['class']}, {card['parameters']:,} parameters, {card['dtype']}"


def _symbols(elements: list[int]) -> str:
    from equinet.elements import symbol

    return " ".join(symbol(number) for number in elements)


def _pairs(pairs: list[list[int]]) -> str:
    from equinet.elements import symbol

    return " ".join("-".join(symbol(number) for number in pair) for pair in pairs)


_SHOWN: Mapping[str, Callable[[Any], str]] = {"elements": _symbols, "pairs": _pairs}


def _lines(name: str, value: Any, units: Mapping[str, str], depth: int = 1) -> Iterator[str]:
    """Yield the lines of an entry: nested entries indented, numbers with their unit."""
    start = f"{'  ' * depth}{name}"
    if name in _SHOWN:
        with suppress(TypeError):  # damaged values are shown as they are
            value = _SHOWN[name](value)
    if isinstance(value, Mapping):
        yield start
        for key, item in value.items():
            yield from _lines(key, item, units, depth + 1)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for number, entry in enumerate(value, 1):
            yield from _lines(f"{name} {number}", entry, units, depth)
    else:
        unit = f" {units[name]}" if name in units else ""
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        yield f"{start:<26} {text}{unit}"
