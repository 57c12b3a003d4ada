"""Write NumPy files with a checksum, and read them without unpickling, after checks of size."""

import hashlib
import math
import struct
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from equinet.errors import DataError
from equinet.files import reading, write_bytes

_MARK = b"\nequinet sha256 "
_SEAL = len(_MARK) + 64
_FOLDER = 0x10  # bit of the attributes of a part of a zip file
_LARGEST = 1 << 34
"""Largest accepted size of an unpacked archive, 16 GiB: ten times the largest file of rMD17."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def write_array(array: np.ndarray, path: Path) -> None:
    """Write an array as an ``.npy`` file, followed by a SHA-256 that NumPy's readers ignore.

    Args:
        array: Array of numbers.
        path: Final name of the file, which appears when the whole content has been written.

    Raises:
        WriteError: The file cannot be written.
    """
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    write_bytes(content + _MARK + hashlib.sha256(content).hexdigest().encode(), path)


def read_array(path: Path, what: str) -> np.ndarray:
    """Read an ``.npy`` file and verify the checksum behind its content, if there is one.

    Args:
        path: File written by :func:`write_array`, or any other ``.npy`` file.
        what: Noun with its article for the expected content, such as ``"an array"``, for error
            messages.

    Returns:
        The array, which shares no memory with the file.

    Raises:
        DataError: The file is missing, damaged, or holds something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.npy")
        ...     write_array(np.arange(3), path)
        ...     read_array(path, "an array"), np.load(path)
        (array([0, 1, 2]), array([0, 1, 2]))
    """
    with reading(path, what):
        content = path.read_bytes()
        if content[-_SEAL:].startswith(_MARK):
            content, seal = content[:-_SEAL], content[-64:].decode("ascii")
            if hashlib.sha256(content).hexdigest() != seal:
                raise ValueError("its checksum does not fit: it was damaged")
        return _array_of(content)


def read_arrays(path: Path, what: str, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz`` file and verify the checksums that the format contains.

    Args:
        path: Path of the file.
        what: Noun with its article for the expected content, such as ``"a data set"``, for error
            messages.
        names: Names of the arrays to read; `None` reads all.

    Returns:
        Arrays by name.

    Raises:
        DataError: The file is missing or damaged, lacks an array, or unpacks to more than 16 GiB.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "points.npz")
        ...     np.savez(path, labels=np.arange(3), positions=np.zeros((3, 2)))
        ...     read_arrays(path, "points", ["labels"])
        {'labels': array([0, 1, 2])}
    """
    with reading(path, what), zipfile.ZipFile(path) as archive:
        _check_directory(archive)
        there = [name.removesuffix(".npy") for name in archive.namelist()]
        wanted = there if names is None else names
        missing = [name for name in wanted if name not in there]
        if missing:
            raise KeyError(f"it has no array {missing[0]}")
        members = [archive.getinfo(f"{name}.npy") for name in wanted]
        if sum(member.file_size for member in members) > _LARGEST:
            raise DataError(f"{path} unpacks to more than the {_LARGEST} bytes that are accepted")
        # zipfile reads no more than the announced size, and verifies the checksum there.
        return {
            name: _array_of(archive.read(member))
            for name, member in zip(wanted, members, strict=True)
        }


def check_archive(path: Path, what: str) -> None:
    """Verify the checksums of all parts of a zip file, such as a file written by ``torch.save``.

    Args:
        path: Path of the file.
        what: Noun with its article for the expected content, such as ``"a model"``, for error
            messages.

    Raises:
        DataError: The file is missing, or a part is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "points.npz")
        ...     np.savez(path, labels=np.arange(3))
        ...     check_archive(path, "points")
    """
    with reading(path, what), zipfile.ZipFile(path) as archive:
        _check_directory(archive)
        for part in archive.infolist():
            # zipfile ignores the mark; torch returns stray memory for such a part.
            if part.external_attr & _FOLDER and not part.is_dir():
                raise ValueError(f"its part {part.filename} is marked as a folder")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its part {damaged} does not fit its checksum; get the file again")


def _check_directory(archive: zipfile.ZipFile) -> None:
    """Refuse an archive whose directory lacks parts at either end, which zipfile believes."""
    parts, file = archive.infolist(), archive.fp
    if not parts or file is None:
        raise ValueError("its directory is empty")
    last = max(parts, key=lambda part: part.header_offset)
    file.seek(last.header_offset + 26)
    end = last.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))) + last.compress_size
    # A data descriptor of up to 24 bytes may stand between the last part and the directory.
    if min(part.header_offset for part in parts) or not 0 <= archive.start_dir - end <= 24:
        raise ValueError("its directory lacks a part")


def _array_of(content: bytes) -> np.ndarray:
    """Decode the content of an ``.npy`` file after comparing its size with its header."""
    stream = BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"its format is {version}, not one of {', '.join(map(str, _HEADERS))}")
    try:
        shape, fortran, dtype = _HEADERS[version](stream)
    except (SyntaxError, struct.error) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    start, count = stream.tell(), math.prod(shape)
    announced = start + count * dtype.itemsize
    # A content longer than announced is an array followed by a damaged checksum.
    if count < 0 or announced != len(content):
        raise ValueError(f"it has {len(content)} bytes and announces {announced}")
    if not count:
        return np.empty(shape, dtype)
    values: np.ndarray[Any, Any] = np.frombuffer(content, dtype, count, start).copy()
    return values.reshape(shape, order="F" if fortran else "C")
