"""Layout of a store: its fields, their units and types, and its header.

The fields are those that :class:`Frame` and :class:`Record` declare, ordered by their places.

A store is a folder with ``header.json``, ``atoms.npy`` (the number of atoms of every frame),
``edges.npy`` (the number of edges of every frame, if edges were counted), and
``shards/NNNNNN.safetensors``. A shard holds the concatenated arrays of some thousand frames; its
array ``offsets`` holds the index of the first atom of each frame. The header is written last: a
folder without a header is a conversion that is not complete.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from equinet.data.atoms import FRAME_FIELDS, Field, declared_fields
from equinet.data.store.records import Record
from equinet.errors import DataError
from equinet.files import read_sealed_json, reading

FORMAT = "equinet frame store"
VERSION = 1
HEADER = "header.json"
SHARDS = "shards"


FIELDS: Mapping[str, Field] = dict(
    sorted({**FRAME_FIELDS, **declared_fields(Record)}.items(), key=lambda item: item[1].place)
)
OPTIONAL = tuple(name for name, field in FIELDS.items() if field.optional)


def read_header(folder: Path) -> dict[str, Any]:
    """Read and check the header of a store.

    Args:
        folder: Folder of the store.

    Returns:
        The content of the header.

    Raises:
        DataError: The header is missing or damaged, or has another format or version.
    """
    path = folder / HEADER
    try:
        header = read_sealed_json(path, "the header of a frame store")
    except FileNotFoundError:
        begun = (folder / SHARDS).is_dir()
        hint = (
            "its conversion has not ended: repeat it"
            if begun
            else "no store is there; make one with python -m equinet data convert"
        )
        raise DataError(f"{folder}: no {HEADER}; {hint}") from None
    if header.get("format") != FORMAT:
        raise DataError(f"{path}: not the header of a frame store")
    if header.get("version") != VERSION:
        raise DataError(
            f"{path}: version {header.get('version')!r}; this equinet reads version {VERSION}"
        )
    with reading(path, "the header of a frame store"):
        _check_header(header)
    return header


def _check_header(header: Mapping[str, Any]) -> None:
    """Check the keys and types of a header; headers of older versions have no checksum."""
    kinds = {"file": str, "origin": str, "frames": int, "bytes": int, "sha256": str}
    for note in header["shards"]:
        for key, kind in kinds.items():
            if not isinstance(note[key], kind):
                raise TypeError(f"{key} of a shard is {note[key]!r}")
        if note["frames"] < 1 or Path(note["file"]).name != note["file"]:
            raise ValueError(f"a shard of {note['frames']} frames in {note['file']!r}")
        _ = frozenset(note["elements"])
    _ = header["source"]["options"]["cutoff"], tuple(header["elements"]), dict(header["labels"])
    if not header["shards"]:
        raise ValueError("it names no shards")


def is_store(folder: Path) -> bool:
    """Tell whether a folder is a store or contains an unfinished conversion.

    Args:
        folder: Path of any folder.

    Example:
        >>> is_store(Path("no such folder"))
        False
    """
    return (folder / HEADER).is_file() or (folder / SHARDS).is_dir()


def described_fields(precision: str) -> dict[str, dict[str, Any]]:
    """Describe all fields in the form of the header.

    Args:
        precision: Type of stored positions and forces, ``float64`` or ``float32``.

    Returns:
        For each field: ``dtype``, ``shape``, ``per`` (atom or frame) and ``unit``.
    """
    return {
        name: {
            "dtype": dtype_of(field, precision).name,
            "shape": list(field.shape),
            "per": "atom" if field.per_atom else "frame",
            "unit": field.unit,
        }
        for name, field in FIELDS.items()
    }


def dtype_of(field: Field, precision: str) -> np.dtype[Any]:
    """Return the NumPy type in which a field is stored.

    Args:
        field: Field of the layout.
        precision: Type of stored positions and forces, ``float64`` or ``float32``.
    """
    return np.dtype(precision if field.dtype == "coordinate" else field.dtype)


def checksum(array: np.ndarray, before: int = 0) -> int:
    """Compute the CRC-32 of an array's numbers.

    Args:
        array: Array of numbers, in any order in memory.
        before: Checksum of the data before the array; 0 if there are none.

    Returns:
        The checksum, an integer below 2³².

    Example:
        >>> checksum(np.arange(2, dtype=np.uint8)) == zlib.crc32(bytes([0, 1]))
        True
    """
    return zlib.crc32(np.ascontiguousarray(array).data, before)
