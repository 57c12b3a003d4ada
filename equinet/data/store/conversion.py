"""Convert a source into a store with several processes; a killed conversion can be continued."""

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from io import BytesIO
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from equinet import __version__
from equinet.data.atoms import LabelKeys, Units
from equinet.data.store.layout import (
    FORMAT,
    HEADER,
    OPTIONAL,
    SHARDS,
    VERSION,
    checksum,
    described_fields,
    read_header,
)
from equinet.data.store.records import Record, Refusal
from equinet.data.store.shards import Shard, check_storable, count_edges, write_shard
from equinet.data.store.sources import Part, find_parts
from equinet.errors import DataError
from equinet.files import (
    LOCK,
    digest_of,
    hold,
    read_sealed_json,
    reading,
    remove_partials,
    write_bytes,
    write_sealed_json,
    writing,
)
from equinet.neighborhood import Neighborhood

_log = logging.getLogger(__name__)

_PLAN = "conversion.json"
_OLD_LOCK = "conversion.lock"  # name of the lock file in stores that older versions began


@dataclass(frozen=True)
class Options:
    """Options of a conversion; a conversion can be continued only with the same options.

    Attributes:
        precision: Type of stored positions and forces: ``float64`` keeps every digit, ``float32``
            halves the size of the store and rounds positions to about 2e-6 Å.
        cutoff: Cutoff radius, Å, within which edges are counted for batches that are packed by
            edges; None counts no edges.
        max_neighbors: Largest number of edges that may end at an atom, at least 1; the shortest are
            kept. None keeps all edges within the cutoff.
        tie_tolerance: Difference of squared lengths, Å², up to which edges count as equally long
            (see :class:`equinet.neighborhood.Neighborhood`); None keeps exactly ``max_neighbors``.
        keys: Names of the labels in the source; None in it looks for common names.
        units: Units of the source, which is stored in Å, eV, eV/Å and eV/Å³.

    Raises:
        DataError: A value is out of range, or ``max_neighbors`` is given without a cutoff.

    Example:
        >>> Options(cutoff=5.0, max_neighbors=20).neighborhood.max_neighbors
        20
    """

    precision: str = "float64"
    cutoff: float | None = None
    max_neighbors: int | None = None
    tie_tolerance: float | None = None
    keys: LabelKeys = field(default_factory=LabelKeys)
    units: Units = field(default_factory=Units)

    def __post_init__(self) -> None:
        if self.precision not in {"float64", "float32"}:
            raise DataError(f"precision is {self.precision!r}, neither float64 nor float32")
        if self.cutoff is None and (self.max_neighbors is not None or self.tie_tolerance):
            raise DataError(
                "max_neighbors and tie_tolerance need a cutoff within which edges are counted, "
                f"found {self.max_neighbors} and {self.tie_tolerance}; give --cutoff"
            )
        try:
            _ = self.neighborhood
        except ValueError as error:
            raise DataError(str(error)) from error

    @property
    def neighborhood(self) -> Neighborhood | None:
        """Neighborhood whose edges are counted; None if no edges are counted."""
        if self.cutoff is None:
            return None
        return Neighborhood(self.cutoff, self.max_neighbors, self.tie_tolerance)

    def described(self) -> dict[str, Any]:
        """Return the options for the header; later options only if they differ from the default."""
        described: dict[str, Any] = {
            "precision": self.precision,
            "cutoff": self.cutoff,
            "max_neighbors": self.max_neighbors,
        }
        if self.tie_tolerance is not None:
            described["tie_tolerance"] = self.tie_tolerance
        if self.keys != LabelKeys():
            described["keys"] = vars(self.keys)
        if not self.units.are_own:
            described["units"] = vars(self.units)
        return described


@dataclass(frozen=True)
class Progress:
    """Progress of a conversion.

    Attributes:
        done: Number of converted parts, including those of earlier runs.
        parts: Number of parts of the source.
        frames: Number of frames converted in this run.
        refused: Number of frames or files left out in this run.

    Example:
        >>> progress = Progress(done=3, parts=10, frames=15000, refused=1)
        >>> f"part {progress.done} of {progress.parts}"
        'part 3 of 10'
    """

    done: int
    parts: int
    frames: int
    refused: int


