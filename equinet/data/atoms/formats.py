"""Read labeled frames from extxyz and all other files that ASE reads, and refuse broken frames.

This module cuts an extxyz file into frames and passes each frame to ASE, because ASE's reader of
whole files stops silently at a blank line, drops surplus columns and cannot say where a truncated
file breaks off.
"""

import functools
import io
import itertools
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from equinet.data.atoms.blocks import COMPRESSED, Block, Stretch, number_blocks, text_lines
from equinet.data.atoms.fields import Frame
from equinet.data.atoms.frames import ase_library, frame_from_atoms
from equinet.data.atoms.labels import LabelKeys, LabelNames, stored_values, whole
from equinet.data.atoms.units import Units
from equinet.errors import DataError

if TYPE_CHECKING:
    import ase

_log = logging.getLogger(__name__)

_SETTLING = 20  # frames of a file by which the names of its labels are settled
_PROPERTIES = re.compile(r'\bProperties\s*=\s*"?([^\s"]+)')
# ASE refuses a frame whose stress or virial is not nine numbers. It reads them under other names.
_TENSOR = re.compile(r"(?<![\w-])(stress|virial)(?=\s*=)")
_OTHER_NAME = "equinet_"
_QUOTED = re.compile(r"""("(?:\\.|[^"\\])*"|'[^']*'|\{[^}]*\}|\[[^=]*\])""")
_KEY = re.compile(r"(?:^|\s)([^\s=]+)\s*=")
_PBC = re.compile(r"""(?:^|\s)pbc\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|\[[^]]*\]|\S+)""")
_TRUTHS = {"t", "f", "true", "false", "1", "0", "", "_json"}
_WHOLE = {"Z", "numbers", "tags"}  # columns of whole numbers
# Names that other programs give to the lattice, which ASE does not read.
_LATTICE = {"cell", "box", "unitcell", "supercell", "latticevectors", "cellvectors", "latt"}


