"""Reader of the tables of QM9 in the files of the package qm9pack.

Source: Ramakrishnan et al., Sci. Data 1, 140022 (2014), CC0; the package qm9pack 1.0.3 (MIT) lists
the 130 831 molecules whose geometry was characterized as consistent, with Mulliken charges and the
tensors of the polarizability.
"""

import csv
import hashlib
import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from equinet.data.molecules.molecules import Molecules
from equinet.elements import SYMBOLS
from equinet.errors import DataError
from equinet.files import reading

_log = logging.getLogger(__name__)

TABLES = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv")
TENSORS = "qm9_polarizability.csv"
MOLECULES = 130_831
"""Number of molecules in the published tables."""
PUBLISHED = "e9b1f695f3a1c50b3cec5591f9f47e7011cd691f6552aea7e916a59453e67414"
"""Checksum of the published tables, as :func:`read_tables` computes it."""
TABLED = "polarizability_tabled"
"""Name of the tensors of the polarizability, a0³, with the axes of the table."""
HARTREE = 27.211386245988  # eV, CODATA 2018
DEBYE = 4.803204712570263  # D of a charge of one electron at a distance of 1 Å

# Columns of the tables, in the order of the twelve targets, with their units in eV, D, a0 or
# cal/(mol K).
_COLUMNS: Mapping[str, tuple[str, float]] = {
    "mu": ("Dipole_debye", 1.0),
    "alpha": ("Polarizability_bohr3", 1.0),
    "homo": ("HOMO_au", HARTREE),
    "lumo": ("LUMO_au", HARTREE),
    "gap": ("HOMO_LUMO_gap_au", HARTREE),
    "r2": ("R2_bohr2", 1.0),
    "zpve": ("ZPVE_au", HARTREE),
    "U0": ("InternalEnergy_0K_au", HARTREE),
    "U": ("InternalEnergy_298K_au", HARTREE),
    "H": ("Enthalphy_298K_au", HARTREE),
    "G": ("GibbsFreeEnergy_298K_au", HARTREE),
    "Cv": ("Heatcapacity_Cv_cal_mol_K", 1.0),
}
# Energies of the free atoms H, C, N, O and F at the same level of theory, Hartree, from the file
# atomref.txt of Ramakrishnan et al. (2014).
_FREE_ATOMS: Mapping[str, Mapping[int, float]] = {
    "U0": {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730},
    "U": {1: -0.498857, 6: -37.845355, 7: -54.582445, 8: -75.063163, 9: -99.717314},
    "H": {1: -0.497912, 6: -37.844411, 7: -54.581501, 8: -75.062219, 9: -99.716370},
    "G": {1: -0.510927, 6: -37.861317, 7: -54.598897, 8: -75.079532, 9: -99.733544},
}
_KNOWN = frozenset(_FREE_ATOMS["U0"])
_NUMBERS = {name: number for number, name in enumerate(SYMBOLS) if number}
# The lower triangle of the tensor, row by row, as the table lists it.
_TENSOR_COLUMNS = ("A_xx", "A_xy", "A_yy", "A_xz", "A_yz", "A_zz")
_STRIPPED = str.maketrans("", "", "[]' ")
_AGAIN = "it is cut short or damaged: copy it again, or reinstall qm9pack"


def find_tables() -> Path:
    """Return the folder of the tables in the installed package qm9pack, which is not imported.

    Raises:
        DataError: The package is not installed.

    Example:
        >>> is_there = importlib.util.find_spec("qm9pack") is not None
        >>> find_tables().name if is_there else "data"
        'data'
    """
    found = importlib.util.find_spec("qm9pack")
    if found is None or not found.submodule_search_locations:
        raise DataError(
            "QM9 comes with the package qm9pack, which is not installed: pip install "
            "'.[molecules]' in the clone, or give a folder with its CSV files as data.root"
        )
    return Path(found.submodule_search_locations[0]) / "data"


