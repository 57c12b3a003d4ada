"""Check the pages of an LMDB file before the library lmdb follows them.

lmdb maps the file into memory and follows its page numbers without checks: a damaged file ends the
process without an error that could be caught. This module follows the same pages and checks every
number. Layout: ``struct MDB_page`` and ``struct MDB_meta`` of lmdb 0.9,
https://github.com/LMDB/lmdb.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from equinet.errors import DataError
from equinet.files import reading

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NONE = (1 << 64) - 1  # root of an empty tree
_HEADER = 16
_SMALLEST = 1024
_BRANCH, _LEAF, _OVERFLOW = 0x01, 0x02, 0x04
_BIG = 0x01  # flag of an entry whose value has its own pages
_SUB, _DUPLICATES = 0x02, 0x04  # flags that files of structures do not have


@dataclass(frozen=True)
class _Meta:
    """One of the two first pages, which hold the root of the tree; the later transaction counts."""

    page_size: int
    depth: int
    root: int
    last: int
    transaction: int


def check_pages(path: Path) -> None:
    """Follow all pages that a reader would follow, and refuse a file with a wrong number in them.

    Args:
        path: Path of the LMDB file.

    Raises:
        DataError: The file is truncated or damaged, or is not an LMDB file.
    """
    with reading(path, "an LMDB file"):
        size = path.stat().st_size
        if size < _SMALLEST:
            raise ValueError(f"it has {size} bytes, less than the two pages that it begins with")
        content: np.ndarray = np.memmap(path, np.uint8, mode="r")
        if content[_HEADER : _HEADER + 4].tobytes() != struct.pack("<I", _MAGIC):
            raise DataError(
                f"{path}: cannot be opened as an LMDB: it does not begin as such a file does; give "
                "the file that LMDB wrote"
            )
        first = _meta(content, 0)
        if not 512 <= first.page_size <= 1 << 16 or first.page_size & (first.page_size - 1):
            raise ValueError(f"it announces pages of {first.page_size} bytes")
        second = _meta(content, first.page_size)
        if second.page_size != first.page_size:
            raise ValueError("its first two pages do not agree")
        for meta in (first, second):
            if (meta.last + 1) * meta.page_size > size:
                raise ValueError(
                    f"it has {size} bytes for {meta.last + 1} pages of {meta.page_size}, as if "
                    "truncated"
                )
        # A reader may use either of the two trees.
        for meta in (first, second):
            if meta.root != _NONE:
                _Tree(content, meta).follow()


def _meta(content: np.ndarray, start: int) -> _Meta:
    page = content[start : start + 160].tobytes()
    magic, version = struct.unpack_from("<II", page, _HEADER)
    if (magic, version) != (_MAGIC, _VERSION):
        raise ValueError("its first pages are not those of an LMDB file")
    # Two descriptions of trees of 48 bytes each: free pages, and the entries.
    (page_size,) = struct.unpack_from("<I", page, _HEADER + 24)
    flags, depth = struct.unpack_from("<HH", page, _HEADER + 24 + 48 + 4)
    if flags:
        raise ValueError(f"its tree has the flags {flags:#x}, which files of structures have not")
    (root,) = struct.unpack_from("<Q", page, _HEADER + 24 + 48 + 40)
    last, transaction = struct.unpack_from("<QQ", page, _HEADER + 24 + 96)
    return _Meta(page_size, depth, root, last, transaction)


class _Tree:
    """The tree of pages and entries below one root."""

    def __init__(self, content: np.ndarray, meta: _Meta) -> None:
        self._content = content
        self._meta = meta
        self._seen: set[int] = set()

    def follow(self) -> None:
        """Visit every page of the tree once.

        Raises:
            ValueError: A page number, an offset or a size points outside of the file or of the
                page.
        """
        waiting = [(self._meta.root, self._meta.depth)]
        while waiting:
            number, depth = waiting.pop()
            if not 2 <= number <= self._meta.last or number in self._seen or depth < 1:
                raise ValueError(f"page {number} is not there, or is reached twice")
            self._seen.add(number)
            waiting += [(below, depth - 1) for below in self._children(number, depth)]

    def _children(self, number: int, depth: int) -> list[int]:
        size = self._meta.page_size
        page = self._content[number * size : (number + 1) * size].tobytes()
        own, _, flags, lower, upper = struct.unpack_from("<QHHHH", page)
        kind = _LEAF if depth == 1 else _BRANCH
        if own != number or flags & 0xF != kind or not _HEADER <= lower <= upper <= size:
            raise ValueError(f"page {number} is damaged")
        count = (lower - _HEADER) // 2
        if not count or (kind == _BRANCH and count < 2):
            raise ValueError(f"page {number} has too few entries")
        found = []
        for index, start in enumerate(struct.unpack_from(f"<{count}H", page, _HEADER)):
            if not upper <= start <= size - 8:
                raise ValueError(f"entry {index} of page {number} lies outside of it")
            low, high, flags, key = struct.unpack_from("<HHHH", page, start)
            end = start + 8 + key
            if kind == _BRANCH:
                found.append(low | high << 16 | flags << 32)
            elif flags & (_SUB | _DUPLICATES):
                raise ValueError(f"entry {index} of page {number} has the flags {flags:#x}")
            elif flags & _BIG:
                end += 8
                self._check_overflow(page, start + 8 + key, low | high << 16)
            else:
                end += low | high << 16
            if end > size:
                raise ValueError(f"entry {index} of page {number} is longer than the page")
        return found

    def _check_overflow(self, page: bytes, place: int, length: int) -> None:
        """Check that the pages of a long value are as long as the value."""
        size = self._meta.page_size
        if place + 8 > size:
            raise ValueError("the page number of a long value lies outside of the page")
        (number,) = struct.unpack_from("<Q", page, place)
        if not 2 <= number <= self._meta.last:
            raise ValueError(f"page {number} is not there")
        head = self._content[number * size : number * size + _HEADER].tobytes()
        own, _, flags, pages = struct.unpack("<QHHI", head)
        inside = number + pages <= self._meta.last + 1
        if own != number or not flags & _OVERFLOW or not inside or _HEADER + length > pages * size:
            raise ValueError(f"page {number} of a long value is damaged")
