"""``python -m equinet data``: convert sets of structures into stores, describe and check them."""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equinet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from equinet.data import Frame, LabelKeys, Units
    from equinet.data.store import FrameStore

_SOURCE = (
    "S2EF folder or tar, .lmdb, .aselmdb, ASE database, extxyz, or a folder of several S2EF splits"
)
_SHOWN = 10  # number of refused frames that info names
_SURVEYED = 1000  # largest number of frames of a source that info reads
_SECONDS = 10.0  # least time between two lines of progress


def add_parser(verbs: Any) -> None:
    """Add ``data convert``, ``data info`` and ``data lint``."""
    parser = verbs.add_parser("data", help="convert, describe and check sets of structures")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    convert = actions.add_parser("convert", help="convert structures into a store")
    convert.add_argument("source", type=Path, help=_SOURCE)
    convert.add_argument(
        "store", type=Path, help="folder of the store; repeat the command to resume a conversion"
    )
    convert.add_argument(
        "--processes", type=int, help="number of reading processes (default: one for each core)"
    )
    convert.add_argument(
        "--skip-bad", action="store_true", help="leave out and list frames that cannot be used"
    )
    convert.add_argument(
        "--cutoff", type=float, help="cutoff radius, Å, to count edges for max_edges in training"
    )
    convert.add_argument(
        "--max-neighbors", type=int, help="largest number of edges that end at an atom"
    )
    convert.add_argument(
        "--tie-tolerance",
        type=float,
        help="difference of squared lengths, Å², up to which edges count as equally long",
    )
    _add_keys(convert)
    _add_units(convert)
    convert.add_argument(
        "--precision",
        choices=("float64", "float32"),
        default="float64",
        help="type of positions and forces (default: float64); float32 halves the store and rounds "
        "positions to about 2e-6 Å",
    )
    convert.set_defaults(run=convert_source)
    info = actions.add_parser("info", help="describe the content of a store or source")
    info.add_argument("sources", type=Path, nargs="+", help=f"stores, or {_SOURCE}")
    _add_units(info)
    info.set_defaults(run=show_info)
    lint = actions.add_parser("lint", help="list frames that would spoil a training")
    lint.add_argument("sources", type=Path, nargs="+", help=f"stores, or {_SOURCE}")
    lint.add_argument(
        "--largest-force",
        type=float,
        default=50.0,
        help="list frames with a larger force, eV/Å (default: 50)",
    )
    lint.add_argument(
        "--closest",
        type=float,
        default=0.5,
        help="list frames with atoms closer than this, Å (default: 0.5)",
    )
    _add_keys(lint)
    _add_units(lint)
    lint.set_defaults(run=lint_source)


def _add_keys(parser: argparse.ArgumentParser) -> None:
    for label in ("energy", "forces", "stress"):
        parser.add_argument(
            f"--{label}-key",
            metavar="NAME",
            help=f"name of the {label} in the source (default: common names)",
        )


def _keys(arguments: argparse.Namespace) -> "LabelKeys":
    from equinet.data import LabelKeys

    return LabelKeys(arguments.energy_key, arguments.forces_key, arguments.stress_key)


def _add_units(parser: argparse.ArgumentParser) -> None:
    for name, own in (("energy", "eV"), ("length", "angstrom"), ("forces", "energy per length")):
        parser.add_argument(
            f"--{name}-unit",
            metavar="UNIT",
            help=f"unit of the {name} in the source, which is converted (default: {own})",
        )


def _units(arguments: argparse.Namespace) -> "Units":
    from equinet.configuration import mistake, option_table

    given = {name: getattr(arguments, f"{name}_unit") for name in ("energy", "length", "forces")}
    for name, unit in given.items():
        # The table answers before the slow import below.
        allowed = option_table()["equinet.evaluate"][f"data.{name}_unit"]
        if reason := mistake(unit, allowed):
            raise ConfigError(f"--{name}-unit: {reason}")
    from equinet.data import Units

    return Units(**{name: unit for name, unit in given.items() if unit is not None})


