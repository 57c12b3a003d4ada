"""Files that lie on their own or inside an uncompressed tar, read whole and within a limit."""

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
# Five thousand frames of the largest OC20 structures are 150 MB of text. More than this is no
# data file but a few bytes that unpack to fill the memory.
_LARGEST = 1 << 30


@dataclass(frozen=True)
class Blob:
    """A stretch of a file: all of it, or a member of a tar.

    Attributes:
        path: The file, or the tar.
        name: What to call it in messages.
        offset: Where it starts, bytes.
        size: How long it is, bytes.
    """

    path: Path
    name: str
    offset: int
    size: int

    @classmethod
    def of(cls, path: Path) -> "Blob":
        """The whole of a file."""
        return cls(path, str(path), 0, path.stat().st_size)


def tar_members(path: Path) -> list[Blob]:
    """List the files of an uncompressed tar; nothing is unpacked, so no name can lead outside.

    Args:
        path: Path of the tar.

    Returns:
        Its regular files, in their order.

    Raises:
        DataError: It is compressed, truncated, or no tar.
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
    """Read a file, unpacked if its name says that it is packed.

    Args:
        blob: File to read; its suffix ``.xz``, ``.gz`` or ``.bz2`` tells the compression.

    Returns:
        As much as can be read, and what stopped it short, if anything did.

    Raises:
        DataError: It unpacks to more than a gibibyte.
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
    # read1 hands over what there is before it fails; read would fail with all of it in hand.
    while chunk := stream.read1(_CHUNK):
        yield chunk
