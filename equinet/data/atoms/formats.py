"""Read labeled frames from extxyz and any other file that ASE reads, and refuse broken ones.

An extxyz file is cut into frames here, and each is handed to ASE: ASE's own reader stops silently
at a blank line, drops surplus columns and cannot say where a truncated file breaks off.
"""

import bz2
import gzip
import io
import logging
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from equinet.data.atoms.fields import Frame
from equinet.data.atoms.frames import ase_library, frame_from_atoms
from equinet.data.atoms.labels import LabelKeys, LabelNames, stored_values
from equinet.errors import DataError
from equinet.files import bounded

if TYPE_CHECKING:
    import ase

_log = logging.getLogger(__name__)

_COMPRESSED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_LARGEST = 1 << 32  # bytes that a packed text may unpack to
_PROPERTIES = re.compile(r'\bProperties\s*=\s*"?([^\s"]+)')
# ASE refuses a frame whose stress or virial is not nine numbers, so it reads them by other names.
_TENSOR = re.compile(r"(?<![\w-])(stress|virial)(?=\s*=)")
_OTHER_NAME = "equinet_"


@dataclass(frozen=True)
class Block:
    """The text of one extxyz frame; ``line`` is the 1-based line of its atom count."""

    number: int
    line: int
    lines: list[str]


def read_frames(
    path: str | Path,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    labels_required: bool = True,
    forces_required: bool = True,
    allow_zero_forces: bool = False,
) -> list[Frame]:
    """Read every frame of a file.

    The name of a label holds for the whole file from the first frame on that has it; only a stress
    that was not asked for by name may be absent from some frames (molecules among crystals). Units
    are taken as they stand: Å, eV, eV/Å, eV/Å³ (ASE's sign of stress).

    Args:
        path: File in extxyz format (``.xyz``, ``.extxyz``; also ``.gz``, ``.bz2``, ``.xz``), ASE
            database (``.db``), or any other file that ASE reads.
        energy_key: Name of the energy; None looks for common names.
        forces_key: Name of the forces; None looks for common names.
        stress_key: Name of the stress; None looks for common names, and leaves out, with a warning,
            what cannot be a stress.
        labels_required: Whether frames without energy or forces are refused; otherwise labels are
            read where they are.
        forces_required: Whether frames without forces are refused where labels are required.
        allow_zero_forces: Whether forces that are all exactly zero are accepted, as in perfect
            crystals.

    Returns:
        Frames in file order, in float64.

    Raises:
        DataError: The file does not exist, is empty, truncated or not UTF-8; a label is missing,
            NaN, infinite or all zero. The message names file, frame and, for text, line.
        BackendError: ASE is not installed.
    """
    path = Path(path).expanduser()
    frames: list[Frame] = []
    for _, frame in scan_frames(
        path,
        energy_key=energy_key,
        forces_key=forces_key,
        stress_key=stress_key,
        labels_required=labels_required,
        forces_required=forces_required,
        allow_zero_forces=allow_zero_forces,
    ):
        if isinstance(frame, DataError):
            raise frame
        frames.append(frame)
    if not frames:
        raise DataError(f"{path}: the file holds no frames")
    _warn_of_zeroed_forces(frames, path)
    return frames


