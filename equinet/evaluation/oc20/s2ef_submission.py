"""Submissions of energies and forces (S2EF) to OC20's leaderboard."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from equinet.data import read_arrays
from equinet.errors import DataError
from equinet.files import whole_file

SPLITS = ("id", "ood_ads", "ood_cat", "ood_both")
"""Names of the four test splits, with which the keys of a submission begin."""


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions for the structures of one split, in any order.

    Attributes:
        ids: Identifier ``"system_frame"`` of each structure.
        energy: Energy of each structure, eV.
        atoms: Number of atoms of each structure.
        forces: Forces on all atoms, structure after structure, eV/Å.
        fixed: Whether each atom is fixed; its force is then not submitted.
    """

    ids: list[str]
    energy: Float[np.ndarray, " structure"]
    atoms: Int[np.ndarray, " structure"]
    forces: Float[np.ndarray, "atom 3"]
    fixed: Bool[np.ndarray, " atom"]


def write_s2ef_submission(
    path: str | Path, splits: Mapping[str, SplitPredictions], *, dtype: str = "float32"
) -> None:
    """Write a submission of the S2EF task, and read it back.

    For every split the file holds ``SPLIT_ids`` in alphabetical order, ``SPLIT_energy``,
    ``SPLIT_forces`` of the free atoms of all structures and ``SPLIT_chunk_idx``, the places where
    the forces of one structure end and those of the next begin. A structure that occurs more than
    once is written once.

    Args:
        path: File to write, ending in ``.npz``.
        splits: Predictions by name of the split; a valid submission has all of :data:`SPLITS`.
        dtype: Type of energies and forces: ``float32``, or ``float16``, which resolves 0.004 eV
            between 4 and 8 eV.

    Raises:
        DataError: A split is not known, a prediction is not finite or too large for ``dtype``, or
            the file does not hold what was written.

    Example:
        >>> import tempfile
        >>> found = SplitPredictions(
        ...     ["7_0"], np.zeros(1), np.array([2]), np.ones((2, 3)), np.array([True, False])
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "s2ef.npz")
        ...     write_s2ef_submission(path, {"id": found})
        ...     read_s2ef_submission(path)
        {'id': {'7_0': (0.0, array([[1., 1., 1.]]))}}
    """
    packed = {name: _packed(found, dtype) for name, found in splits.items()}
    path = write_splits(path, packed)
    read = read_s2ef_submission(path)
    if list(read) != list(splits):
        raise DataError(f"{path}: holds {list(read)}, not {list(splits)}")
    for name, found in splits.items():
        _compare(read[name], found, dtype, f"{path}, {name}")


def read_s2ef_submission(
    path: str | Path,
) -> dict[str, dict[str, tuple[float, Float[np.ndarray, "free 3"]]]]:
    """Read a submission of the S2EF task.

    Args:
        path: Path of the file to read.

    Returns:
        Energy, eV, and forces on the free atoms, eV/Å, by split and id.

    Raises:
        DataError: An array is missing, misshapen or not finite, or ids repeat or are out of order.
    """
    result = {}
    for split, arrays in read_splits(path, ("ids", "energy", "forces", "chunk_idx")).items():
        ids, energy, forces, ends = arrays
        place = f"{path}, {split}"
        shapes = (ids.ndim, energy.shape, forces.ndim, forces.shape[-1], ends.shape)
        if shapes != (1, ids.shape, 2, 3, (max(len(ids) - 1, 0),)):
            raise DataError(f"{place}: ids, energy, forces and chunk_idx do not fit together")
        if not np.array_equal(ids, np.unique(ids)):
            raise DataError(f"{place}: ids repeat, or are not in order")
        bounds = np.concatenate([[0], ends, [len(forces)]])
        if (np.diff(bounds) < 0).any():
            raise DataError(f"{place}: chunk_idx does not ascend to the {len(forces)} forces")
        if not (np.isfinite(energy).all() and np.isfinite(forces).all()):
            raise DataError(f"{place}: a prediction is not finite, as if too large for its type")
        chunks = np.split(forces.astype(np.float64), ends)
        values = zip(ids.tolist(), energy.astype(np.float64).tolist(), chunks, strict=True)
        result[split] = {key: (value, chunk) for key, value, chunk in values}
    return result


