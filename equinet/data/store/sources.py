"""Find what can be converted, and divide it into parts: each part becomes one shard."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from equinet.data.atoms import (
    LabelKeys,
    LabelNames,
    Stretch,
    ase_library,
    atoms_of_row,
    frame_from_atoms,
    scan_frames,
    stored_values,
    stretches,
)
from equinet.data.store.archives import Blob, tar_members
from equinet.data.store.layout import is_store
from equinet.data.store.lmdb_records import JsonPart, PickledPart, lmdb_parts
from equinet.data.store.records import Record, Refusal
from equinet.data.store.s2ef import S2EFPart, pair_up
from equinet.errors import DataError
from equinet.files import reading

_ROWS = 5000  # rows of a database in one part
_TEXT = (".xyz", ".extxyz")
_PACKED = (".xz", ".gz", ".bz2")
_LMDB = (".lmdb", ".aselmdb")


@dataclass(frozen=True)
class FilePart:
    """A file that :func:`equinet.data.read_frames` reads, or a stretch of one.

    Attributes:
        path: Path of the file.
        stretch: Stretch of an extxyz file; all of it by default.
    """

    path: Path
    stretch: Stretch | None = None

    @property
    def name(self) -> str:
        """Path of the file, and the number of the frame where a stretch of it begins."""
        if self.stretch is None:
            return str(self.path)
        return f"{self.path}, from frame {self.stretch.frames + 1}"

    @property
    def size(self) -> int:
        """Number of bytes of the file, or of its stretch."""
        stretch = self.stretch or Stretch()
        return stretch.size or self.path.stat().st_size

    def records(self, keys: LabelKeys | None = None) -> Iterator[Record | Refusal]:
        """Read all frames with the labels that they have.

        Args:
            keys: Names of the labels; None looks for common ones.
        """
        names = {f"{kind}_key": name for kind, name in vars(keys or LabelKeys()).items()}
        try:
            for number, frame in scan_frames(
                self.path, labels_required=False, stretch=self.stretch, **names
            ):
                if isinstance(frame, DataError):
                    yield Refusal(str(self.path), number, str(frame))
                else:
                    yield Record(frame, number)
        except DataError as error:
            yield Refusal(str(self.path), None, str(error))


@dataclass(frozen=True)
class DatabasePart:
    """Consecutive rows of an ASE database (SQLite or JSON).

    Attributes:
        path: Path of the database.
        start: Number of rows before the first row of the part, in the order of their ids.
        size: Number of rows of the part.
    """

    path: Path
    start: int
    size: int

    @property
    def name(self) -> str:
        """Path of the file and range of rows."""
        return f"{self.path}, rows {self.start + 1} to {self.start + self.size}"

    def records(self, keys: LabelKeys | None = None) -> Iterator[Record | Refusal]:
        """Read the rows with the labels that they have.

        Args:
            keys: Names of the labels; None looks for common ones.
        """
        names = LabelNames(keys, required=False, settle=False)
        ase_library()
        from ase.db import connect

        number = self.start
        rows = iter(connect(self.path).select(sort="id", offset=self.start, limit=self.size))
        while True:
            number += 1
            place = f"{self.path}, frame {number}"
            try:
                with reading(place, "a row of an ASE database"):
                    row = next(rows, None)
            except DataError as error:  # the rows after a damaged one cannot be reached
                yield Refusal(str(self.path), number, str(error))
                return
            if row is None:
                return
            place = f"{place} (id {row.id})"
            try:
                with reading(place, "a row of an ASE database"):
                    atoms = atoms_of_row(row)
                    found = names.choose(stored_values(atoms, place), place, atoms=len(atoms))
                    frame = frame_from_atoms(atoms, found, source=place)
            except DataError as error:
                yield Refusal(str(self.path), number, str(error))
            else:
                yield Record(frame, number)


Part = S2EFPart | FilePart | DatabasePart | PickledPart | JsonPart
"""Part of a source. ``records(keys)`` reads it; a continued conversion recognizes it by ``name``
and ``size`` (in bytes or records)."""


def find_parts(source: str | Path) -> list[Part]:
    """Divide a file, folder or tar into parts in a fixed order.

    In a folder or an uncompressed tar of S2EF files, every pair is a part. Another folder must
    contain files of one kind: LMDB (``.lmdb`` of pickled PyG objects, ``.aselmdb``), ASE databases
    (``.db``) or extxyz. A single file may be one of these, or any file that ASE reads.

    Args:
        source: Path of the file, folder or tar.

    Returns:
        The parts, at least one.

    Raises:
        DataError: There is nothing to convert, or a folder has files of several kinds.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("10.xyz", "9.xyz", "notes.txt.bak"):
        ...         _ = Path(folder, name).write_text("1")
        ...     [Path(part.name).name for part in find_parts(folder)]
        ['9.xyz', '10.xyz']
    """
    source = Path(source).expanduser()
    if not source.exists():
        raise DataError(
            f"{source}: not there; name a store, a folder or tar of S2EF pairs, an LMDB file or a "
            "file of frames"
        )
    if source.suffix == ".tar":
        pairs = pair_up(tar_members(source), str(source))
        if not pairs:
            raise DataError(f"{source}: no S2EF files N.extxyz.xz and N.txt.xz in the tar")
        return list(pairs)
    if source.is_file():
        return list(_file_parts(source))
    pairs = s2ef_pairs(source)
    if pairs:
        return list(pairs)
    return [part for path in _files_of_one_kind(source) for part in _file_parts(path)]


def files_of_frames(source: Path) -> list[Path]:
    """Return the files of a source if :func:`equinet.data.read_frames` reads them.

    Args:
        source: Path of a file or folder.

    Returns:
        Paths in order; none for stores, LMDB files and S2EF pairs.

    Raises:
        DataError: A folder has no files of structures, or files of several kinds.

    Example:
        >>> files_of_frames(Path("water.xyz")), files_of_frames(Path("s2ef_val_id.tar"))
        ([PosixPath('water.xyz')], [])
    """
    if not source.is_dir():
        return [] if _kind(source) in (*_LMDB, ".tar") else [source]
    if is_store(source) or s2ef_pairs(source):
        return []
    return [path for path in _files_of_one_kind(source) if _kind(path) not in _LMDB]


def _files_of_one_kind(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.iterdir(), key=_natural) if path.is_file()]
    by_kind = {
        kind: [path for path in files if _kind(path) in suffixes]
        for kind, suffixes in (("LMDB", _LMDB), ("ASE database", (".db",)), ("extxyz", _TEXT))
    }
    kinds = [kind for kind, paths in by_kind.items() if paths]
    if len(kinds) != 1:
        what = f"several kinds of files ({', '.join(kinds)})" if kinds else "no files of structures"
        raise DataError(f"{folder}: the folder holds {what}; name a file, or a folder of one kind")
    return by_kind[kinds[0]]


def s2ef_pairs(folder: Path) -> list[S2EFPart]:
    """Find the S2EF pairs in a folder ``NAME``, or in ``NAME/NAME``, where released tars unpack.

    Args:
        folder: Folder that may contain pairs of S2EF files.

    Returns:
        The pairs in order; an empty list if there are none.

    Raises:
        DataError: One file of a pair is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("1.extxyz", "1.txt"):
        ...         Path(folder, name).touch()
        ...     [Path(pair.name).name for pair in s2ef_pairs(Path(folder))]
        ['1.extxyz']
    """
    inner = folder / folder.name
    for place in (folder, inner):
        files = list(place.iterdir()) if place.is_dir() else []
        names = [re.sub(r"\.xz$", "", path.name) for path in files]
        if any(Path(name).suffix == ".txt" for name in names):
            blobs = [Blob.of(path) for path in files if path.is_file()]
            if pairs := pair_up(blobs, str(place)):
                return pairs
    return []


def find_splits(root: str | Path) -> dict[str, Path]:
    """Find the splits in a downloaded folder: subfolders and tars that can be read or converted.

    Args:
        root: Folder that contains the splits.

    Returns:
        Paths of the splits by name. A split is a store, a folder of S2EF pairs or of LMDB files, or
        a tar; a folder is preferred to a tar with the same name.

    Raises:
        DataError: The folder does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("s2ef_train_200K.tar", "s2ef_val_id.tar", "README.md"):
        ...         Path(folder, name).touch()
        ...     list(find_splits(folder))
        ['s2ef_train_200K', 's2ef_val_id']
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        state = "not a folder" if root.exists() else "not there"
        raise DataError(
            f"{root}: {state}; name the folder that holds the splits, as downloaded or converted"
        )
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir(), key=_natural):
        if path.is_dir() and (is_store(path) or s2ef_pairs(path) or _has_lmdb(path)):
            found[path.name] = path
    for path in sorted(root.glob("*.tar"), key=_natural):
        found.setdefault(path.stem, path)
    return found


def _has_lmdb(folder: Path) -> bool:
    return any(path.is_file() and _kind(path) in _LMDB for path in folder.iterdir())


def _file_parts(path: Path) -> Sequence[Part]:
    kind = _kind(path)
    if kind in _LMDB:
        return lmdb_parts(path, json=kind == ".aselmdb", rows=_ROWS)
    if kind == ".db":
        ase_library()
        from ase.db import connect

        try:
            count = connect(path).count()
        except Exception as error:  # each of ASE's backends raises its own errors
            raise DataError(
                f"{path}: ASE cannot read the database ({error}); get the file again"
            ) from error
        return [
            DatabasePart(path, start, min(_ROWS, count - start)) for start in range(0, count, _ROWS)
        ]
    if kind in _TEXT:
        return [FilePart(path, stretch) for stretch in stretches(path)]
    return [FilePart(path)]


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED]
    return suffixes[-1] if suffixes else ""


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts file names by the numbers in them: 9 before 10."""
    words = re.split(r"(\d+)", path.name)
    return [(int(w.isdigit()), int(w) if w.isdigit() else 0, w) for w in words]
