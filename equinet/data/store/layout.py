"""What a store is made of: its fields, their units and types, and its header.

The fields are those that :class:`Frame` and :class:`Record` declare, in the order of their places.

A store is a folder of ``header.json``, ``atoms.npy`` (atoms of every frame), ``edges.npy`` where
edges were counted, and ``shards/NNNNNN.safetensors``. A shard holds the arrays of some thousand
frames one after another; ``offsets`` says where the atoms of each begin. The header is written
last: a folder without one is a conversion that has not ended.
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
        Its content.

    Raises:
        DataError: There is none, it is damaged, or it is of another format or version.
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
    """See that a header without a checksum, of an older version, has what readers ask for."""
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
    """Say whether a folder is a store, finished or begun."""
    return (folder / HEADER).is_file() or (folder / SHARDS).is_dir()


def described_fields(precision: str) -> dict[str, dict[str, Any]]:
    """Describe all fields for the header.

    Args:
        precision: ``float64`` or ``float32``, of positions and forces.

    Returns:
        By name: ``dtype``, ``shape``, ``per`` and ``unit``.
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
    """NumPy's type of a field.

    Args:
        field: Field of the layout.
        precision: ``float64`` or ``float32``, of positions and forces.
    """
    return np.dtype(precision if field.dtype == "coordinate" else field.dtype)


def checksum(array: np.ndarray, before: int = 0) -> int:
    """Compute the CRC-32 of an array's numbers.

    Args:
        array: Array of numbers, in any order in memory.
        before: Checksum of what comes before it.

    Returns:
        A number below 2³².

    Example:
        >>> checksum(np.arange(2, dtype=np.uint8)) == zlib.crc32(bytes([0, 1]))
        True
    """
    return zlib.crc32(np.ascontiguousarray(array).data, before)