def write_splits(path: str | Path, splits: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """Write arrays as ``SPLIT_NAME`` into a compressed file that is complete or absent.

    Args:
        path: File to write, ending in ``.npz``.
        splits: Arrays by name for each split.

    Returns:
        The path with ``~`` replaced by the home folder.

    Raises:
        DataError: The path does not end in ``.npz``, or a split is not among :data:`SPLITS`.
    """
    path = Path(path).expanduser()
    if path.suffix != ".npz":
        raise DataError(f"{path}: a submission must end in .npz")
    arrays: dict[str, Any] = {}
    for name, found in splits.items():
        if name not in SPLITS:
            raise DataError(f"split {name!r} is none of {', '.join(SPLITS)}")
        arrays |= {f"{name}_{key}": value for key, value in found.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def read_splits(path: str | Path, names: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Read arrays that :func:`write_splits` wrote.

    Args:
        path: Path of the file to read.
        names: Names of the arrays that each split must have.

    Returns:
        Arrays in the order of ``names`` by split, in the order of :data:`SPLITS`.

    Raises:
        DataError: An array is missing.
    """
    arrays = read_arrays(Path(path).expanduser(), "a submission")
    result = {}
    for split in [name for name in SPLITS if f"{name}_ids" in arrays]:
        try:
            result[split] = [arrays[f"{split}_{name}"] for name in names]
        except KeyError as error:
            raise DataError(f"{path}: no {error.args[0]}") from None
    return result


def ids_of(systems: Iterable[int], steps: Iterable[int]) -> list[str]:
    """Name structures as the leaderboard does.

    Args:
        systems: Identifier ``sid`` of the system of each structure.
        steps: Number ``fid`` of each structure in its trajectory.

    Example:
        >>> ids_of([7, 8], [0, 12])
        ['7_0', '8_12']
    """
    return [f"{system}_{step}" for system, step in zip(systems, steps, strict=True)]


def _packed(found: SplitPredictions, dtype: str) -> dict[str, np.ndarray]:
    ids, places = np.unique(np.array(found.ids), return_index=True)
    ends = np.cumsum(found.atoms)
    pieces = [
        found.forces[end - count : end][~found.fixed[end - count : end]]
        for end, count in zip(ends[places], found.atoms[places], strict=True)
    ]
    with np.errstate(over="ignore"):  # overflows are found when the file is read back
        return {
            "ids": ids,
            "energy": found.energy[places].astype(dtype),
            "forces": np.concatenate([np.zeros((0, 3)), *pieces]).astype(dtype),
            "chunk_idx": np.cumsum([len(piece) for piece in pieces])[:-1].astype(np.int64),
        }


def _compare(
    read: Mapping[str, tuple[float, np.ndarray]], found: SplitPredictions, dtype: str, place: str
) -> None:
    """Check that every structure is read back with the energy and forces that were written."""
    if set(read) != set(found.ids):
        raise DataError(f"{place}: the ids read back differ from those written; write it again")
    tolerance = 4 * float(np.finfo(dtype).eps)
    seen: set[str] = set()
    for key, energy, end, count in zip(
        found.ids, found.energy, np.cumsum(found.atoms), found.atoms, strict=True
    ):
        if key in seen:
            continue
        seen.add(key)
        forces = found.forces[end - count : end][~found.fixed[end - count : end]]
        own_energy, own_forces = read[key]
        if own_forces.shape != forces.shape or not (
            np.isclose(own_energy, energy, rtol=tolerance, atol=tolerance)
            and np.allclose(own_forces, forces, rtol=tolerance, atol=tolerance)
        ):
            raise DataError(
                f"{place}: the values of structure {key} read back differ from those written; "
                "write it again"
            )
