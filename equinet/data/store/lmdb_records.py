"""Read the frames of LMDB files: OC20's pickled PyG objects, and ASE's rows in JSON.

Formats: Open Catalyst Project (``.lmdb``, keys "0", "1", ..., values pickled ``Data``) and
ase-db-backends (``.aselmdb``, keys "1", "2", ..., values zlib-compressed JSON of a database row).
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from equinet.data.atoms import (
    LABELS,
    Frame,
    LabelKeys,
    LabelNames,
    check_frame,
    full_stress,
    further_labels,
    further_names,
    truths,
    unread,
    whole,
)
from equinet.data.store.lmdb_pages import check_pages
from equinet.data.store.pickled import Value, read_data
from equinet.data.store.records import Record, Refusal
from equinet.errors import BackendError, DataError
from equinet.files import reading

# Fields of pickled objects that are read, or that can be computed from fields that are read.
_FIELDS = {
    *("pos", "atomic_numbers", "cell", "tags", "fixed", "sid", "fid"),
    *("pbc", "y_relaxed", "pos_relaxed", "natoms", "edge_index", "cell_offsets", "distances"),
    *("y_init", "y"),
}
_LARGEST_ROW = 1 << 28  # bytes of an unpacked row


@dataclass(frozen=True)
class PickledPart:
    """Consecutive entries of an LMDB file of pickled PyG objects.

    Attributes:
        path: Path of the LMDB file.
        keys: Keys of the entries.
    """

    path: Path
    keys: tuple[int, ...]

    @property
    def name(self) -> str:
        """Path of the file and range of keys."""
        return f"{self.path}, keys {self.keys[0]} to {self.keys[-1]}"

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.keys)

    def records(self, keys: LabelKeys | None = None) -> Iterator[Record | Refusal]:
        """Read the entries without running code in the pickles.

        Args:
            keys: Names of the labels; None takes ``y_init`` or ``y`` for the energy, and looks for
                common names of what is not there.
        """
        names = LabelNames(keys, required=False, settle=False)
        for key, value in _values(self.path, self.keys):
            place = f"{self.path}, frame {key + 1} (key {key})"
            try:
                yield _record_of_data(read_data(value), key + 1, place, names)
            except DataError as error:
                reason = str(error)
                reason = reason if reason.startswith(place) else f"{place}: {reason}"
                yield Refusal(str(self.path), key + 1, reason)


@dataclass(frozen=True)
class JsonPart:
    """Consecutive rows of an ``.aselmdb`` file.

    Attributes:
        path: Path of the LMDB file.
        keys: Keys of the rows.
    """

    path: Path
    keys: tuple[int, ...]

    @property
    def name(self) -> str:
        """Path of the file and range of rows."""
        return f"{self.path}, rows {self.keys[0]} to {self.keys[-1]}"

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.keys)

    def records(self, keys: LabelKeys | None = None) -> Iterator[Record | Refusal]:
        """Read the rows.

        Args:
            keys: Names of the labels in the row, its key-value pairs or its data; None looks for
                common names.
        """
        names = LabelNames(keys, required=False, settle=False)
        for key, value in _values(self.path, self.keys):
            place = f"{self.path}, frame {key}"
            try:
                yield Record(_frame_of_row(_unpacked_row(value, place), place, names), key)
            except DataError as error:
                yield Refusal(str(self.path), key, str(error))


def lmdb_parts(path: Path, *, json: bool, rows: int) -> Sequence[PickledPart | JsonPart]:
    """Divide an LMDB file into parts.

    Args:
        path: Path of the file.
        json: Whether the file is an ``.aselmdb`` file, whose values are rows in JSON.
        rows: Largest number of entries in a part.

    Returns:
        Parts in the order of keys. Entries are found by counting keys, because some files state a
        wrong length, or none.

    Raises:
        DataError: The file cannot be opened, or has no entries.
        BackendError: lmdb is not installed.
    """
    check_pages(path)
    with _transaction(path) as transaction, reading(path, "an LMDB file"):
        names = transaction.cursor().iternext(keys=True, values=False)
        # Keys with leading zeros, such as "007", cannot be read by their number.
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
            "LMDB files need lmdb, which is not installed: pip install '.[oc20]' in the clone"
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


def _record_of_data(
    data: Mapping[str, Value], number: int, place: str, names: LabelNames
) -> Record:
    for kind, key in vars(names.given).items():
        if key is not None and key not in data:
            raise DataError(f"{place}: no {kind} named {key!r}; there are {', '.join(data)}")
    pbc = _periodicity(data, place)
    for name in ("pos", "atomic_numbers", "cell"):
        if name not in data and (name != "cell" or pbc.any()):
            raise DataError(f"{place}: no {name}; there are {', '.join(data)}")
    numbers = whole(_array(data, "atomic_numbers", place), "atomic_numbers", place)
    cell = _array(data, "cell", place) if pbc.any() else np.zeros((3, 3))
    if numbers.ndim != 1 or cell.size != 9:
        raise DataError(
            f"{place}: atomic_numbers and cell have shapes {numbers.shape} and {cell.shape}"
        )
    atoms = _scalar(data, "natoms", place)
    if atoms is not None and atoms != len(numbers):
        raise DataError(f"{place}: natoms is {atoms:g}, but {len(numbers)} atoms are there")

    def per_atom(name: str | None, *, vectors: bool = False) -> np.ndarray | None:
        if name is None or name not in data:
            return None
        shape = (len(numbers), 3) if vectors else numbers.shape
        return _shaped(_array(data, name, place), shape, name, place)

    keys = _label_keys(data, len(numbers), place, names)
    stress = None
    if keys.stress is not None:
        stress = full_stress(_array(data, keys.stress, place), keys.stress, place)
    tags, fixed = per_atom("tags"), per_atom("fixed")
    read = {keys.energy, keys.forces, keys.stress} | further_names(data)
    frame = Frame(
        numbers,
        _shaped(_array(data, "pos", place), (len(numbers), 3), "pos", place),
        cell.reshape(3, 3),
        pbc,
        _scalar(data, keys.energy, place),
        per_atom(keys.forces, vectors=True),
        stress,
        None if tags is None else whole(tags, "tags", place),
        None if fixed is None else truths(fixed, "fixed", place),
        source=place,
        unread=tuple(sorted(set(data) - _FIELDS - read)),
        **further_labels(data, len(numbers), place),
    )
    check_frame(frame)
    return Record(
        frame,
        number,
        _id(data, "sid", place),
        _id(data, "fid", place),
        None,
        _scalar(data, "y_relaxed", place),
        per_atom("pos_relaxed", vectors=True),
    )


def _periodicity(data: Mapping[str, Value], place: str) -> np.ndarray:
    """Read in which directions a structure is periodic: in all of them where no field says so.

    OC20 is periodic in all directions, and its files do not say it.
    """
    if "pbc" not in data:
        return np.ones(3, dtype=bool)
    pbc = truths(_array(data, "pbc", place), "pbc", place)
    if pbc.size != 3:
        raise DataError(f"{place}: pbc has shape {pbc.shape}, not 3 values")
    return pbc.reshape(3)


def _label_keys(data: Mapping[str, Value], atoms: int, place: str, names: LabelNames) -> LabelKeys:
    """Find the names of the labels; unless it is given, OC20's energy is ``y_init`` or ``y``."""
    values = {
        name: value.numpy() if isinstance(value, Tensor) else value for name, value in data.items()
    }
    found = names.choose(values, place, atoms=atoms)
    own = next((name for name in ("y_init", "y") if name in data), None)
    if own is None or names.given.energy is not None:
        return found
    if found.energy is not None and _scalar(data, own, place) != _scalar(data, found.energy, place):
        raise DataError(
            f"{place}: {own!r} and {found.energy!r} both look like energy and differ; choose one "
            "with energy_key"
        )
    return replace(found, energy=own)