def read_frames(
    path: str | Path,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    labels_required: bool = True,
    forces_required: bool = True,
    mixed_labels: bool = False,
    allow_zero_forces: bool = False,
    units: Units | None = None,
) -> list[Frame]:
    r"""Read every frame of a file.

    A label must have the same name in all frames from the first one that has it. Only a stress
    without ``stress_key`` may be absent from some frames, such as molecules among crystals.

    Args:
        path: File in extxyz format (``.xyz`` or ``.extxyz``, also compressed as ``.gz``, ``.bz2``
            or ``.xz``), ASE database (``.db``), or any other file that ASE reads.
        energy_key: Name of the energy in the file; None looks for common names.
        forces_key: Name of the forces in the file; None looks for common names.
        stress_key: Name of the stress in the file; None looks for common names, and leaves out,
            with a warning, values that cannot be a stress.
        labels_required: Whether frames without energy or forces are refused; otherwise frames may
            lack labels.
        forces_required: Whether frames without forces are refused; ``labels_required=False``
            overrules it.
        mixed_labels: Whether any frame may lack energy, forces or both. If labels are required,
            some frame must then have one, and some frame each label that is given by its name.
        allow_zero_forces: Whether forces that are all exactly zero are accepted, as in perfect
            crystals.
        units: Units of the file, which are converted; None for Å, eV, eV/Å and eV/Å³ (ASE's sign
            of stress).

    Returns:
        Frames in file order, in float64, in Å, eV, eV/Å and eV/Å³.

    Raises:
        DataError: The file does not exist, is empty, truncated or not UTF-8; a label is missing,
            NaN, infinite or all zero. The message names the file, the frame and, in text, the line.
        BackendError: ASE is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "water.xyz")
        ...     _ = path.write_text("3\nenergy=-14.2\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
        ...     frame, = read_frames(path, forces_required=False)
        ...     frame.energy, frame.numbers.tolist()
        (-14.2, [8, 1, 1])
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
        mixed_labels=mixed_labels,
        allow_zero_forces=allow_zero_forces,
        units=units,
    ):
        if isinstance(frame, DataError):
            raise frame
        frames.append(frame)
    if not frames:
        raise DataError(f"{path}: the file holds no frames; name one that does")
    given = LabelKeys(energy_key, forces_key, stress_key) if labels_required else None
    check_labels(frames, path, given if mixed_labels else None)
    return frames


def check_labels(frames: Sequence[Frame], path: Path, given: LabelKeys | None) -> None:
    """Refuse frames without any label, and warn of forces that a constraint zeroed.

    Args:
        frames: All frames of a source, at least one.
        path: Path of the source.
        given: Names of labels, each of which some frame must have; None if none is needed.

    Raises:
        DataError: No frame has an energy or forces, or a label whose name is given.

    Example:
        >>> from ase.build import molecule
        >>> frames = [frame_from_atoms(molecule("CO"), source="CO")]
        >>> check_labels(frames, Path("co.xyz"), LabelKeys())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        equinet.errors.DataError: CO: no energy and no forces in this frame and 0 after it; ...
    """
    if given is not None:
        _check_some_labels(frames, given)
    _warn_of_zeroed_forces(frames, path)


def scan_frames(
    path: str | Path,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    labels_required: bool = True,
    forces_required: bool = True,
    mixed_labels: bool = False,
    allow_zero_forces: bool = False,
    units: Units | None = None,
    stretch: Stretch | None = None,
) -> Iterator[tuple[int, Frame | DataError]]:
    r"""Read the frames of a file one by one, and go on after frames that cannot be used.

    Args:
        path: File that :func:`read_frames` reads.
        energy_key: Name of the energy in the file; None looks for common names.
        forces_key: Name of the forces in the file; None looks for common names.
        stress_key: Name of the stress in the file; None looks for common names.
        labels_required: Whether frames without energy or forces are refused.
        forces_required: Whether frames without forces are refused; ``labels_required=False``
            overrules it.
        mixed_labels: Whether any frame may lack labels that other frames have.
        allow_zero_forces: Whether forces that are all exactly zero are accepted.
        units: Units of the file, which are converted; None for Å and eV.
        stretch: Stretch of an extxyz file to read; None reads all of it. The names of labels are
            those of the first frames of the file.

    Yields:
        The number of each frame, from 1, with the frame or the error that refuses it. If the file
        breaks off, the last entry is the error that says so.

    Raises:
        DataError: The file does not exist, is empty, cannot be unpacked or is not UTF-8.
        BackendError: ASE is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "hydrogen.xyz")
        ...     _ = path.write_text("1\n\nH 0 0 0\n" + "1\n\nH 0 0 oops\n")
        ...     found = [frame for _, frame in scan_frames(path, labels_required=False)]
        >>> len(found[0]), str(found[1]).split(", ", 1)[1]
        (1, "frame 2, line 6: 'oops' is not a number")
    """
    path = Path(path).expanduser()
    if not path.is_file():
        kind = (
            "a folder, not a file; name a file in it"
            if path.is_dir()
            else "not there; check the path"
        )
        raise DataError(f"{path}: {kind}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; write or copy it anew")
    names = LabelNames(
        LabelKeys(energy_key, forces_key, stress_key),
        required=labels_required,
        forces_required=forces_required,
        mixed=mixed_labels,
    )
    units = units or Units()
    if stretch is not None and stretch.start:
        _settle(names, path)
    for number, atoms in _reader(path, stretch)(path):
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
            yield number, units.convert(frame)


def read_atoms(path: Path) -> Iterator["ase.Atoms"]:
    r"""Read the structures of a file one by one as ASE atoms, with all values that they have.

    Args:
        path: File that :func:`read_frames` reads.

    Yields:
        Atoms; values of a database are in their ``info``.

    Raises:
        DataError: A structure is broken, or the file breaks off.
        BackendError: ASE is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "helium.xyz")
        ...     _ = path.write_text("1\ngap=19.8\nHe 0 0 0\n\n1\ngap=19.8\nHe 0 0 0\n")
        ...     [float(atoms.info["gap"]) for atoms in read_atoms(path)]
        [19.8, 19.8]
    """
    for _, atoms in _reader(path, None)(path):
        if isinstance(atoms, DataError):
            raise atoms
        yield atoms


def _check_some_labels(frames: Sequence[Frame], given: LabelKeys) -> None:
    """Refuse a file without any label, or without one that was asked for by name."""
    there = ", ".join(frames[0].unread)
    hint = f"its first frame has {there}" if there else "its first frame has no other values"
    place = frames[0].source
    for kind, name in vars(given).items():
        if name is not None and all(getattr(frame, kind) is None for frame in frames):
            raise DataError(
                f"{place}: no {kind} named {name!r} in this frame and {len(frames) - 1} after it; "
                f"{hint}; give the right name as {kind}_key"
            )
    if all(frame.energy is None and frame.forces is None for frame in frames):
        raise DataError(
            f"{place}: no energy and no forces in this frame and {len(frames) - 1} after it; "
            f"{hint}; give the right names as energy_key and forces_key"
        )


def _settle(names: LabelNames, path: Path) -> None:
    """Settle the names of labels on the first frames of a file, as reading all of it would."""
    for number, atoms in itertools.islice(_read_extxyz(path), _SETTLING):
        if not isinstance(atoms, DataError):
            source = f"{path}, frame {number}"
            with suppress(DataError):
                names.choose(stored_values(atoms, source), source, atoms=len(atoms))


_Reader = Callable[[Path], Iterator[tuple[int, "ase.Atoms | DataError"]]]


def _reader(path: Path, stretch: Stretch | None) -> _Reader:
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSED]
    kind = suffixes[-1] if suffixes else ""
    if kind in {".xyz", ".extxyz"}:
        return functools.partial(_read_extxyz, stretch=stretch)
    return _read_database if kind == ".db" else _read_any


def _read_extxyz(
    path: Path, stretch: Stretch | None = None
) -> Iterator[tuple[int, "ase.Atoms | DataError"]]:
    ase = ase_library()
    for number, block in number_blocks(text_lines(path, stretch), path, stretch):
        if isinstance(block, DataError):
            yield number, block
            continue
        place = f"{path}, frame {number}"
        try:
            _check_comment(block.lines[1], f"{place}, line {block.line + 1}")
            _check_columns(block, place)
            block.lines[1] = _TENSOR.sub(rf"{_OTHER_NAME}\1", block.lines[1])
            text = "\n".join(block.lines) + "\n"
            atoms = ase.io.read(io.StringIO(text), 0, format="extxyz")
            atoms.info = {k.removeprefix(_OTHER_NAME): v for k, v in atoms.info.items()}
            _refuse_misspelt(atoms, block.lines[1], f"{place}, line {block.line + 1}")
            yield number, atoms
        except DataError as error:
            yield number, error
        except Exception as error:  # noqa: BLE001 - ASE raises whatever its parsing meets
            line, reason = _offending_line(block, error)
            yield number, DataError(f"{place}, line {line}: {reason}")


def _check_comment(comment: str, place: str) -> None:
    """Refuse keys that are there twice, and a ``pbc`` of other words: ASE takes all for true."""
    names = _KEY.findall(_QUOTED.sub("", comment))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{place}: the key {twice[0]!r} is there twice; leave one of them out")
    pbc = _PBC.search(comment)
    if pbc is not None and not set(re.split(r"[\s,\"'(){}\[\]]+", pbc[1].lower())) <= _TRUTHS:
        raise DataError(f"{place}: pbc is {pbc[1]}; write three of T and F, such as 'T T F'")


def _refuse_misspelt(atoms: "ase.Atoms", comment: str, place: str) -> None:
    """Refuse a misspelt structural key, which ASE ignores: a crystal would become a molecule."""
    may_be_crystal = not atoms.pbc.any() and _PBC.search(comment) is None
    for name, value in atoms.info.items():
        right = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}.get(name.lower())
        is_lattice = name.lower().replace("_", "").replace("-", "") in _LATTICE
        if is_lattice and may_be_crystal and np.size(value) in {3, 6, 9}:
            right = "Lattice"
        if right is not None:
            raise DataError(f"{place}: extxyz has no key {name!r}; write it {right!r}")


def atoms_of_row(row: Any) -> "ase.Atoms":
    """Convert a row of an ASE database into atoms, with all values that may be labels.

    Args:
        row: Row that ``ase.db.connect(...).select()`` yields.

    Returns:
        Atoms whose ``info`` holds the key-value pairs and the data of the row.

    Example:
        >>> import tempfile
        >>> from ase import Atoms
        >>> from ase.db import connect
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     database = connect(Path(folder, "atoms.db"))
        ...     _ = database.write(Atoms("H"), pbe_energy=-13.6)
        ...     atoms_of_row(database.get(id=1)).info["pbe_energy"]
        -13.6
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


