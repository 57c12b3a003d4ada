"""Text of extxyz files, frame by frame and in stretches, never a whole file at once."""

import bz2
import gzip
import itertools
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from equinet.errors import DataError

COMPRESSED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""Functions that open a packed file, by its suffix."""

_LARGEST = 1 << 32  # bytes that a packed text may unpack to
_LONGEST = 1 << 28  # bytes of a line
_STRETCH = 1 << 22  # bytes of text, whose frames take about ten times as much memory
_PACKED_STRETCH = 1 << 25  # larger, since each stretch unpacks all that lies before it
_PACKING = 16  # times by which a packed text is at most shorter, as a rule
_MOST_DIGITS = 18  # digits of a number of atoms


@dataclass(frozen=True)
class Block:
    """The text of one extxyz frame.

    Attributes:
        number: Number of the frame in the file, from 1.
        line: Line of the file in which the frame begins with its number of atoms, from 1.
        lines: Lines of the frame: the number of atoms, the comment, and one line for each atom.

    Example:
        >>> Block(number=1, line=1, lines=["1", "energy=-13.6", "H 0 0 0"]).lines[1]
        'energy=-13.6'
    """

    number: int
    line: int
    lines: list[str]


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames of a text file.

    Attributes:
        start: Number of bytes of text before the first frame.
        size: Number of bytes of the frames; None for all up to the end of the file.
        frames: Number of frames before the first one.
        lines: Number of lines before the first one.

    Example:
        >>> Stretch(start=4096, frames=25, lines=100).size is None
        True
    """

    start: int = 0
    size: int | None = None
    frames: int = 0
    lines: int = 0


def stretches(path: Path) -> list[Stretch | None]:
    r"""Cut a text file into stretches of a few megabytes of whole frames.

    Args:
        path: File in extxyz format, compressed or not.

    Returns:
        Stretches in order, which together are the file; a single None, which stands for all of
        it, for a small file. Where the text does not go on as a frame, the last stretch takes the
        rest.

    Raises:
        DataError: The file cannot be unpacked.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "atom.xyz")
        ...     _ = path.write_text("1\n\nH 0 0 0\n")
        ...     stretches(path)
        [None]
    """
    is_packed = path.suffix.lower() in COMPRESSED
    longest = _PACKED_STRETCH if is_packed else _STRETCH
    if path.stat().st_size <= (longest // _PACKING if is_packed else longest):
        return [None]
    cuts = [Stretch()]
    offset = frames = line = 0
    lines = text_lines(path)
    for header in lines:
        count = _atom_count(header)
        if count == 0 and header.strip():
            break  # not a frame
        if count and offset - cuts[-1].start >= longest:
            cuts.append(Stretch(offset, None, frames, line))
        offset, line, frames = offset + len(header), line + 1, frames + bool(count)
        for row in itertools.islice(lines, count + 1 if count else 0):
            offset, line = offset + len(row), line + 1
    if len(cuts) == 1:
        return [None]
    sized = [
        replace(cut, size=following.start - cut.start)
        for cut, following in itertools.pairwise(cuts)
    ]
    return [*sized, cuts[-1]]


def text_lines(path: Path, stretch: Stretch | None = None) -> Iterator[bytes]:
    """Read the lines of a text file one by one.

    Args:
        path: File; ``.gz``, ``.bz2`` and ``.xz`` are unpacked.
        stretch: Stretch of the file; None reads all of it.

    Yields:
        Lines with their ends.

    Raises:
        DataError: The file cannot be unpacked, unpacks to more than 4 GiB, or has a line of more
            than 256 MiB.
    """
    stretch = stretch or Stretch()
    is_packed = path.suffix.lower() in COMPRESSED
    place = stretch.start
    end = None if stretch.size is None else stretch.start + stretch.size
    try:
        with COMPRESSED.get(path.suffix.lower(), open)(path, "rb") as file:
            file.seek(place)
            while (end is None or place < end) and (line := file.readline(_LONGEST + 1)):
                place += len(line)
                if is_packed and place > _LARGEST:
                    raise DataError(
                        f"{path} unpacks to more than the {_LARGEST} bytes that are accepted; "
                        "unpack it, or divide it into several files"
                    )
                if len(line) > _LONGEST:
                    raise DataError(f"{path}: a line is longer than {_LONGEST} bytes; it is no xyz")
                yield line
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        raise DataError(
            f"{path}: cannot be read, as if truncated: {error}; copy it anew"
        ) from error


def number_blocks(
    lines: Iterable[bytes], place: object, stretch: Stretch | None = None
) -> Iterator[tuple[int, Block | DataError]]:
    r"""Cut extxyz text into frames; blank lines between frames are ignored.

    Args:
        lines: Lines of the text, with their ends.
        place: Name of the file in error messages.
        stretch: Stretch of the file that the lines are; None for all of it.

    Yields:
        The number of each frame, from 1, with its lines or the error that refuses it. If the text
        breaks off, the last entry is the error that says so.

    Example:
        >>> lines = [b"1\n", b"\n", b"H 0 0 0\n"]
        >>> [(number, block.line) for number, block in number_blocks(lines * 2, "two.xyz")]
        [(1, 1), (2, 4)]
    """
    stretch = stretch or Stretch()
    numbered = enumerate(lines, start=stretch.lines + 1)
    number = stretch.frames
    for line, header in numbered:
        if line == 1:
            header = header.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901 - the mark of UTF-8
        if not header.strip():
            continue
        number += 1
        count = _atom_count(header)
        if count == 0:
            yield number, DataError(f"{place}, frame {number}, {_why_no_count(header, line)}")
            return
        rows = [row for _, row in itertools.islice(numbered, count + 1)]
        if len(rows) <= count:
            yield (
                number,
                DataError(
                    f"{place}, frame {number}, line {line + len(rows)}: the file ends after "
                    f"{max(0, len(rows) - 1)} of the {count} atoms that line {line} announces"
                ),
            )
            return
        try:
            texts = b"".join((header, *rows)).decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            wrong = line + error.object[: error.start].count(b"\n")
            byte = error.object[error.start]
            yield (
                number,
                DataError(f"{place}, frame {number}, line {wrong}: byte {byte:#04x} is not UTF-8"),
            )
        else:
            lines_of_frame = [text.removesuffix("\r") for text in texts[: count + 2]]
            yield number, Block(number, line, lines_of_frame)


def _atom_count(header: bytes) -> int:
    """Return the number of atoms that a line announces, 0 where it announces none."""
    word = header.strip()
    return int(word) if word.isdigit() and len(word) <= _MOST_DIGITS else 0


def _why_no_count(header: bytes, line: int) -> str:
    """Say why no frame starts at a line."""
    word = header.strip()
    try:
        text = word.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"line {line}: byte {word[error.start]:#04x} is not UTF-8; save the file in UTF-8"
    if word.isdigit() and not word.strip(b"0"):
        return f"line {line}: the frame has no atoms"
    return f"line {line}: expected the number of atoms, found {text[:60]!r}"