def _array(data: Mapping[str, Value], name: str, place: str) -> np.ndarray:
    value = data[name]
    array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{place}: expected numbers in {name}, found {value!r}")
    return array.astype(np.float64)


def _id(data: Mapping[str, Value], name: str, place: str) -> int:
    """Read an id: an integer, or -1 if it is missing or a string, as in other data sets."""
    if isinstance(data.get(name), str):
        return -1
    number = _scalar(data, name, place)
    return -1 if number is None else int(whole(number, name, place))


def _shaped(array: np.ndarray, shape: tuple[int, ...], what: str, place: str) -> np.ndarray:
    if array.shape != shape:
        raise DataError(f"{place}: {what} has shape {array.shape}, not {shape}")
    return array


def _scalar(data: Mapping[str, Value], name: str | None, place: str) -> float | None:
    if name is None or name not in data:
        return None
    array = _array(data, name, place)
    if array.size != 1:
        raise DataError(f"{place}: {name} has shape {array.shape}, not one number")
    return float(array.reshape(()))


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


def _frame_of_row(row: Mapping[str, Any], place: str, names: LabelNames) -> Frame:
    for name in ("numbers", "positions"):
        if row.get(name) is None:
            raise DataError(f"{place}: the row has no {name}")
    numbers = whole(_row_array(row["numbers"], place), "numbers", place)
    if numbers.ndim != 1:
        raise DataError(f"{place}: atomic numbers have shape {numbers.shape}, not one axis")
    count = len(numbers)

    def given(name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        if row.get(name) is None:
            return None
        return _shaped(_row_array(row[name], place), shape, name, place)

    positions = _shaped(_row_array(row["positions"], place), (count, 3), "positions", place)
    pbc, cell, tags = given("pbc", (3,)), given("cell", (3, 3)), given("tags", (count,))
    periodic = np.zeros(3, dtype=bool) if pbc is None else truths(pbc, "pbc", place)
    values = _row_values(row, place)
    found = names.choose(values, place, atoms=count)

    def label(name: str | None, shape: tuple[int, ...] | None) -> np.ndarray | None:
        if name is None:
            return None
        array = _row_array(values[name], place)
        return array if shape is None else _shaped(array, shape, name, place)

    energy, forces = label(found.energy, ()), label(found.forces, (count, 3))
    stress = label(found.stress, None)
    frame = Frame(
        numbers,
        positions,
        np.zeros((3, 3)) if cell is None or not periodic.any() else cell,
        periodic,
        None if energy is None else float(energy),
        forces,
        None if stress is None else full_stress(stress, found.stress or "stress", place),
        None if tags is None else whole(tags, "tags", place),
        _fixed(row.get("constraints") or [], count, place),
        source=place,
        unread=unread(values, found),
        **further_labels(values, count, place),
    )
    check_frame(frame)
    return frame


def _row_values(row: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Collect all values that may be labels: calculated values, key-value pairs and data."""
    values: dict[str, Any] = {}
    for part in (row.get("data"), row.get("key_value_pairs")):
        for name, value in part.items() if isinstance(part, Mapping) else ():
            packed = isinstance(value, dict) and "__ndarray__" in value
            values[name] = _row_array(value, place) if packed else value
    for name in LABELS:
        if row.get(name) is not None:
            values[name] = _row_array(row[name], place)
    return values


def _row_array(value: Any, place: str) -> np.ndarray:
    """Read an array in ASE's form: nested lists, or ``{"__ndarray__": [shape, dtype, flat]}``."""
    if isinstance(value, dict) and isinstance(value.get("array"), dict):
        value = value["array"]  # an ASE Cell is an object with an array
    try:
        if isinstance(value, dict):
            shape, _, flat = value["__ndarray__"]
            return np.asarray(flat, dtype=np.float64).reshape(shape)
        return np.asarray(value, dtype=np.float64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{place}: {str(value)[:60]} is no array of numbers") from error


def _fixed(constraints: Any, count: int, place: str) -> np.ndarray | None:
    """Read which atoms ``FixAtoms`` holds; None if there is no such constraint."""
    try:
        held = [c["kwargs"]["indices"] for c in constraints if c["name"] == "FixAtoms"]
        if not held:
            return None
        fixed = np.zeros(count, dtype=bool)
        for indices in held:
            fixed[whole(_row_array(indices, place), "constraints", place)] = True
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{place}: the constraints cannot be read: {constraints!r}") from error
    return fixed