def read_tables(folder: Path) -> tuple[Molecules, str]:
    """Read the tables of a folder, and compute a checksum of what they say.

    Energies U0, U, H and G are relative to those of the free atoms, so they are negative. The
    dipole vector is that of the Mulliken charges, whose norm differs from the dipole moment ``mu``.
    The tensors keep the axes of the table, which are not those of the positions.

    Args:
        folder: Folder with ``qm9_part1.csv`` to ``qm9_part3.csv`` and ``qm9_polarizability.csv``.

    Returns:
        The molecules in the order of the files, with the values of all properties of QM9; and the
        SHA-256 of the texts of the columns that are read, see :data:`PUBLISHED`.

    Raises:
        DataError: A file is missing, damaged or cut short, holds a value that is not finite, or
            lists other molecules than the file of the tensors.

    Example:
        >>> read_tables(Path("absent"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        equinet.errors.DataError: absent: there is no qm9_part1.csv, ...
    """
    own = ["XYZ_file", "SMILES", "InChi", "Elements", "XYZ_Ang", "Mulliken_pop"]
    names = [*own, *(column for column, _ in _COLUMNS.values())]
    files: list[str] = []
    parts: dict[str, list[Any]] = {name: [] for name in ("numbers", "positions", "charges")}
    texts: dict[str, list[bytes]] = {"smiles": [], "inchi": []}
    rows: list[list[float]] = []
    digest = hashlib.sha256()
    for path in (folder / name for name in TABLES):
        for line, (file, smiles, inchi, elements, places, charges, *targets) in _rows(path, names):
            numbers = [_NUMBERS.get(each, 0) for each in elements.translate(_STRIPPED).split(",")]
            digest.update("|".join([file, elements, places, charges, *targets]).encode())
            files.append(file)
            texts["smiles"].append(smiles.encode())
            texts["inchi"].append(inchi.encode())
            with _within(path, line):
                parts["numbers"].append(np.array(numbers, dtype=np.uint8))
                parts["positions"].append(_numbers(places, 3 * len(numbers)).reshape(-1, 3))
                parts["charges"].append(_numbers(charges, len(numbers)))
                rows.append([float(value) for value in targets])
                if not _KNOWN.issuperset(numbers):
                    raise ValueError(f"an element among {elements} is none of H, C, N, O, F")
                if not np.isfinite(rows[-1]).all():
                    raise ValueError("a target is not finite")
        _log.info("%s: %d molecules so far", path.name, len(files))
    if not files:
        raise DataError(f"{folder}: the tables of QM9 list no molecules; {_AGAIN}")
    counts = np.array([len(each) for each in parts["numbers"]], dtype=np.int64)
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    columns = zip(_COLUMNS.items(), np.array(rows).T, strict=True)
    values = {name: unit * column for (name, (_, unit)), column in columns}
    tensors = _read_tensors(folder / TENSORS, files)
    digest.update(tensors.astype("<f8").tobytes())
    lines = {kind: np.array(each) for kind, each in texts.items()}
    return _molecules(joined, counts, values, tensors, lines), digest.hexdigest()


def _molecules(
    atoms: Mapping[str, np.ndarray],
    counts: Int64[np.ndarray, " molecule"],
    values: Mapping[str, np.ndarray],
    tensors: Float64[np.ndarray, "molecule 3 3"],
    texts: Mapping[str, np.ndarray],
) -> Molecules:
    """Subtract the energies of free atoms, and compute the dipoles of the charges."""
    starts = np.concatenate([[0], counts.cumsum()])
    numbers, charges = atoms["numbers"], atoms["charges"]
    found = dict(values)
    for name, energies in _FREE_ATOMS.items():
        of_element = np.full(256, np.nan)
        of_element[list(energies)] = list(energies.values())
        found[name] = found[name] - HARTREE * np.add.reduceat(of_element[numbers], starts[:-1])
    moments = np.add.reduceat(charges[:, None] * atoms["positions"], starts[:-1])
    found |= {"dipole_vector": DEBYE * moments, "charges": charges, TABLED: tensors}
    return Molecules(numbers, atoms["positions"], starts, found, texts)


def _rows(path: Path, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and the named columns of a table, and refuse rows that are cut short."""
    if not path.is_file():
        raise DataError(f"{path.parent}: there is no {path.name}, one of the files of qm9pack")
    with reading(path, "a table of QM9"), path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        head = next(lines, [])
        missing = [name for name in names if name not in head]
        if missing:
            raise ValueError(f"it has no column {missing[0]}; {_AGAIN}")
        places = [head.index(name) for name in names]
        for row in lines:
            if not row:
                continue
            if len(row) != len(head):
                found = f"line {lines.line_num} has {len(row)} of {len(head)} columns"
                raise ValueError(f"{found}; {_AGAIN}")
            yield lines.line_num, [row[place] for place in places]


def _read_tensors(path: Path, files: Sequence[str]) -> Float64[np.ndarray, "molecule 3 3"]:
    """Read the polarizabilities of the molecules that the other tables list, in the same order."""
    names, triangles = [], []
    for line, (name, *values) in _rows(path, ["XYZ_file", *_TENSOR_COLUMNS]):
        names.append(name)
        with _within(path, line):
            triangles.append([float(value) for value in values])
            if not np.isfinite(triangles[-1]).all():
                raise ValueError("a component is not finite")
    if names != files:
        raise DataError(
            f"{path} lists {len(names)} molecules, which are not the {len(files)} of the other "
            f"tables in the same order; {_AGAIN}"
        )
    tensors = np.empty((len(files), 3, 3))
    rows, columns = np.tril_indices(3)
    tensors[:, rows, columns] = tensors[:, columns, rows] = np.array(triangles).reshape(-1, 6)
    return tensors


@contextmanager
def _within(path: Path, line: int) -> Iterator[None]:
    """Name file and line in the error of a value that cannot be read."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {error}; {_AGAIN}") from error


def _numbers(text: str, count: int) -> Float64[np.ndarray, " count"]:
    """Read a nested list of numbers as one row."""
    found = np.array([float(each) for each in text.translate(_STRIPPED).split(",")])
    if len(found) != count:
        raise ValueError(f"{len(found)} numbers were found, not {count}")
    if not np.isfinite(found).all():
        raise ValueError("a number is not finite")
    return found
