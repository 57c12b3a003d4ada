"""Read the text files of OC20's S2EF task: pairs ``N.extxyz`` and ``N.txt``, plain or ``.xz``.

All files have the same columns, so that reading them without ASE is a few times faster.
Source: Chanussot et al., ACS Catal. 11, 6059 (2021), doi 10.1021/acscatal.0c04525.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from equinet.data.atoms import Block, Frame, LabelKeys, check_frame, number_blocks
from equinet.data.store.archives import Blob, unpack
from equinet.data.store.records import Record, Refusal
from equinet.elements import SYMBOLS
from equinet.errors import DataError

_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}
_COLUMNS = {"species": "S:1", "pos": "R:3", "move_mask": "L:1", "tags": "I:1", "forces": "R:3"}
_PROPERTIES = re.compile(r"(?:^|\s)Properties=(\S+)")
_LATTICE = re.compile(r'(?:^|\s)Lattice="([^"]*)"')
_ENERGY = re.compile(r"(?:^|\s)energy=(\S+)")
_PBC = re.compile(r'(?:^|\s)pbc="([^"]*)"')
_ID = re.compile(r"[A-Za-z_]*(\d{1,18})")
_TRUTH = {"T": True, "F": False, "True": True, "False": False}


@dataclass(frozen=True)
class S2EFPart:
    """A pair of files, which becomes one shard of a store.

    Attributes:
        frames: File of frames, ``N.extxyz`` or ``N.extxyz.xz``.
        references: File of ids and reference energies, ``N.txt`` or ``N.txt.xz``.
    """

    frames: Blob
    references: Blob

    @property
    def name(self) -> str:
        """Name of the part: that of the file of frames."""
        return self.frames.name

    @property
    def size(self) -> int:
        """Number of bytes of both files."""
        return self.frames.size + self.references.size

    def records(self, keys: LabelKeys | None = None) -> Iterator[Record | Refusal]:
        """Read the pair of files; reference energies are subtracted from the energies.

        A row of ``N.txt`` belongs to the frame with the same number in ``N.extxyz``. If both files
        are complete but differ in length, the assignment is not certain, and the pair is refused.

        Args:
            keys: Names of the labels, which must be None because the format fixes the names.

        Raises:
            DataError: The name of a label is given.
        """
        if keys not in (None, LabelKeys()):
            raise DataError(
                f"{self.name}: S2EF files name their labels energy and forces; leave out "
                "--energy-key, --forces-key and --stress-key"
            )
        content, broken = unpack(self.frames)
        rows, broken_rows = _rows(self.references)
        try:
            content.decode("ascii")
        except UnicodeDecodeError as error:
            yield Refusal(self.name, None, f"{self.name}: byte {error.start} is not ASCII")
            return
        frames = list(number_blocks(io.BytesIO(content), self.name))
        ends_early = broken is not None or (bool(frames) and isinstance(frames[-1][1], DataError))
        count = sum(isinstance(block, Block) for _, block in frames)
        if not (ends_early or broken_rows) and count != len(rows):
            reason = f"{self.references.name}: {len(rows)} rows for {count} frames in {self.name}"
            yield Refusal(self.name, None, reason)
            return
        if broken_rows:
            reason = (
                f"{self.references.name}: {broken_rows}; frames from {len(rows) + 1} on are lost"
            )
            yield Refusal(self.name, len(rows) + 1, reason)
            frames = frames[: len(rows)]
        for number, block in frames:
            yield self._record(number, block, rows)
        if broken and not (frames and isinstance(frames[-1][1], DataError)):
            reason = f"{self.name}, frame {len(frames) + 1}: {broken}"
            yield Refusal(self.name, len(frames) + 1, reason)

    def _record(
        self, number: int, block: Block | DataError, rows: Sequence[str]
    ) -> Record | Refusal:
        place = f"{self.name}, frame {number}"
        if isinstance(block, DataError):
            after = len(rows) - number
            lost = f"; the {after} frames after it are lost with it" if after > 0 else ""
            return Refusal(self.name, number, f"{block}{lost}")
        if number > len(rows):
            reason = f"{place}: {self.references.name} has no row for it"
            return Refusal(self.name, number, reason)
        try:
            system, step, reference = _ids_and_reference(
                rows[number - 1], f"{self.references.name}, line {number}"
            )
            frame = parse_block(block, place, reference)
        except DataError as error:
            return Refusal(self.name, number, str(error))
        return Record(frame, number, system, step, reference)


def pair_up(blobs: Sequence[Blob], place: str) -> list[S2EFPart]:
    """Find the pairs of S2EF files among the files of one folder.

    Args:
        blobs: Files of any kind.
        place: Name of the folder in error messages.

    Returns:
        The pairs, ordered by N. If a file exists both plain and compressed, the plain one is taken.

    Raises:
        DataError: One file of a pair is missing.

    Example:
        >>> from pathlib import Path
        >>> names = ("10.extxyz", "10.txt", "9.extxyz.xz", "9.txt.xz", "README")
        >>> [part.name for part in pair_up([Blob(Path(n), n, 0, 1) for n in names], "folder")]
        ['9.extxyz.xz', '10.extxyz']
    """
    found: dict[str, dict[str, Blob]] = {".extxyz": {}, ".txt": {}}
    for blob in sorted(blobs, key=lambda blob: blob.name, reverse=True):
        name = re.split(r"[/:]", blob.name)[-1].removesuffix(".xz")
        stem, dot, kind = name.rpartition(".")
        if f"{dot}{kind}" in found and stem:
            found[f"{dot}{kind}"][stem] = blob
    frames, references = found[".extxyz"], found[".txt"]
    for stem, blob in frames.items():
        if stem not in references:
            raise DataError(
                f"{blob.name}: its reference energies {stem}.txt are not there; add that file"
            )
    lonely = sorted(stem for stem in references if stem.isdigit() and stem not in frames)
    if frames and lonely:
        raise DataError(
            f"{place}: {lonely[0]}.txt has no frames {lonely[0]}.extxyz beside it; add that file"
        )
    order = sorted(frames, key=lambda stem: (len(stem), stem))
    return [S2EFPart(frames[stem], references[stem]) for stem in order]


def parse_block(block: Block, place: str, reference_energy: float = 0.0) -> Frame:
    """Convert the lines of a frame into a frame and check it.

    Args:
        block: Lines of the frame: number of atoms, comment and rows.
        place: Name of the structure in error messages.
        reference_energy: Reference energy that is subtracted from ``energy``, eV.

    Returns:
        The frame, with the forces on fixed atoms as in the file.

    Raises:
        DataError: A column is missing, a value does not fit its column, or the frame fails a check
            of :func:`equinet.data.atoms.check_frame`.
    """
    comment, rows = block.lines[1], block.lines[2:]
    offsets, width = _layout(comment, place)
    entries = "\n".join(rows).split()
    if len(entries) != width * len(rows):
        raise DataError(_wrong_row(block, offsets, width, place))
    try:
        numbers = np.array([_NUMBERS[s] for s in entries[offsets["species"] :: width]])
        positions = _vectors(entries, offsets["pos"], width)
        forces = _vectors(entries, offsets["forces"], width)
        free = np.array([_TRUTH[word] for word in entries[offsets["move_mask"] :: width]])
        tags = np.array([int(word) for word in entries[offsets["tags"] :: width]])
    except (KeyError, ValueError):
        raise DataError(_wrong_row(block, offsets, width, place)) from None
    cell, pbc = _periodicity(comment, place)
    energy = _numbers_of(_ENERGY, comment, 1, "energy", place)[0] - reference_energy
    frame = Frame(
        numbers.astype(np.int64),
        positions,
        cell,
        pbc,
        energy,
        forces,
        None,
        tags.astype(np.int64),
        ~free,
        source=place,
    )
    check_frame(frame)
    return frame


def _rows(blob: Blob) -> tuple[list[str], str | None]:
    content, broken = unpack(blob)
    rows = content.decode("ascii", errors="replace").split("\n")
    last = rows.pop()
    if last.strip() and broken is None:
        rows.append(last)  # a last row is left out only if the file is cut off
    while rows and not rows[-1].strip():
        rows.pop()
    return rows, broken


def _ids_and_reference(row: str, place: str) -> tuple[int, int, float]:
    try:
        system, step, reference = row.strip().split(",")
        energy = float(reference)
    except ValueError:
        raise DataError(f"{place}: expected system,frame,energy, found {row!r}") from None
    if not np.isfinite(energy):
        raise DataError(f"{place}: the reference energy is {reference}")
    return _id(system), _id(step), energy


def _id(word: str) -> int:
    """Return the number in ``random123`` or ``frame45``, or -1 if the word has another form."""
    match = _ID.fullmatch(word.strip())
    return int(match.group(1)) if match else -1


def _layout(comment: str, place: str) -> tuple[Mapping[str, int], int]:
    """Return the index of each named column in a row, and the number of columns."""
    match = _PROPERTIES.search(comment)
    fields = match.group(1).split(":") if match else []
    offsets: dict[str, int] = {}
    width = 0
    for name, kind, size in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        if _COLUMNS.get(name) == f"{kind}:{size}":
            offsets[name] = width
        width += int(size) if size.isdigit() else 0
    missing = [name for name in _COLUMNS if name not in offsets]
    if missing:
        raise DataError(
            f"{place}: no column {missing[0]}:{_COLUMNS[missing[0]]} in "
            f"Properties={':'.join(fields) or '(none)'}"
        )
    return offsets, width


def _vectors(entries: Sequence[str], offset: int, width: int) -> np.ndarray:
    columns = [list(map(float, entries[offset + axis :: width])) for axis in range(3)]
    return np.array(columns).T.copy()


def _periodicity(comment: str, place: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the cell and the periodic directions; a lattice without ``pbc`` is periodic in all."""
    match = _PBC.search(comment)
    lattice = _LATTICE.search(comment) is not None
    words = match.group(1).split() if match else ["T" if lattice else "F"] * 3
    if len(words) != 3 or not set(words) <= set(_TRUTH):
        raise DataError(f"{place}: pbc is {words}, not three of T and F")
    pbc = np.array([_TRUTH[word] for word in words])
    if not pbc.any():
        return np.zeros((3, 3)), pbc
    return np.array(_numbers_of(_LATTICE, comment, 9, "Lattice", place)).reshape(3, 3), pbc


