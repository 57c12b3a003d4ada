"""Reader of files of molecules with properties: .xyz, .db and .npz."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equinet.data.arrays import read_arrays
from equinet.data.atoms import ase_library, read_atoms, whole
from equinet.data.molecules.molecules import Molecules
from equinet.errors import DataError
from equinet.files import reading
from equinet.names import did_you_mean

# Names of the arrays of an .npz file, of which the first that is there is taken.
_NUMBERS = ("Z", "numbers", "atomic_numbers")
_POSITIONS = ("R", "positions", "pos", "coordinates")
_COUNTS = ("N", "counts", "n_atoms")
_LARGEST = 118


def read_molecules(path: Path, names: Sequence[str]) -> tuple[Molecules, dict[str, str]]:
    r"""Read molecules with some of their properties.

    An ``.npz`` file has the arrays ``Z`` [atoms], ``R`` [atoms, 3], Å, and ``N`` [molecules], the
    number of atoms of each molecule, and one array for each property, of molecules or of atoms. In
    a ``.db`` file of ASE a property is a key or an entry of ``data``; in other files, which are
    read as extxyz, a key of the comment line or a column.

    Args:
        path: File to read.
        names: Names of the properties, as the file has them.

    Returns:
        The molecules with the values [molecule, ...] or [atom] of each property; and the units that
        the file itself gives, by name of the property.

    Raises:
        DataError: The file is missing or broken, or a molecule lacks a property, has an unknown
            element or holds a value that is not finite.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "water.xyz")
        ...     _ = path.write_text('1\ndipole="0 0 1"\nHe 0 0 0\n')
        ...     read_molecules(path, ["dipole"])[0].values["dipole"].tolist()
        [[0.0, 0.0, 1.0]]
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}; give one that ends in .xyz, .db or .npz")
    if path.suffix == ".npz":
        return _read_npz(path, names), {}
    units: dict[str, str] = {}
    with reading(path, "molecules"):
        if path.suffix == ".db":
            units = _units(path)
        found = list(_rows(path))
    if not found:
        raise DataError(f"{path} holds no molecules")
    for place, (numbers, _, _) in enumerate(found):
        if not len(numbers):
            raise DataError(f"{path}, molecule {place}: it has no atoms; leave it out")
        if numbers.min() < 1:
            raise DataError(f"{path}, molecule {place}: atomic number 0 is no element; correct it")
    counts = np.array([len(numbers) for numbers, _, _ in found], dtype=np.int64)
    values = {name: _gathered(path, name, found, counts) for name in names}
    molecules = Molecules(
        np.concatenate([numbers for numbers, _, _ in found]).astype(np.uint8),
        np.concatenate([positions for _, positions, _ in found]).astype(np.float64),
        np.concatenate([[0], counts.cumsum()]),
        values,
    )
    return _checked(molecules, path), {name: units[name] for name in names if name in units}


def _rows(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, Mapping[str, Any]]]:
    """Yield atomic numbers, positions and everything else of each molecule."""
    for atoms in read_atoms(path):
        results = {} if atoms.calc is None else dict(atoms.calc.results)
        yield atoms.numbers, atoms.positions, {**atoms.arrays, **results, **atoms.info}


def _units(path: Path) -> dict[str, str]:
    """Return the units that the metadata of a database give, as SchNetPack writes them."""
    with ase_library().db.connect(path) as database:
        metadata: Any = database.metadata
    units = metadata.get("_property_unit_dict", {})
    return {str(name): str(unit) for name, unit in units.items()}


def _gathered(
    path: Path,
    name: str,
    found: Sequence[tuple[np.ndarray, np.ndarray, Mapping[str, Any]]],
    counts: np.ndarray,
) -> np.ndarray:
    """Collect one property of all molecules, whose shapes must agree."""
    parts = []
    for place, (_, _, known) in enumerate(found):
        if name not in known:
            lacking = "" if place == 0 else f" of molecule {place}, which earlier ones have"
            raise DataError(
                f"{path} has no {name!r}{lacking}{did_you_mean(name, map(str, known))}; name "
                "properties as the file does"
            )
        parts.append(_numbers(f"{path}, molecule {place}", name, known[name]))
    of_atoms = [part.shape[:1] == (count,) for part, count in zip(parts, counts, strict=True)]
    shapes = {part.shape for part in parts}
    # Scalars of atoms have as many values as each molecule has atoms.
    if all(of_atoms) and (len(shapes) > 1 or shapes.isdisjoint({(), (1,), (3,), (9,)})):
        if any(part.ndim != 1 for part in parts):
            raise DataError(f"{path}: {name} has several values an atom; give scalars of atoms")
        return np.concatenate(parts)
    if len(shapes) > 1:
        odd = next(k for k, part in enumerate(parts) if part.shape != parts[0].shape)
        raise DataError(
            f"{path}, molecule {odd}: {name} has shape {list(parts[odd].shape)}, that of the first "
            f"molecule {list(parts[0].shape)}"
        )
    return _of_molecules(path, name, np.stack(parts))