def _columns(comment: str) -> list[tuple[str, str]] | None:
    """Return name and kind (S, I, R, L) of each column, or None if the comment names no columns."""
    match = _PROPERTIES.search(comment)
    if match is None:
        return None
    fields = match.group(1).split(":")
    names, kinds, widths = fields[::3], fields[1::3], fields[2::3]
    if len(fields) % 3 or not all(width.isdigit() for width in widths):
        return None  # ASE refuses such a comment
    each = zip(names, kinds, widths, strict=True)
    return [(name, kind) for name, kind, width in each for _ in range(int(width))]


def _column_kinds(comment: str) -> str | None:
    """Return the kinds of the columns as one word, or None if the comment names no columns."""
    columns = _columns(comment)
    return None if columns is None else "".join(kind for _, kind in columns)


def _check_columns(block: Block, place: str) -> None:
    columns = _columns(block.lines[1])
    kinds = _column_kinds(block.lines[1])
    if columns is not None and not {"pos", "positions"} & {name for name, _ in columns}:
        raise DataError(
            f"{place}, line {block.line + 1}: Properties name no column 'pos'; without it all "
            "atoms would be at the origin"
        )
    for offset, row in enumerate(block.lines[2:], start=2):
        found = len(row.split())
        # Plain xyz may have further columns, which its comment does not name.
        if found < 4 if kinds is None else found != len(kinds):
            wanted = "at least 4" if kinds is None else str(len(kinds))
            raise DataError(
                f"{place}, line {block.line + offset}: expected {wanted} columns, found {found}"
            )
    for at, (name, kind) in enumerate(columns or []):
        if name in _WHOLE and kind == "R":
            entries = [row.split()[at] for row in block.lines[2:]]
            if all(_is_number(entry) for entry in entries):
                whole(np.array(entries, dtype=np.float64), name, place)


def _offending_line(block: Block, error: Exception) -> tuple[int, str]:
    """Find the line that ASE cannot read: that of the first unfitting entry, or the comment."""
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
    """Warn if the forces on all fixed atoms are zero: a constraint zeroed them on writing."""
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
