"""Submissions of relaxed energies and structures, as the leaderboard reads them."""

from dataclasses import replace

import numpy as np
import pytest

from equinet.errors import DataError
from equinet.evaluation.oc20.is2re_submission import (
    RelaxedPredictions,
    read_is2re_submission,
    read_is2rs_submission,
    write_is2re_submission,
    write_is2rs_submission,
)
from equinet.evaluation.oc20.s2ef_submission import SPLITS


def predictions(seed, ids=("9", "10", "200", "31")):
    rng = np.random.default_rng(seed)
    atoms = rng.integers(1, 6, size=len(ids))
    return RelaxedPredictions(
        list(ids), rng.normal(size=len(ids)), atoms, 10 * rng.normal(size=(atoms.sum(), 3))
    )


@pytest.fixture
def splits():
    return {split: predictions(seed) for seed, split in enumerate(SPLITS)}


def test_energies_in_the_official_layout(splits, tmp_path):
    path = tmp_path / "is2re.npz"
    write_is2re_submission(path, splits)
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == {
            f"{split}_{key}" for split in SPLITS for key in ("ids", "energy")
        }
        for split, found in splits.items():
            assert file[f"{split}_ids"].tolist() == ["10", "200", "31", "9"]  # as strings
            assert np.allclose(file[f"{split}_energy"], found.energy[[1, 2, 3, 0]], atol=1e-6)
    assert list(read_is2re_submission(path)) == list(SPLITS)


def test_structures_in_the_official_layout(splits, tmp_path):
    path = tmp_path / "is2rs.npz"
    write_is2rs_submission(path, splits)
    with np.load(path, allow_pickle=False) as file:
        keys = ("ids", "pos", "chunk_idx")
        assert set(file.files) == {f"{split}_{key}" for split in SPLITS for key in keys}
        for split, found in splits.items():
            assert file[f"{split}_ids"].tolist() == ["10", "200", "31", "9"]
            pieces = np.split(file[f"{split}_pos"], file[f"{split}_chunk_idx"])
            own = np.split(found.positions, np.cumsum(found.atoms)[:-1])
            for piece, place in zip(pieces, (1, 2, 3, 0), strict=True):
                assert np.allclose(piece, own[place], atol=1e-5)
    read = read_is2rs_submission(path)
    assert {key: len(piece) for key, piece in read["id"].items()} == dict(
        zip(splits["id"].ids, splits["id"].atoms.tolist(), strict=True)
    )


@pytest.mark.parametrize("write", [write_is2re_submission, write_is2rs_submission])
def test_what_cannot_be_handed_in_is_refused(write, tmp_path):
    sound = predictions(0)
    lost = replace(sound, energy=sound.energy * np.nan, positions=sound.positions * np.nan)
    for name, found, reason in (
        ("val", sound, "split 'val' is none of id"),
        ("id", predictions(0, ("7", "-1", "8", "9")), "no system id"),
        ("id", predictions(0, ("7", "7", "8", "9")), "occurs twice"),
        ("id", lost, "is not finite"),
    ):
        with pytest.raises(DataError, match=reason):
            write(tmp_path / "file.npz", {name: found})
    with pytest.raises(DataError, match="no relaxed positions"):
        write_is2rs_submission(tmp_path / "file.npz", {"id": replace(sound, positions=None)})


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("id_ids", lambda a: a[::-1], "out of order|not in order"),
        ("id_energy", lambda a: a[1:], "do not fit together"),
        ("id_pos", lambda a: a[:-9], "does not ascend"),
        ("id_chunk_idx", lambda a: a[:-1], "do not fit together"),
        ("id_pos", lambda a: a * np.nan, "is not finite"),
        ("id_chunk_idx", None, "no id_chunk_idx"),
        ("id_energy", None, "no id_energy"),
    ],
)
def test_damaged_submissions_are_refused(tmp_path, name, change, reason):
    both = {"energy": (write_is2re_submission, read_is2re_submission)}
    both |= dict.fromkeys(
        ("ids", "pos", "chunk_idx"), (write_is2rs_submission, read_is2rs_submission)
    )
    write, read = both[name.removeprefix("id_")]
    path = tmp_path / "file.npz"
    write(path, {"id": predictions(3, ("1", "2", "3"))})
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name])
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=reason):
        read(path)
