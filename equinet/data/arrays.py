"""NumPy files: written whole with a checksum, read with their sizes checked and never unpickled."""

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
_LARGEST = 1 << 34
"""Most bytes that a packed array may unpack to, 16 GiB: ten times the largest file of rMD17."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def write_array(array: np.ndarray, path: Path) -> None:
    """Write an array as ``.npy`` with its SHA-256 behind it, where NumPy's readers do not look.

    Args:
        array: Array of numbers.
        path: Final name of the file, which appears once it is whole.

    Raises:
        WriteError: The file cannot be written.
    """
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    write_bytes(content + _MARK + hashlib.sha256(content).hexdigest().encode(), path)


def read_array(path: Path, what: str) -> np.ndarray:
    """Read an ``.npy`` file and compare it with its checksum, where it has one.

    Args:
        path: File by :func:`write_array`, or any other ``.npy`` file.
        what: Noun of what should be in it, with its article.

    Returns:
        The array, in memory of its own.

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
    """Read arrays of an ``.npz`` file; the format's own checksums are compared.

    Args:
        path: Path of the file.
        what: Noun of what should be in it, with its article.
        names: Names of the arrays to read; `None` reads all.

    Returns:
        Arrays by name.

    Raises:
        DataError: The file is missing or damaged, lacks an array, or unpacks to more than 16 GiB.
    """
    with reading(path, what), zipfile.ZipFile(path) as archive:
        there = [name.removesuffix(".npy") for name in archive.namelist()]
        wanted = there if names is None else names
        missing = [name for name in wanted if name not in there]
        if missing:
            raise KeyError(f"it has no array {missing[0]}")
        members = [archive.getinfo(f"{name}.npy") for name in wanted]
        if sum(member.file_size for member in members) > _LARGEST:
            raise DataError(f"{path} unpacks to more than the {_LARGEST} bytes that are accepted")
        # Reading stops at the announced size, and compares the checksum there.
        return {
            name: _array_of(archive.read(member))
            for name, member in zip(wanted, members, strict=True)
        }


def check_archive(path: Path, what: str) -> None:
    """Compare all parts of a zip file, such as one of ``torch.save``, with the checksums in it.

    Args:
        path: Path of the file.
        what: Noun of what should be in it, with its article.

    Raises:
        DataError: The file is missing, or a part is damaged.
    """
    with reading(path, what), zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its part {damaged} was damaged")


def _array_of(content: bytes) -> np.ndarray:
    """Decode the content of an ``.npy`` file; sizes are compared before memory is taken."""
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
    # More than announced is no array either, but a damaged checksum.
    if count < 0 or announced != len(content):
        raise ValueError(f"it has {len(content)} bytes and announces {announced}")
    if not count:
        return np.empty(shape, dtype)
    values: np.ndarray[Any, Any] = np.frombuffer(content, dtype, count, start).copy()
    return values.reshape(shape, order="F" if fortran else "C")
