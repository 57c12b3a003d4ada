"""A submission holds what was predicted, and says so only after it was read back."""

import numpy as np
import pytest

from equinet.errors import DataError
from equinet.evaluation.oc20.s2ef_submission import (
    SPLITS,
    SplitPredictions,
    read_s2ef_submission,
    write_s2ef_submission,
)


def predictions(seed=0, count=9, **changes):
    random = np.random.default_rng(seed)
    atoms = random.integers(1, 6, size=count)
    total = int(atoms.sum())
    values = {
        "ids": [f"{random.integers(5, 2000)}_{i}" for i in range(count)],
        "energy": random.normal(size=count),
        "atoms": atoms,
        "forces": random.normal(size=(total, 3)),
        "fixed": random.random(total) < 0.5,
    }
    return SplitPredictions(**{**values, **changes})


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 4e-3)])
def test_what_is_written_is_what_the_leaderboard_reads(tmp_path, dtype, tolerance):
    """Read here as its own script does: np.split by chunk_idx, ids in the order of characters."""
    splits = {name: predictions(seed) for seed, name in enumerate(SPLITS)}
    path = tmp_path / "out" / "submission.npz"
    write_s2ef_submission(path, splits, dtype=dtype)
    with np.load(path, allow_pickle=False) as file:
        names = {f"{s}_{k}" for s in SPLITS for k in ("ids", "energy", "forces", "chunk_idx")}
        assert set(file.files) == names
        for name, found in splits.items():
            ids = file[f"{name}_ids"]
            assert ids.tolist() == sorted(found.ids)
            assert file[f"{name}_energy"].dtype == file[f"{name}_forces"].dtype == dtype
            chunks = np.split(file[f"{name}_forces"], file[f"{name}_chunk_idx"])
            bounds = np.cumsum(found.atoms)
            for key, energy, chunk in zip(ids, file[f"{name}_energy"], chunks, strict=True):
                place = found.ids.index(key)
                part = slice(bounds[place] - found.atoms[place], bounds[place])
                expected = found.forces[part][~found.fixed[part]]
                assert np.allclose(chunk, expected, atol=tolerance)
                assert abs(energy - found.energy[place]) < tolerance
    read = read_s2ef_submission(path)
    assert list(read) == list(SPLITS)


def test_a_structure_predicted_twice_is_written_once(tmp_path):
    found = predictions()
    twice = SplitPredictions(
        ids=[*found.ids, found.ids[3]],
        energy=np.append(found.energy, found.energy[3]),
        atoms=np.append(found.atoms, found.atoms[3]),
        forces=np.concatenate(
            [found.forces, found.forces[found.atoms[:3].sum() : found.atoms[:4].sum()]]
        ),
        fixed=np.concatenate(
            [found.fixed, found.fixed[found.atoms[:3].sum() : found.atoms[:4].sum()]]
        ),
    )
    for name, content in (("one.npz", found), ("two.npz", twice)):
        write_s2ef_submission(tmp_path / name, {"id": content})
    one, two = (np.load(tmp_path / name, allow_pickle=False) for name in ("one.npz", "two.npz"))
    with one, two:
        assert all(np.array_equal(one[key], two[key]) for key in one.files)


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        ({"energy": np.full(9, np.nan)}, {}, "not finite"),
        ({"energy": np.full(9, 1e5)}, {"dtype": "float16"}, "too large for its type"),
    ],
)
def test_what_cannot_be_handed_in_is_refused(tmp_path, changes, options, reason):
    with pytest.raises(DataError, match=reason):
        write_s2ef_submission(tmp_path / "s.npz", {"id": predictions(**changes)}, **options)
    with pytest.raises(DataError, match=r"must end in \.npz"):
        write_s2ef_submission(tmp_path / "s.zip", {})
    with pytest.raises(DataError, match="'val' is none of id"):
        write_s2ef_submission(tmp_path / "s.npz", {"val": predictions()})


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("id_ids", lambda x: x[::-1], "ids repeat, or are not in order"),
        ("id_ids", lambda x: np.repeat(x[:1], len(x)), "ids repeat"),
        ("id_energy", lambda x: x[:-1], "do not fit together"),
        ("id_forces", lambda x: x[:, :2], "do not fit together"),
        ("id_chunk_idx", lambda x: x[:-1], "do not fit together"),
        ("id_chunk_idx", lambda x: x + 1000, "does not ascend"),
        ("id_forces", lambda x: x / 0, "not finite"),
        ("id_energy", None, "no id_energy"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_damaged_submissions_are_refused(tmp_path, name, change, reason):
    path = tmp_path / "submission.npz"
    write_s2ef_submission(path, {"id": predictions()})
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    content = arrays.pop(name)
    if change:
        arrays[name] = change(content)
    np.savez_compressed(path, **arrays)
    with pytest.raises(DataError, match=reason):
        read_s2ef_submission(path)