def convert(
    source: str | Path,
    store: str | Path,
    *,
    options: Options | None = None,
    processes: int = 1,
    skip_bad: bool = False,
    wait: bool = False,
) -> Iterator[Progress]:
    r"""Convert a source into a store.

    Every part of the source becomes one file that appears only when it is complete. The process may
    therefore be killed at any time: the same call then converts the missing parts. A complete store
    is left unchanged. The order of frames depends on the source, not on the number of processes.

    Args:
        source: File, folder or tar of frames, see :func:`equinet.data.store.find_parts`.
        store: Folder of the store.
        options: Options of the conversion; None takes the defaults.
        processes: Number of processes, at least 1.
        skip_bad: Whether frames that cannot be used are left out and listed in the header, which
            ``equinet data info`` prints; otherwise the first such frame ends the conversion.
        wait: Whether to wait for another process that converts into the same folder, as needed in a
            training with several processes; otherwise a second conversion is refused.

    Yields:
        The progress at the start and after every part.

    Raises:
        DataError: A frame cannot be used (the message names file, frame and reason), no frame is
            left to store, or the folder holds something else or another conversion.
        ConfigError: Another process converts into the folder; the message names its host and id.
        WriteError: The disk is full; once there is room, the same call continues the conversion.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "water.xyz")
        ...     _ = file.write_text("3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
        ...     [progress.frames for progress in convert(file, Path(folder, "store"))]
        [0, 1]
    """
    options = options or Options()
    parts = find_parts(source)
    folder = Path(store).expanduser()
    plan = _plan(Path(source), parts, options)
    _claim(folder)
    with hold(folder, "converts", wait=wait), writing(folder):
        if (folder / HEADER).is_file():
            if _same(read_header(folder)["source"], plan):
                _tidy(folder, len(parts))
                yield Progress(len(parts), len(parts), 0, 0)
                return
            raise DataError(
                f"{folder}: a store of another source or with other options; "
                "remove it, or give another folder"
            )
        _begin(folder, plan)
        todo = [i for i in range(len(parts)) if not _is_done(folder, i, plan)]
        done = len(parts) - len(todo)
        frames = refused = 0
        yield Progress(done, len(parts), frames, refused)
        own = digest_of(plan)
        for note in _converted(folder, parts, todo, options, own, processes, skip_bad=skip_bad):
            done += 1
            frames += note["frames"]
            refused += len(note["refused"])
            yield Progress(done, len(parts), frames, refused)
        _finish(folder, plan, len(parts), options)


def _plan(source: Path, parts: Sequence[Part], options: Options) -> dict[str, Any]:
    return {
        "name": source.resolve().name,
        "kind": type(parts[0]).__name__.removesuffix("Part"),
        "parts": [[Path(part.name).name, part.size] for part in parts],
        "options": options.described(),
    }


def _same(first: Any, second: Any) -> bool:
    return bool(json.loads(json.dumps(first)) == json.loads(json.dumps(second)))


def _claim(folder: Path) -> None:
    """Make the folder, or refuse one that holds something other than a store."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / SHARDS).is_dir() and any(path.name != LOCK for path in folder.iterdir()):
            raise DataError(f"{folder}: the folder holds something else; give another one")
        (folder / SHARDS).mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be made ({error.strerror}); give another folder"
        ) from error


def _begin(folder: Path, plan: dict[str, Any]) -> None:
    path = folder / _PLAN
    found = _read_or_warn(path, "the plan of a conversion")
    if found is None:
        write_sealed_json(plan, path)
    elif not _same(found, plan):
        raise DataError(
            f"{folder}: a conversion of another source or with other options was begun here; "
            "remove it, or give another folder"
        )
    remove_partials(folder, held=True)
    remove_partials(folder / SHARDS, held=True)
    (folder / _OLD_LOCK).unlink(missing_ok=True)


def _read_or_warn(path: Path, what: str) -> dict[str, Any] | None:
    """Read a note of a conversion; a damaged note counts as missing, so that it is made anew."""
    try:
        return read_sealed_json(path, what)
    except FileNotFoundError:
        return None
    except DataError as error:
        _log.warning("making it anew: %s", error)
        return None


def _is_done(folder: Path, index: int, plan: dict[str, Any]) -> bool:
    """Tell whether a part has been converted under this plan."""
    path = _note(folder, index)
    note = _read_or_warn(path, "the note of a shard")
    if note is None:
        return False
    try:
        with reading(path, "the note of a shard"):
            _check_note(note)
    except DataError as error:
        _log.warning("making it anew: %s", error)
        return False
    # Notes of older versions do not name their plan.
    if note.get("plan", digest_of(plan)) != digest_of(plan):
        return False
    shard = folder / SHARDS / f"{index:06d}.safetensors"
    return not note["frames"] or (shard.is_file() and shard.stat().st_size == note["bytes"])


def _check_note(note: dict[str, Any]) -> None:
    if not (isinstance(note["frames"], int) and isinstance(note["refused"], list)):
        raise TypeError(f"frames and refused are {note['frames']!r} and {note['refused']!r}")
    if note["frames"]:
        _ = (
            note["bytes"],
            note["atoms"],
            note["sha256"],
            dict(note["labels"]),
            set(note["elements"]),
        )


def _note(folder: Path, index: int) -> Path:
    return folder / SHARDS / f"{index:06d}.json"


def _converted(
    folder: Path,
    parts: Sequence[Part],
    todo: Sequence[int],
    options: Options,
    plan: str,
    processes: int,
    *,
    skip_bad: bool,
) -> Iterator[dict[str, Any]]:
    if processes < 1:
        raise DataError(f"processes must be at least 1, got {processes}")
    if min(processes, len(todo)) <= 1:
        for index in todo:
            yield _convert_part(folder, index, parts[index], options, plan, skip_bad)
        return
    # The processes are forked, as torch's loading processes are, because a new interpreter would
    # first import torch again.
    pool = ProcessPoolExecutor(
        min(processes, len(todo)), mp_context=get_context("fork"), initializer=_die_with_parent
    )
    waiting = iter(todo)
    running: set[Future[dict[str, Any]]] = set()
    try:
        while True:
            # Few parts are submitted at a time, because a queue of all parts would hold each
            # description twice.
            for index in waiting:
                running.add(
                    pool.submit(_convert_part, folder, index, parts[index], options, plan, skip_bad)
                )
                if len(running) >= 2 * processes:
                    break
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"{folder}: a converting process was killed; the same command goes on from here"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _die_with_parent() -> None:
    """End this process when its parent is killed; otherwise it would wait for work forever."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _convert_part(
    folder: Path, index: int, part: Part, options: Options, plan: str, skip_bad: bool
) -> dict[str, Any]:
    """Write a shard, and then the note that says that the shard is complete."""
    records: list[Record] = []
    edges: list[int] = []
    refused: list[dict[str, Any]] = []
    near = options.neighborhood
    for found in part.records(options.keys):
        record = (
            found
            if isinstance(found, Refusal)
            else _storable(found.converted(options.units), part.name, near, edges)
        )
        if isinstance(record, Record):
            records.append(record)
            continue
        if not skip_bad:
            raise DataError(f"{record.reason} (--skip-bad leaves it out)")
        refused.append(vars(record))
    note: dict[str, Any] = {"frames": 0}
    if records:
        note = write_shard(
            records,
            folder / SHARDS / f"{index:06d}.safetensors",
            origin=part.name,
            precision=options.precision,
            edges=edges if near is not None else None,
        )
    note |= {"refused": refused, "plan": plan}
    write_sealed_json(note, _note(folder, index))
    return note


