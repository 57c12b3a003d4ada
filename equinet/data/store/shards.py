"""Write frames into a shard, a safetensors file of arrays, and read them one by one."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from equinet.data.atoms import FRAME_FIELDS, Field, Frame, neighbor_list
from equinet.data.store.layout import FIELDS, OPTIONAL, checksum, dtype_of
from equinet.data.store.records import Record
from equinet.errors import DataError
from equinet.files import reading, write_bytes
from equinet.neighborhood import Neighborhood


def write_shard(
    records: Sequence[Record],
    path: Path,
    *,
    origin: str,
    precision: str = "float64",
    edges: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Write frames into a file, which appears under its name only when it is complete.

    Args:
        records: Frames with their ids; at least one.
        path: Final name of the file.
        origin: Name of the file that the frames came from.
        precision: Precision of positions and forces, ``float64`` or ``float32``.
        edges: Number of directed edges of each frame; None if they are not counted.

    Returns:
        The header's entry for the shard: ``file``, ``frames``, ``atoms``, ``elements``, ``labels``
        (number of frames with each label), ``unread`` (number of frames with each value that the
        store leaves out), ``bytes``, ``sha256``.
    """
    arrays = _packed(records, precision)
    if edges is not None:
        arrays["edges"] = np.array(edges, dtype=np.int32)
    arrays["checksums"] = _checksums(arrays)
    # Arrays that are read as a whole have checksums in "seals"; frames have checksums of their own.
    seals = [checksum(arrays[name]) for name in _sealed(arrays)]
    arrays["seals"] = np.array(seals, dtype=np.uint32)
    content = save(arrays, metadata={"origin": origin})
    write_bytes(content, path)
    return {
        "file": path.name,
        "origin": origin,
        "frames": len(records),
        "atoms": int(arrays["offsets"][-1]),
        "elements": np.unique(arrays["numbers"]).tolist(),
        "labels": {
            name: int(np.count_nonzero(arrays["present"] >> bit & 1))
            for bit, name in enumerate(OPTIONAL)
        },
        "unread": dict(Counter(name for record in records for name in record.frame.unread)),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def count_edges(frame: Frame, neighborhood: Neighborhood) -> int:
    """Count the directed edges of a frame's graph.

    Args:
        frame: Frame with or without labels.
        neighborhood: Neighborhood within which edges are counted.

    Returns:
        The number of edges.

    Raises:
        DataError: The structure is too long or too dense for a neighbor list.
    """
    edge_index, _ = neighbor_list(
        frame.positions, frame.cell, frame.pbc, neighborhood, source=frame.source
    )
    return int(edge_index.shape[1])


def check_storable(record: Record) -> None:
    """Refuse a frame with integers that are too large for the types of the store.

    Args:
        record: Record of the frame.

    Raises:
        DataError: An integer does not fit the type of its field, such as a tag above 127.
    """
    for name, field in FIELDS.items():
        value = _value(record, name)
        if value is None or field.memory.kind != "i":
            continue
        low, high, held = np.min(value), np.max(value), np.iinfo(field.dtype)
        if low < held.min or high > held.max:
            raise DataError(
                f"{record.frame.source}: {name} run from {low} to {high}, beyond the "
                f"{held.min} to {held.max} that a store holds"
            )


class Shard:
    """A shard opened for reading; each frame is loaded when it is read.

    The file contains checksums of each frame and of each array that is read as a whole; they are
    verified on reading. Files of older versions have no checksums.

    Args:
        path: Path of the file.

    Raises:
        DataError: The file is missing or truncated, or is not a shard.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path, "a shard"):
            self._file: Any = safe_open(path, "numpy")
            names = set(self._file.keys())
            self.origin = str((self._file.metadata() or {})["origin"])
            self._seals: dict[str, int] = {}
            if "seals" in names:
                seals = self._file.get_tensor("seals").tolist()
                self._seals = dict(zip(_sealed(names), seals, strict=True))
            self._slices = {name: self._file.get_slice(name) for name in FIELDS if name in names}
            self.offsets = self._whole("offsets")
            self._present = self._whole("present")
            self._checksums = self._whole("checksums") if "checksums" in names else None
            self._check()

    def __len__(self) -> int:
        return len(self._present)

    def sizes(self, name: str) -> np.ndarray:
        """Read the number of atoms or edges of every frame.

        Args:
            name: Name of the array of numbers, ``"atoms"`` or ``"edges"``.

        Returns:
            Numbers as int32 [frames].
        """
        if name == "atoms":
            return np.diff(self.offsets).astype(np.int32)
        with reading(self.path, "a shard"):
            counts = self._whole(name)
            if counts.shape != self._present.shape:
                raise ValueError(f"{name} has shape {counts.shape}")
        return counts

    def frame_values(self, name: str) -> np.ndarray:
        """Read the values of a field that has one value for each frame.

        Args:
            name: Name of a field in :data:`equinet.data.store.layout.FIELDS` that the shard has.
        """
        with reading(self.path, "a shard"):
            return self._whole(name)

    def record(self, index: int, place: str) -> Record:
        """Read one frame.

        Args:
            index: Index of the frame in the shard.
            place: Name of the structure in error messages.

        Returns:
            The record of the frame, in float64.

        Raises:
            DataError: The frame is damaged.
        """
        with reading(f"{self.path}, frame {index + 1}", "a frame"):
            return self._record(self._values(index), place)

    def _values(self, index: int) -> dict[str, Any]:
        """Read the values of a frame by field, and verify the checksum of the frame."""
        present = int(self._present[index])
        absent = {name for bit, name in enumerate(OPTIONAL) if not present >> bit & 1}
        start, stop = int(self.offsets[index]), int(self.offsets[index + 1])
        rows: dict[str, np.ndarray] = {}
        for name, stored in self._slices.items():
            per_atom = FIELDS[name].per_atom
            rows[name] = stored[start:stop] if per_atom else stored[index : index + 1]
        if self._checksums is not None and _checksum(rows) != self._checksums[index]:
            raise ValueError("its checksum does not fit: it was damaged")
        return {
            name: row if FIELDS[name].per_atom else row[0]
            for name, row in rows.items()
            if name not in absent
        }

    def _record(self, found: Mapping[str, Any], place: str) -> Record:
        values = {name: _in_memory(value, FIELDS[name]) for name, value in found.items()}
        of_frame = {name: values.pop(name) for name in FRAME_FIELDS if name in values}
        source = f"{place} ({Path(self.origin).name}, frame {values['number']})"
        return Record(Frame(**of_frame, source=source), **values)

    def _whole(self, name: str) -> np.ndarray:
        """Read an array and verify its checksum."""
        values: np.ndarray = self._file.get_tensor(name)
        if name in self._seals and checksum(values) != self._seals[name]:
            raise ValueError(f"the checksum of {name} does not fit: it was damaged")
        return values

    def _check(self) -> None:
        """Check that the arrays fit together; files of older versions have no checksums."""
        frames, offsets = len(self._present), self.offsets
        if offsets.shape != (frames + 1,) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise ValueError("its offsets do not ascend from 0, one for each frame")
        for name, stored in self._slices.items():
            rows = int(offsets[-1]) if FIELDS[name].per_atom else frames
            if tuple(stored.get_shape()) != (rows, *FIELDS[name].shape):
                raise ValueError(f"{name} has shape {stored.get_shape()}")


def _sealed(names: Iterable[str]) -> list[str]:
    """List the arrays that are read as a whole, in the order of their checksums."""
    return sorted(
        name for name in names if name != "seals" and not (name in FIELDS and FIELDS[name].per_atom)
    )


def _checksums(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute the CRC-32 of the values of each frame in all fields, in the order of the fields."""
    offsets = arrays["offsets"]
    fields = [name for name in FIELDS if name in arrays]
    found = np.zeros(len(offsets) - 1, dtype=np.uint32)
    for index, (start, stop) in enumerate(pairwise(offsets.tolist())):
        found[index] = _checksum(
            {
                name: arrays[name][start:stop]
                if FIELDS[name].per_atom
                else arrays[name][index : index + 1]
                for name in fields
            }
        )
    return found


def _checksum(rows: Mapping[str, np.ndarray]) -> int:
    found = 0
    for values in rows.values():
        found = checksum(values, found)
    return found


def _packed(records: Sequence[Record], precision: str) -> dict[str, np.ndarray]:
    frames = [record.frame for record in records]
    sizes = np.array([len(frame) for frame in frames])
    arrays = {"offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)}
    present = np.zeros(len(records), dtype=np.uint16)
    for name, field in FIELDS.items():
        dtype = dtype_of(field, precision)
        values = [_value(record, name) for record in records]
        there = np.array([value is not None for value in values])
        if not there.any():
            continue
        if name in OPTIONAL:
            present |= there.astype(np.uint16) << OPTIONAL.index(name)
        filled = [
            np.zeros(((size, *field.shape) if field.per_atom else field.shape), dtype)
            if value is None
            else np.asarray(value).astype(dtype)
            for value, size in zip(values, sizes, strict=True)
        ]
        # safetensors writes the memory in its order, even if the axes are transposed.
        arrays[name] = np.ascontiguousarray(
            np.concatenate(filled) if field.per_atom else np.stack(filled)
        )
    return {**arrays, "present": present}


def _value(record: Record, name: str) -> Any:
    return getattr(record, name) if hasattr(record, name) else getattr(record.frame, name)


def _in_memory(value: np.ndarray | np.generic, field: Field) -> Any:
    """Convert a stored value into its type in memory; a single number becomes a Python number."""
    array = value.astype(field.memory, copy=False)
    return array if field.per_atom or field.shape else array.item()