def convert_source(arguments: argparse.Namespace) -> Iterator[str]:
    """Convert a source, or each split in a folder, and yield lines on progress and results.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: A frame cannot be used, or the source cannot be read.
    """
    _check_there(arguments.source)  # before the slow imports of what follows
    units = _units(arguments)
    for name, source in _sources(arguments.source).items():
        store = arguments.store / name if name else arguments.store
        yield from _convert(source, store, arguments, units)


def show_info(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield lines that describe stores or sources.

    Args:
        arguments: Parsed command line.

    Raises:
        EquinetError: The store or source cannot be read.
    """
    sources, units = _each_of(arguments.sources), _units(arguments)
    from equinet.data.store import FrameStore, find_parts, is_store

    for number, source in enumerate(sources):
        if number:
            yield ""
        if is_store(source):
            yield from _describe(FrameStore(source))
            continue
        parts = find_parts(source)
        kind = type(parts[0]).__name__.removesuffix("Part")
        yield f"{source}: {_count(len(parts), 'part')} of kind {kind}, not converted yet"
        yield f"  first                    {parts[0].name}"
        found = _first_frames(source, units)
        some = f"first {_SURVEYED} frames" if len(found) == _SURVEYED else source.name
        yield from _survey(some, found, units)


def _first_frames(source: Path, units: "Units") -> "list[Frame]":
    """Read the frames of a source that can be used, up to a number."""
    from equinet.data import LabelKeys, records_of
    from equinet.data.store import Record

    frames: list[Frame] = []
    for record in records_of(source, LabelKeys(), units):
        if isinstance(record, Record):
            frames.append(record.frame)
        if len(frames) == _SURVEYED:
            break
    return frames


def _survey(name: str, frames: "Sequence[Frame]", units: "Units | None" = None) -> Iterator[str]:
    """Yield what the frames are, and what is implausible about them."""
    from equinet.data.survey import report

    if len(frames):
        yield from (remark.text for remark in report({name: frames}, units))


def lint_source(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield a line for each frame that training could not use, or should not.

    Args:
        arguments: Parsed command line.

    Raises:
        DataError: There were findings, which sets the exit code of the command.
        EquinetError: The source cannot be read.
    """
    sources, units = _each_of(arguments.sources), _units(arguments)
    from equinet.data import records_of
    from equinet.data.store import Lint

    total = 0
    for source in sources:
        lint = Lint(arguments.largest_force, arguments.closest)
        for damage in _damage(source):
            lint.findings += 1
            yield damage
        yield from lint.look(records_of(source, _keys(arguments), units))
        yield from lint.conclude()
        yield f"{source}: {_count(lint.frames, 'frame')}, {_count(lint.findings, 'finding')}"
        total += lint.findings
    if total:
        place = ", ".join(map(str, arguments.sources))
        raise DataError(f"{place}: {_count(total, 'finding')}, listed above")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _check_there(source: Path) -> None:
    if not source.exists():
        raise DataError(
            f"{source}: not there; name a store, a folder or tar of S2EF pairs, an LMDB file or a "
            "file of frames"
        )


def _sources(source: Path) -> dict[str, Path]:
    """Return the splits of a folder of splits by name; any other source under an empty name."""
    _check_there(source)
    from equinet.data.store import find_splits, is_store, s2ef_pairs

    if source.is_dir() and not is_store(source) and not s2ef_pairs(source):
        splits: dict[str, Path] = find_splits(source)
        if splits:
            return splits
    return {"": source}


def _each_of(sources: Sequence[Path]) -> list[Path]:
    return [each for source in sources for each in _sources(source).values()]


def _convert(
    source: Path, store: Path, arguments: argparse.Namespace, units: "Units"
) -> Iterator[str]:
    from equinet.data.store import FrameStore, Options, convert

    options = Options(
        arguments.precision,
        arguments.cutoff,
        arguments.max_neighbors,
        arguments.tie_tolerance,
        _keys(arguments),
        units,
    )
    processes = arguments.processes or len(os.sched_getaffinity(0))
    start = shown = time.monotonic()
    frames = refused = 0
    for progress in convert(
        source, store, options=options, processes=processes, skip_bad=arguments.skip_bad
    ):
        frames, refused, now = progress.frames, progress.refused, time.monotonic()
        if now - shown > _SECONDS:
            shown = now
            rate = frames / (now - start)
            yield f"{store}: part {progress.done} of {progress.parts}, {rate:.0f} frames/s"
    seconds = time.monotonic() - start
    whole = FrameStore(store)
    if frames or refused:
        yield f"{store}: {frames} frames in {seconds:.1f} s, {frames / seconds:.0f} frames/s"
    else:
        yield f"{store}: whole already, {len(whole)} frames"
    yield from _labels(whole)
    if left_out := len(whole.header["refused"]):
        yield f"{store}: {left_out} frames or files left out; {_hint(store)} names them"


def _labels(store: "FrameStore") -> Iterator[str]:
    """Yield which labels the store holds, and which other properties the source has."""
    found = {name: count for name, count in store.labels.items() if name not in {"tags", "fixed"}}
    labels = ", ".join(
        name if count == len(store) else f"{name} of {count}" for name, count in found.items()
    )
    yield f"{store.folder}: labels of {len(store)} frames: {labels or 'none'}"
    if store.unread:
        names = ", ".join(list(store.unread)[:_SHOWN])
        more = f" and {len(store.unread) - _SHOWN} more" if len(store.unread) > _SHOWN else ""
        yield (
            f"{store.folder}: the source also has {names}{more}, none of it read; "
            "--energy-key, --forces-key and --stress-key name labels"
        )


def _hint(store: Path) -> str:
    return f"python -m equinet data info {store}"


def _describe(store: "FrameStore") -> Iterator[str]:
    from equinet.elements import symbol

    header = store.header
    size = sum(shard["bytes"] for shard in header["shards"])
    yield f"{store.folder}: {len(store)} frames"
    yield f"  atoms                    {header['atoms']}; {_spread(store.atoms)} a frame"
    near = store.neighborhood
    if store.edges is not None:
        yield f"  edges                    {_spread(store.edges)} a frame within {near}"
    yield f"  elements                 {' '.join(symbol(z) for z in store.elements)}"
    for name, count in store.labels.items():
        field = header["fields"][name]
        there = "all" if count == len(store) else f"{count} frames"
        yield f"  {name:<24} {there}, {field['dtype']} {field['unit']}".rstrip()
    if not {"energy", "relaxed_energy"} & set(store.labels):
        yield "  energy                   none"
    if store.unread:
        yield f"  not read                 {', '.join(store.unread)}"
    if store.labels.get("energy") == len(store):
        energies = store.values("energy")
        yield f"  mean energy              {energies.mean():.4f} ± {energies.std():.4f} eV"
    yield f"  shards                   {len(header['shards'])}, {size / 1e6:.1f} MB"
    source = header["source"]
    yield f"  made from                {source['name']} ({source['kind']}), {header['written_by']}"
    yield from _survey("all frames", store)
    refused = header["refused"]
    if refused:
        yield f"  left out                 {len(refused)}"
        for entry in refused[:_SHOWN]:
            yield f"    {entry['reason']}"
        if len(refused) > _SHOWN:
            yield f"    and {len(refused) - _SHOWN} more in header.json"


def _spread(sizes: Any) -> str:
    return f"{sizes.min()} to {sizes.max()}, mean {sizes.mean():.1f}"


def _damage(source: Path) -> Iterator[str]:
    from equinet.data.store import FrameStore, is_store

    if is_store(source):
        yield from FrameStore(source).damaged_shards()