def _numbers(place: str, name: str, value: Any) -> np.ndarray:
    """Read numbers; truth values would become 0 and 1, and complex ones lose a part."""
    with reading(f"{place}: {name}", "numbers"):
        found = np.asarray(value)
        if found.dtype.kind not in "fiu":
            raise TypeError(f"it holds {str(value)[:60]}")
    return found.astype(np.float64)


def _of_molecules(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """Give scalars, vectors and tensors of molecules their shapes [M], [M, 3] and [M, 3, 3]."""
    shapes = {1: (), 3: (3,), 9: (3, 3)}
    size = int(np.prod(values.shape[1:]))
    if size not in shapes:
        raise DataError(
            f"{path}: {name} has {size} values a molecule; a scalar has 1, a vector 3, a tensor 9"
        )
    return values.reshape(len(values), *shapes[size])


def _read_npz(path: Path, names: Sequence[str]) -> Molecules:
    arrays = read_arrays(path, "molecules")
    numbers, positions, counts = (
        next((arrays[name] for name in options if name in arrays), None)
        for options in (_NUMBERS, _POSITIONS, _COUNTS)
    )
    if numbers is None or positions is None or counts is None:
        raise DataError(
            f"{path} must have the arrays Z, R and N (elements and places of all atoms, and the "
            f"number of atoms of each molecule), found {', '.join(sorted(arrays))}"
        )
    numbers, positions, counts = (
        _numbers(str(path), name, array)
        for name, array in (("Z", numbers), ("R", positions), ("N", counts))
    )
    numbers, counts = whole(numbers, "Z", str(path)), whole(counts, "N", str(path))
    shapes = (numbers.shape, positions.shape, counts.ndim, counts.sum())
    if shapes != ((numbers.size,), (numbers.size, 3), 1, numbers.size) or (counts < 1).any():
        raise DataError(
            f"{path}: Z {list(numbers.shape)}, R {list(positions.shape)} and N, whose sum is "
            f"{counts.sum()}, do not fit one another"
        )
    if ((numbers < 1) | (numbers > _LARGEST)).any():
        raise DataError(f"{path}: Z must hold atomic numbers, from 1 to {_LARGEST}")
    values = {}
    for name in names:
        if name not in arrays:
            raise DataError(f"{path} has no {name!r}{did_you_mean(name, arrays)}")
        array = np.atleast_1d(_numbers(str(path), name, arrays[name]))
        if len(array) == len(numbers) != len(counts):
            values[name] = array.reshape(len(numbers))
        elif len(array) == len(counts):
            values[name] = _of_molecules(path, name, array)
        else:
            raise DataError(
                f"{path}: {name} has {len(array)} values for {len(counts)} molecules of "
                f"{len(numbers)} atoms"
            )
    starts = np.concatenate([[0], counts.cumsum()])
    found = Molecules(numbers.astype(np.uint8), positions.astype(np.float64), starts, values)
    return _checked(found, path)


def _checked(molecules: Molecules, path: Path) -> Molecules:
    """Refuse values that are not finite, by the molecule that has one."""
    for name, values in {"positions": molecules.positions, **molecules.values}.items():
        is_finite = np.isfinite(values.reshape(len(values), -1)).all(1)
        if not is_finite.all():
            place = int(is_finite.argmin())
            if len(values) == len(molecules.numbers) != len(molecules):
                place = int(np.searchsorted(molecules.starts, place, side="right")) - 1
            raise DataError(f"{path}, molecule {place}: {name} is not finite; leave it out")
    return molecules
