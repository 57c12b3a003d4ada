"""Copies of tables of molecules in the cache, as arrays that are read fast."""

import logging
from pathlib import Path

from equinet.data.arrays import read_array, write_array
from equinet.data.cache import cache_place
from equinet.data.molecules.molecules import Molecules
from equinet.data.molecules.qm9_tables import TABLES, TENSORS, read_tables
from equinet.errors import DataError
from equinet.files import (
    digest_of,
    hold,
    read_sealed_json,
    reading,
    write_sealed_json,
)

_log = logging.getLogger(__name__)

_RECORD = "molecules.json"
_VERSION = "qm9-v1"  # folder in the cache; another version of the arrays needs another name
_ATOMS = ("numbers", "positions", "starts")


def stored_tables(root: Path, cache: str | Path | None = None) -> tuple[Molecules, str]:
    """Read the tables of QM9 in a folder, from their copy in the cache if there is one.

    The first call reads the tables, which takes about a minute for all of QM9, and writes the copy.
    A table that has changed since, by its size or time, is read anew.

    Args:
        root: Folder of the tables, see :func:`read_tables`.
        cache: Folder of the cache; None takes the user's cache.

    Returns:
        The molecules and the checksum of :func:`read_tables`.

    Raises:
        DataError: A table is missing or broken, or the cache cannot be written.

    Example:
        >>> from equinet.data.molecules.qm9_tables import find_tables
        >>> len(stored_tables(find_tables())[0])  # doctest: +SKIP
        130831
    """
    sources = {}
    for name in (*TABLES, TENSORS):
        path = root / name
        if not path.is_file():
            raise DataError(
                f"{root}: there is no {name}; this folder must hold the CSV files of qm9pack"
            )
        sources[name] = [path.stat().st_size, path.stat().st_mtime_ns]
    folder = cache_place(f"{_VERSION}/{digest_of(str(root.resolve()))[:12]}", cache)
    try:
        return _read(folder, sources)
    except FileNotFoundError:
        _log.info("converting the tables of %s (once, about a minute for all of QM9)", root)
    except DataError as error:
        _log.warning("converting the tables of %s anew: %s", root, error)
    try:
        with hold(folder, "converts", wait=True):
            return _converted(root, folder, sources)
    except OSError as error:
        raise DataError(
            f"cannot write {folder} ({error.strerror}); give another folder as data.cache"
        ) from error


def _converted(root: Path, folder: Path, sources: dict[str, list[int]]) -> tuple[Molecules, str]:
    """Read the tables and write the copy, unless another process has done so in the meantime."""
    try:
        return _read(folder, sources)
    except (FileNotFoundError, DataError):
        pass
    molecules, checksum = read_tables(root)
    for name in _ATOMS:
        write_array(getattr(molecules, name), folder / f"{name}.npy")
    for kind, arrays in (("value", molecules.values), ("text", molecules.texts)):
        for name, array in arrays.items():
            write_array(array, folder / f"{kind}-{name}.npy")
    record = {
        "sources": sources,
        "checksum": checksum,
        "values": list(molecules.values),
        "texts": list(molecules.texts),
    }
    # The record comes last, so that a copy with a record is complete.
    write_sealed_json(record, folder / _RECORD)
    return molecules, checksum


def _read(folder: Path, sources: dict[str, list[int]]) -> tuple[Molecules, str]:
    """Read the copy, if it is one of the tables as they are now."""
    path = folder / _RECORD
    record = read_sealed_json(path, "a record of molecules")
    with reading(path, "a record of molecules"):
        if record["sources"] != sources:
            raise DataError("the tables have changed since they were converted")
        parts = {name: read_array(folder / f"{name}.npy", "an array") for name in _ATOMS}
        values, texts = (
            {name: read_array(folder / f"{kind}-{name}.npy", "an array") for name in record[key]}
            for kind, key in (("value", "values"), ("text", "texts"))
        )
        return Molecules(**parts, values=values, texts=texts), str(record["checksum"])