def _storable(
    record: Record, file: str, neighborhood: Neighborhood | None, edges: list[int]
) -> Record | Refusal:
    """Count the edges of a frame if there is a neighborhood, or say why it cannot be stored."""
    try:
        check_storable(record)
        if neighborhood is not None:
            edges.append(count_edges(record.frame, neighborhood))
    except DataError as error:
        return Refusal(file, record.number, str(error))
    return record


def _finish(folder: Path, plan: dict[str, Any], parts: int, options: Options) -> None:
    """Collect the sizes of all frames and write the header, which completes the store."""
    notes = [
        read_sealed_json(_note(folder, index), "the note of a shard") for index in range(parts)
    ]
    for note in notes:
        note.pop("plan", None)
    refused = [entry for note in notes for entry in note.pop("refused")]
    shards = [note for note in notes if note["frames"]]
    if not shards:
        first = refused[0]["reason"] if refused else "the source is empty"
        raise DataError(f"{folder}: no frame is left to store; first: {first}")
    frames = sum(shard["frames"] for shard in shards)
    checksums = {}
    for name in ("atoms", "edges") if options.cutoff is not None else ("atoms",):
        found = [Shard(folder / SHARDS / shard["file"]).sizes(name) for shard in shards]
        sizes = np.concatenate(found)
        buffer = BytesIO()
        np.save(buffer, sizes, allow_pickle=False)
        write_bytes(buffer.getvalue(), folder / f"{name}.npy")
        checksums[name] = checksum(sizes)
    unread: Counter[str] = Counter()
    for shard in shards:
        unread.update(shard.pop("unread", {}))
    # Notes of an older version may lack labels that were declared later.
    labels = {name: sum(shard["labels"].get(name, 0) for shard in shards) for name in OPTIONAL}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": f"equinet {__version__}",
        "frames": frames,
        "atoms": sum(shard["atoms"] for shard in shards),
        "elements": sorted({z for shard in shards for z in shard["elements"]}),
        "labels": {name: count for name, count in labels.items() if count},
        "unread": dict(sorted(unread.items())),
        "fields": described_fields(options.precision),
        "source": plan,
        "refused": refused,
        "sizes": checksums,
        "shards": shards,
    }
    write_sealed_json(header, folder / HEADER)
    _tidy(folder, parts)


def _tidy(folder: Path, parts: int) -> None:
    """Remove what only a conversion under way needs, from a store that is whole."""
    for index in range(parts):
        _note(folder, index).unlink(missing_ok=True)
    (folder / _PLAN).unlink(missing_ok=True)
    for place in (folder, folder / SHARDS):
        remove_partials(place, held=True)