def _numbers_of(
    pattern: re.Pattern[str], comment: str, count: int, what: str, place: str
) -> list[float]:
    match = pattern.search(comment)
    words = match.group(1).strip('"').split() if match else []
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        found = repr(match.group(0).strip()) if match else "none"
        raise DataError(f"{place}: expected {what} of {count} numbers, found {found}")
    return numbers


def _wrong_row(block: Block, offsets: Mapping[str, int], width: int, place: str) -> str:
    """Describe the first row that does not fit its columns, for an error."""
    kinds = {offsets["species"]: "an element", offsets["move_mask"]: "T or F"}
    kinds[offsets["tags"]] = "a whole number"
    numeric = [offsets[name] + axis for name in ("pos", "forces") for axis in range(3)]
    for line, row in enumerate(block.lines[2:], start=block.line + 2):
        words = row.split()
        if len(words) != width:
            return f"{place}, line {line}: expected {width} columns, found {len(words)}"
        for column, word in enumerate(words):
            wanted = kinds.get(column, "a number" if column in numeric else None)
            if wanted is not None and not _fits(word, wanted):
                return f"{place}, line {line}: {word!r} is not {wanted}"
    return f"{place}: its rows cannot be read"


def _fits(word: str, wanted: str) -> bool:
    if wanted == "an element":
        return word in _NUMBERS
    if wanted == "T or F":
        return word in _TRUTH
    try:
        (int if wanted == "a whole number" else float)(word)
    except ValueError:
        return False
    return True