def scan_frames(
    path: str | Path,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    labels_required: bool = True,
    forces_required: bool = True,
    allow_zero_forces: bool = False,
) -> Iterator[tuple[int, Frame | DataError]]:
    """Read the frames of a file one by one, past those that cannot be used.

    Args:
        path: As for :func:`read_frames`, like all options.
        energy_key: Name of the energy.
        forces_key: Name of the forces.
        stress_key: Name of the stress.
        labels_required: Refuse frames without energy or forces.
        forces_required: Refuse frames without forces where labels are required.
        allow_zero_forces: Accept frames whose forces are all exactly zero.

    Yields:
        The 1-based number of each frame, and the frame or what is wrong with it. Where a file
        breaks off, that is the last entry.

    Raises:
        DataError: The file does not exist, is empty, cannot be unpacked or is not UTF-8.
        BackendError: ASE is not installed.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        kind = "a folder, not a file" if path.is_dir() else "not there"
        raise DataError(f"{path}: {kind}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    names = LabelNames(
        LabelKeys(energy_key, forces_key, stress_key),
        required=labels_required,
        forces_required=forces_required,
    )
    for number, atoms in _reader(path)(path):
        if isinstance(atoms, DataError):
            yield number, atoms
            continue
        source = f"{path}, frame {number}"
        try:
            keys = names.choose(stored_values(atoms, source), source, atoms=len(atoms))
            frame = frame_from_atoms(
                atoms, keys, allow_zero_forces=allow_zero_forces, source=source
            )
        except DataError as error:
            yield number, error
        else:
            yield number, frame


def read_text(path: Path) -> str:
    """Read a text file, compressed or not, as UTF-8.

    Args:
        path: File; ``.gz``, ``.bz2`` and ``.xz`` are unpacked.

    Returns:
        Its text.

    Raises:
        DataError: The file cannot be unpacked, unpacks to more than 4 GiB, or is not UTF-8 (frame
            and line are named).
    """
    try:
        with _COMPRESSED.get(path.suffix.lower(), open)(path, "rb") as file:
            packed = path.suffix.lower() in _COMPRESSED
            content = bounded(file.read, _LARGEST, path) if packed else file.read()
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        raise DataError(f"{path}: cannot be read, as if truncated: {error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", errors="replace")
        line = before.count("\n") + 1
        frame = sum(1 for _ in number_blocks(before + "\n", path, strict=False)) + 1
        raise DataError(
            f"{path}, frame {frame}, line {line}: byte {content[error.start]:#04x} is not UTF-8"
        ) from error


_Reader = Callable[[Path], Iterator[tuple[int, "ase.Atoms | DataError"]]]


def _reader(path: Path) -> _Reader:
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in _COMPRESSED]
    kind = suffixes[-1] if suffixes else ""
    if kind in {".xyz", ".extxyz"}:
        return _read_extxyz
    return _read_database if kind == ".db" else _read_any


def _read_extxyz(path: Path) -> Iterator[tuple[int, "ase.Atoms | DataError"]]:
    ase = ase_library()
    for number, block in number_blocks(read_text(path), path):
        if isinstance(block, DataError):
            yield number, block
            continue
        place = f"{path}, frame {number}"
        try:
            _check_columns(block, place)
            block.lines[1] = _TENSOR.sub(rf"{_OTHER_NAME}\1", block.lines[1])
            text = "\n".join(block.lines) + "\n"
            atoms = ase.io.read(io.StringIO(text), 0, format="extxyz")
            atoms.info = {k.removeprefix(_OTHER_NAME): v for k, v in atoms.info.items()}
            _refuse_misspelt(atoms.info, f"{place}, line {block.line + 1}")
            yield number, atoms
        except DataError as error:
            yield number, error
        except Exception as error:  # noqa: BLE001 - ASE raises whatever its parsing meets
            line, reason = _offending_line(block, error)
            yield number, DataError(f"{place}, line {line}: {reason}")


def _refuse_misspelt(left_over: Mapping[str, Any], place: str) -> None:
    """Refuse a structural key in other letters, which would turn a crystal into a molecule."""
    for name in left_over:
        right = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}.get(name.lower())
        if right is not None:
            raise DataError(f"{place}: extxyz has no key {name!r}; write it {right!r}")


def atoms_of_row(row: Any) -> "ase.Atoms":
    """Turn a row of an ASE database into atoms, with everything that may be a label.

    Args:
        row: Row, as ``ase.db.connect(...).select()`` yields it.

    Returns:
        Atoms whose ``info`` holds the row's key-value pairs and its data.
    """
    atoms: ase.Atoms = row.toatoms()
    atoms.info.update({**row.data, **row.key_value_pairs})
    return atoms


def _read_database(path: Path) -> Iterator[tuple[int, "ase.Atoms | DataError"]]:
    ase_library()
    from ase.db import connect

    number = 0
    try:
        for number, row in enumerate(connect(path).select(sort="id"), start=1):
            yield number, atoms_of_row(row)
    except Exception as error:  # noqa: BLE001 - each of ASE's backends raises its own
        reason = f"ASE cannot read the database: {type(error).__name__}: {error}"
        yield number + 1, DataError(f"{path}, frame {number + 1}: {reason}")


def _read_any(path: Path) -> Iterator[tuple[int, "ase.Atoms | DataError"]]:
    ase = ase_library()
    number = 0
    try:
        for number, atoms in enumerate(ase.io.iread(path, ":"), start=1):
            yield number, atoms
    except Exception as error:  # noqa: BLE001 - each of ASE's formats raises its own
        place = f"{path}, frame {number + 1}"
        reason = f"ASE cannot read it: {type(error).__name__}: {error}"
        yield number + 1, DataError(f"{place}: {reason}")


def number_blocks(
    text: str, place: object, *, strict: bool = True
) -> Iterator[tuple[int, Block | DataError]]:
    """Cut extxyz text into frames; blank lines between frames are passed over.

    Args:
        text: Whole text of the file.
        place: What to call the file in errors.
        strict: End with an error where the text does not go on as a frame; otherwise quietly.

    Yields:
        The 1-based number of each frame, and its lines, or why the text breaks off there.
    """
    lines = text.split("\n")
    lines = [line.removesuffix("\r") for line in lines]
    if lines[-1] == "":
        lines.pop()
    number, start = 1, 0
    while start < len(lines):
        header = lines[start].strip()
        if not header:
            start += 1
            continue
        problem = _why_no_frame(lines, start)
        if problem is not None:
            if strict:
                line, reason = problem
                yield number, DataError(f"{place}, frame {number}, line {line}: {reason}")
            return
        end = start + 2 + int(header)
        yield number, Block(number, start + 1, lines[start:end])
        number, start = number + 1, end


def _why_no_frame(lines: list[str], start: int) -> tuple[int, str] | None:
    """Line number and reason why no frame starts at a line, or None where one does."""
    header = lines[start].strip()
    if not (header.isascii() and header.isdigit()):
        return start + 1, f"expected the number of atoms, found {header[:60]!r}"
    count = int(header)
    if count == 0:
        return start + 1, "the frame has no atoms"
    if start + 2 + count > len(lines):
        rows = max(0, len(lines) - start - 2)
        return len(lines), (
            f"the file ends after {rows} of the {count} atoms that line {start + 1} announces"
        )
    return None


def _column_kinds(comment: str) -> str | None:
    """One letter (S, I, R, L) per column, or None where the comment names no columns."""
    match = _PROPERTIES.search(comment)
    if match is None:
        return None
    fields = match.group(1).split(":")
    kinds, widths = fields[1::3], fields[2::3]
    if len(fields) % 3 or not all(width.isdigit() for width in widths):
        return None  # left to ASE to refuse
    return "".join(kind * int(width) for kind, width in zip(kinds, widths, strict=True))


def _check_columns(block: Block, place: str) -> None:
    kinds = _column_kinds(block.lines[1])
    for offset, row in enumerate(block.lines[2:], start=2):
        found = len(row.split())
        # Plain xyz may carry extra columns, which it does not name.
        if found < 4 if kinds is None else found != len(kinds):
            wanted = "at least 4" if kinds is None else str(len(kinds))
            raise DataError(
                f"{place}, line {block.line + offset}: expected {wanted} columns, found {found}"
            )


def _offending_line(block: Block, error: Exception) -> tuple[int, str]:
    """Line number and reason: the first entry that is not of its column's kind, or the comment."""
    kinds = _column_kinds(block.lines[1]) or "SRRR"
    symbols = set(ase_library().data.chemical_symbols)
    species_first = "species:" in block.lines[1] or "Properties" not in block.lines[1]
    for offset, row in enumerate(block.lines[2:], start=2):
        entries = row.split()
        for entry, kind in zip(entries, kinds, strict=False):
            if kind in "RI" and not _is_number(entry):
                return block.line + offset, f"{entry!r} is not a number"
        if species_first and kinds[0] == "S" and entries[0].capitalize() not in symbols:
            return block.line + offset, f"{entries[0]!r} is not an element"
    return block.line + 1, f"ASE cannot read the frame: {type(error).__name__}: {error}"


def _is_number(entry: str) -> bool:
    try:
        float(entry.replace("D", "E").replace("d", "e"))
    except ValueError:
        return False
    return True


def _warn_of_zeroed_forces(frames: Sequence[Frame], path: Path) -> None:
    """Say so where exactly the fixed atoms lack forces: a constraint zeroed them on writing."""
    held = [
        frame.forces[frame.fixed]
        for frame in frames
        if frame.forces is not None and frame.fixed is not None and frame.fixed.any()
    ]
    if held and not np.concatenate(held).any():
        _log.warning(
            "%s: forces on all fixed atoms are exactly zero, as if a constraint had been applied "
            "when the file was written; leave those atoms out of the loss",
            path,
        )
