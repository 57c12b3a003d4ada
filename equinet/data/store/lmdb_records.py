"""Frames of LMDB files: OC20's pickled PyG objects, and ASE's rows in JSON.

Formats: Open Catalyst Project (``.lmdb``, keys "0", "1", ..., values pickled ``Data``) and
ase-db-backends (``.aselmdb``, keys "1", "2", ..., values zlib-compressed JSON of a database row).
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from equinet.data.atoms import Frame, check_frame
from equinet.data.store.lmdb_pages import check_pages
from equinet.data.store.pickled import Value, read_data
from equinet.data.store.records import Record, Refusal
from equinet.errors import BackendError, DataError
from equinet.files import reading

_LARGEST_ROW = 1 << 28  # bytes that a compressed row may unpack to


@dataclass(frozen=True)
class PickledPart:
    """Consecutive entries of an LMDB of pickled PyG objects.

    Attributes:
        path: The LMDB file.
        keys: Of the entries.
    """

    path: Path
    keys: tuple[int, ...]

    @property
    def name(self) -> str:
        """The path, and which entries."""
        return f"{self.path}, keys {self.keys[0]} to {self.keys[-1]}"

    @property
    def size(self) -> int:
        """Entries."""
        return len(self.keys)

    def records(self) -> Iterator[Record | Refusal]:
        """Read the entries through the list of allowed names."""
        for key, value in _values(self.path, self.keys):
            place = f"{self.path}, frame {key + 1} (key {key})"
            try:
                yield _record_of_data(read_data(value), key + 1, place)
            except DataError as error:
                reason = str(error)
                reason = reason if reason.startswith(place) else f"{place}: {reason}"
                yield Refusal(str(self.path), key + 1, reason)


@dataclass(frozen=True)
class JsonPart:
    """Consecutive rows of an ``aselmdb``.

    Attributes:
        path: The LMDB file.
        keys: Of the rows.
    """

    path: Path
    keys: tuple[int, ...]

    @property
    def name(self) -> str:
        """The path, and which rows."""
        return f"{self.path}, rows {self.keys[0]} to {self.keys[-1]}"

    @property
    def size(self) -> int:
        """Rows."""
        return len(self.keys)

    def records(self) -> Iterator[Record | Refusal]:
        """Read the rows."""
        for key, value in _values(self.path, self.keys):
            place = f"{self.path}, frame {key}"
            try:
                yield Record(_frame_of_row(_unpacked_row(value, place), place), key)
            except DataError as error:
                yield Refusal(str(self.path), key, str(error))


def lmdb_parts(path: Path, *, json: bool, rows: int) -> Sequence[PickledPart | JsonPart]:
    """Divide an LMDB file.

    Args:
        path: The file.
        json: Whether it is an ``aselmdb``.
        rows: Most entries in a part.

    Returns:
        Parts in the order of keys. The keys themselves are counted: files give a wrong length, or
        none.

    Raises:
        DataError: The file cannot be opened, or has no entries.
        BackendError: lmdb is not installed.
    """
    check_pages(path)
    with _transaction(path) as transaction, reading(path, "an LMDB file"):
        names = transaction.cursor().iternext(keys=True, values=False)
        # "007" is no key that anybody asks for.
        keys = sorted(int(name) for name in names if name.isdigit() and name == b"%d" % int(name))
    if not keys:
        raise DataError(f"{path}: the LMDB holds no structures")
    kind = JsonPart if json else PickledPart
    return [kind(path, tuple(keys[i : i + rows])) for i in range(0, len(keys), rows)]


@contextmanager
def _transaction(path: Path) -> Iterator[Any]:
    try:
        import lmdb
    except ImportError as error:
        raise BackendError(
            "LMDB files need lmdb, which is not installed: pip install 'equinet[oc20]'"
        ) from error
    try:
        environment = lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, readahead=False, create=False
        )
    except lmdb.Error as error:
        raise DataError(f"{path}: cannot be opened as an LMDB: {error}") from error
    with environment, environment.begin() as transaction:
        yield transaction


def _values(path: Path, keys: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    with _transaction(path) as transaction:
        for key in keys:
            with reading(f"{path}, key {key}", "an entry of an LMDB file"):
                value = transaction.get(str(key).encode())
                if value is None:
                    raise KeyError("it is not there")
                content = bytes(value)
            yield key, content


def _record_of_data(data: Mapping[str, Value], number: int, place: str) -> Record:
    for name in ("pos", "atomic_numbers", "cell"):
        if name not in data:
            raise DataError(f"{place}: no {name}; there are {', '.join(data)}")
    numbers, cell = _array(data["atomic_numbers"]), _array(data["cell"])
    if numbers.ndim != 1 or cell.size != 9:
        raise DataError(
            f"{place}: atomic_numbers and cell have shapes {numbers.shape} and {cell.shape}"
        )

    def per_atom(*names: str, vectors: bool = False) -> np.ndarray | None:
        shape = (len(numbers), 3) if vectors else numbers.shape
        for name in names:
            if name in data:
                return _shaped(_array(data[name]), shape, name, place)
        return None

    positions = _shaped(_array(data["pos"]), (len(numbers), 3), "pos", place)
    tags, fixed = per_atom("tags"), per_atom("fixed")
    frame = Frame(
        numbers.astype(np.int64),
        positions,
        cell.reshape(3, 3),
        np.ones(3, dtype=bool),  # OC20 is periodic everywhere and does not say so
        _scalar(data, ("y_init", "y", "energy"), place),
        per_atom("force", "forces", vectors=True),
        None,
        None if tags is None else tags.astype(np.int64),
        None if fixed is None else fixed != 0,
        place,
    )
    check_frame(frame)
    system, step = _scalar(data, ("sid",), place), _scalar(data, ("fid",), place)
    return Record(
        frame,
        number,
        -1 if system is None else int(system),
        -1 if step is None else int(step),
        None,
        _scalar(data, ("y_relaxed",), place),
        per_atom("pos_relaxed", vectors=True),
    )


def _array(value: Value) -> np.ndarray:
    array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DataError(f"expected numbers, found {value!r}")
    return array.astype(np.float64)


def _shaped(array: np.ndarray, shape: tuple[int, ...], what: str, place: str) -> np.ndarray:
    if array.shape != shape:
        raise DataError(f"{place}: {what} has shape {array.shape}, not {shape}")
    return array


def _scalar(data: Mapping[str, Value], names: Sequence[str], place: str) -> float | None:
    for name in names:
        if name in data:
            array = _array(data[name])
            if array.size != 1:
                raise DataError(f"{place}: {name} has shape {array.shape}, not one number")
            return float(array.reshape(()))
    return None


def _unpacked_row(value: bytes, place: str) -> Mapping[str, Any]:
    unpacker = zlib.decompressobj()
    with reading(place, "a compressed JSON row"):
        text = unpacker.decompress(value, _LARGEST_ROW)
        if not unpacker.eof and not unpacker.unconsumed_tail:
            raise EOFError("it is cut short")
        row = json.loads(text)
    if unpacker.unconsumed_tail or not isinstance(row, dict):
        raise DataError(f"{place}: the row is no JSON object of at most {_LARGEST_ROW} bytes")
    return row


def _frame_of_row(row: Mapping[str, Any], place: str) -> Frame:
    for name in ("numbers", "positions"):
        if row.get(name) is None:
            raise DataError(f"{place}: the row has no {name}")
    given_numbers = _row_array(row["numbers"], place)
    numbers = given_numbers.astype(np.int64)
    if not np.array_equal(numbers, given_numbers):
        raise DataError(f"{place}: numbers are not whole: {str(row['numbers'])[:60]}")
    if numbers.ndim != 1:
        raise DataError(f"{place}: numbers has shape {numbers.shape}")
    count = len(numbers)

    def given(name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        if row.get(name) is None:
            return None
        return _shaped(_row_array(row[name], place), shape, name, place)

    positions = _shaped(_row_array(row["positions"], place), (count, 3), "positions", place)
    pbc, cell, tags = given("pbc", (3,)), given("cell", (3, 3)), given("tags", (count,))
    periodic = np.zeros(3, dtype=bool) if pbc is None else pbc.astype(bool)
    energy = given("energy", ())
    stress = None if row.get("stress") is None else _row_array(row["stress"], place)
    frame = Frame(
        numbers,
        positions,
        np.zeros((3, 3)) if cell is None or not periodic.any() else cell,
        periodic,
        None if energy is None else float(energy),
        given("forces", (count, 3)),
        None if stress is None else _full(stress, place),
        None if tags is None else tags.astype(np.int64),
        _fixed(row.get("constraints") or [], count, place),
        place,
    )
    check_frame(frame)
    return frame


def _row_array(value: Any, place: str) -> np.ndarray:
    """An array as ASE writes it: nested lists, or ``{"__ndarray__": [shape, dtype, flat]}``."""
    if isinstance(value, dict) and isinstance(value.get("array"), dict):
        value = value["array"]  # a Cell, which wraps its array
    try:
        if isinstance(value, dict):
            shape, _, flat = value["__ndarray__"]
            return np.asarray(flat, dtype=np.float64).reshape(shape)
        return np.asarray(value, dtype=np.float64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{place}: {str(value)[:60]} is no array of numbers") from error


def _full(stress: np.ndarray, place: str) -> np.ndarray:
    if stress.shape == (3, 3):
        return stress
    if stress.shape != (6,):
        raise DataError(f"{place}: stress has shape {stress.shape}, neither 6 nor 3 by 3")
    xx, yy, zz, yz, xz, xy = stress
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _fixed(constraints: Any, count: int, place: str) -> np.ndarray | None:
    """Atoms that ``FixAtoms`` holds; None where there are no constraints."""
    try:
        held = [c["kwargs"]["indices"] for c in constraints if c["name"] == "FixAtoms"]
        if not held:
            return None
        fixed = np.zeros(count, dtype=bool)
        for indices in held:
            fixed[_row_array(indices, place).astype(np.int64)] = True
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{place}: the constraints cannot be read: {constraints!r}") from error
    return fixed
