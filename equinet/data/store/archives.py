"""Read whole files, alone or inside an uncompressed tar, within a limit of size."""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equinet.errors import DataError
from equinet.files import reading

_UNPACKERS: dict[str, Callable[[io.BytesIO], Any]] = {
    ".xz": lzma.LZMAFile,
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
}
_CHUNK = 1 << 22
# Five thousand frames of the largest OC20 structures are 150 MB of text. A file that unpacks to
# more than this limit would only fill the memory.
_LARGEST = 1 << 30


@dataclass(frozen=True)
class Blob:
    """Location of a whole file, or of a file inside a tar.

    Attributes:
        path: Path of the file, or of the tar that contains it.
        name: Name of the file in messages.
        offset: Position of the first byte in the file at ``path``.
        size: Number of bytes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "1.txt")
        ...     _ = path.write_bytes(b"random1,frame0,-10.5")
        ...     Blob.of(path).size
        20
    """

    path: Path
    name: str
    offset: int
    size: int

    @classmethod
    def of(cls, path: Path) -> "Blob":
        """Return the location of a whole file."""
        return cls(path, str(path), 0, path.stat().st_size)


def tar_members(path: Path) -> list[Blob]:
    """List the files of an uncompressed tar. Nothing is written to disk, whatever the names are.

    Args:
        path: Path of the tar.

    Returns:
        The regular files in the order of the tar.

    Raises:
        DataError: The tar is compressed or truncated, or the file is not a tar.
    """
    found: list[Blob] = []
    size = path.stat().st_size
    with reading(path, "an uncompressed tar"), tarfile.open(path, "r:") as archive:
        for member in archive:
            if member.isreg():
                name = f"{path}:{member.name}"
                found.append(Blob(path, name, member.offset_data, member.size))
    if found and found[-1].offset + found[-1].size > size:
        raise DataError(f"{found[-1].name}: the tar ends within it, as if truncated")
    return found


def unpack(blob: Blob) -> tuple[bytes, str | None]:
    """Read a file and unpack it if its suffix is that of a compressed file.

    Args:
        blob: File to read; a suffix ``.xz``, ``.gz`` or ``.bz2`` tells the compression.

    Returns:
        The content that can be read, and the reason why the rest cannot be read, or None.

    Raises:
        DataError: The file unpacks to more than 1 GiB.
    """
    content = bytearray()
    try:
        for chunk in _chunks(blob):
            content += chunk
            if len(content) > _LARGEST:
                raise DataError(f"{blob.name}: unpacks to more than {_LARGEST} bytes")
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        return bytes(content), f"cannot be unpacked to its end, as if truncated: {error}"
    return bytes(content), None


def _chunks(blob: Blob) -> Iterator[bytes]:
    with blob.path.open("rb") as file:
        file.seek(blob.offset)
        packed = io.BytesIO(file.read(blob.size))
    unpacker = _UNPACKERS.get(Path(blob.name).suffix.lower())
    stream = packed if unpacker is None else unpacker(packed)
    # In a damaged file read1 returns the readable part before it fails; read would return nothing.
    while chunk := stream.read1(_CHUNK):
        yield chunk
