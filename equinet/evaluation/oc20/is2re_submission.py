"""Submissions of relaxed energies (IS2RE) and relaxed structures (IS2RS) to OC20's leaderboard."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from equinet.errors import DataError
from equinet.evaluation.oc20.s2ef_submission import read_splits, write_splits


@dataclass(frozen=True)
class RelaxedPredictions:
    """Predictions for the systems of one split, in any order.

    Attributes:
        ids: Identifier ``sid`` of each system.
        energy: Energies of the relaxed structures, eV.
        atoms: Number of atoms of each structure; None where energies were predicted without
            relaxation.
        positions: Positions of all atoms of the relaxed structures, one after another, Å; None
            where energies were predicted without relaxation.
    """

    ids: list[str]
    energy: Float[np.ndarray, " structure"]
    atoms: Int[np.ndarray, " structure"] | None = None
    positions: Float[np.ndarray, "atom 3"] | None = None


def write_is2re_submission(path: str | Path, splits: Mapping[str, RelaxedPredictions]) -> None:
    """Write a submission of the IS2RE task, and read it back.

    For every split the file holds ``SPLIT_ids`` in alphabetical order and ``SPLIT_energy`` in
    float32.

    Args:
        path: File to write, ending in ``.npz``.
        splits: Predictions by name of the split; a valid submission has all four.

    Raises:
        DataError: A split is not known, an energy is not finite, a system occurs twice or has no
            id, or the file does not hold what was written.

    Example:
        >>> import tempfile
        >>> found = RelaxedPredictions(["7", "12"], np.array([-1.5, 0.25]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "energies.npz")
        ...     write_is2re_submission(path, {"id": found})
        ...     read_is2re_submission(path)
        {'id': {'12': 0.25, '7': -1.5}}
    """
    arrays = {}
    for name, found in splits.items():
        ids, order = _sorted(found, f"{path}, {name}")
        arrays[name] = {"ids": ids, "energy": found.energy[order].astype(np.float32)}
    path = write_splits(path, arrays)
    read = read_is2re_submission(path)
    for name, found in splits.items():
        expected = dict(zip(found.ids, found.energy.tolist(), strict=True))
        same = read.get(name, {}).keys() == expected.keys() and all(
            np.isclose(read[name][key], value, rtol=1e-6, atol=1e-6)
            for key, value in expected.items()
        )
        if not same:
            raise DataError(
                f"{path}, {name}: the energies read back differ from those written; write it again"
            )


def read_is2re_submission(path: str | Path) -> dict[str, dict[str, float]]:
    """Read a submission of the IS2RE task.

    Args:
        path: Path of the file to read.

    Returns:
        Energies by split and id, eV.

    Raises:
        DataError: An array is missing, misshapen or not finite, or ids repeat or are out of order.
    """
    result = {}
    for split, (ids, energy) in read_splits(path, ("ids", "energy")).items():
        place = f"{path}, {split}"
        if ids.ndim != 1 or energy.shape != ids.shape:
            raise DataError(f"{place}: ids and energy do not fit together")
        _check_order(ids, place)
        if not np.isfinite(energy).all():
            raise DataError(f"{place}: an energy is not finite")
        result[split] = dict(zip(ids.tolist(), energy.astype(np.float64).tolist(), strict=True))
    return result


def write_is2rs_submission(path: str | Path, splits: Mapping[str, RelaxedPredictions]) -> None:
    """Write a submission of the IS2RS task, and read it back.

    For every split the file holds ``SPLIT_ids`` in alphabetical order, ``SPLIT_pos`` of all atoms
    of all structures in float32 and ``SPLIT_chunk_idx``, the places where one structure ends and
    the next begins.

    Args:
        path: File to write, ending in ``.npz``.
        splits: Predictions with positions by name of the split; a valid submission has all four.

    Raises:
        DataError: A split is not known, a position is not finite, a system occurs twice or has no
            id, or the file does not hold what was written.

    Example:
        >>> import tempfile
        >>> found = RelaxedPredictions(["7"], np.zeros(1), np.array([2]), np.ones((2, 3)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "structures.npz")
        ...     write_is2rs_submission(path, {"id": found})
        ...     read_is2rs_submission(path)["id"]["7"].shape
        (2, 3)
    """
    arrays, structures = {}, {}
    for name, found in splits.items():
        ids, order = _sorted(found, f"{path}, {name}")
        if found.atoms is None or found.positions is None:
            raise DataError(
                f"{path}, {name}: there are no relaxed positions to submit; relax the structures"
            )
        pieces = np.split(found.positions, np.cumsum(found.atoms)[:-1])
        structures[name] = dict(zip(found.ids, pieces, strict=True))
        ordered = [pieces[place] for place in order.tolist()]
        ends = np.cumsum([len(piece) for piece in ordered])[:-1].astype(np.int64)
        positions = np.concatenate([np.zeros((0, 3)), *ordered]).astype(np.float32)
        arrays[name] = {"ids": ids, "pos": positions, "chunk_idx": ends}
    path = write_splits(path, arrays)
    read = read_is2rs_submission(path)
    for name, expected in structures.items():
        same = read.get(name, {}).keys() == expected.keys() and all(
            read[name][key].shape == piece.shape
            and np.allclose(read[name][key], piece, rtol=1e-6, atol=1e-5)
            for key, piece in expected.items()
        )
        if not same:
            raise DataError(
                f"{path}, {name}: the positions read back differ from those written; write it again"
            )


def read_is2rs_submission(path: str | Path) -> dict[str, dict[str, Float[np.ndarray, "atom 3"]]]:
    """Read a submission of the IS2RS task.

    Args:
        path: Path of the file to read.

    Returns:
        Positions of all atoms by split and id, Å.

    Raises:
        DataError: An array is missing, misshapen or not finite, or ids repeat or are out of order.
    """
    result = {}
    for split, (ids, pos, ends) in read_splits(path, ("ids", "pos", "chunk_idx")).items():
        place = f"{path}, {split}"
        shapes = (ids.ndim, pos.ndim, pos.shape[-1], ends.shape)
        if shapes != (1, 2, 3, (max(len(ids) - 1, 0),)):
            raise DataError(
                f"{place}: ids, pos and chunk_idx do not fit together; there must be a position "
                "[3] of each atom, and an end in chunk_idx of each structure but the last"
            )
        _check_order(ids, place)
        if (np.diff([0, *ends.tolist(), len(pos)]) < 1).any():
            raise DataError(f"{place}: chunk_idx does not ascend to the {len(pos)} positions")
        if not np.isfinite(pos).all():
            raise DataError(f"{place}: a position is not finite")
        chunks = np.split(pos.astype(np.float64), ends)
        result[split] = dict(zip(ids.tolist(), chunks, strict=True))
    return result


def _sorted(found: RelaxedPredictions, place: str) -> tuple[np.ndarray, Int[np.ndarray, " id"]]:
    ids, order = np.unique(np.array(found.ids, dtype=str), return_index=True)
    if any(key.startswith("-") for key in found.ids):
        raise DataError(
            f"{place}: a structure has no system id (sid), so it cannot be submitted; leave it out"
        )
    if len(ids) != len(found.ids):
        raise DataError(f"{place}: a system occurs twice; give one prediction for each system")
    return ids, order


def _check_order(ids: np.ndarray, place: str) -> None:
    if not np.array_equal(ids, np.unique(ids)):
        raise DataError(f"{place}: ids repeat, or are not in order")
