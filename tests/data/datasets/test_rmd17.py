"""The rMD17 data: the official archive, frames in files, the download, the stand-in."""

import io
import logging
import tarfile
from pathlib import Path
from urllib.error import URLError

import ase.units
import numpy as np
import pytest

from equinet.data import RMD17
from equinet.errors import DataError

NUMBERS = np.array([8, 1, 1], dtype=np.uint8)


def arrays(count: int) -> dict[str, np.ndarray]:
    """Rattled water molecules with random labels, as in an official archive."""
    rng = np.random.default_rng(0)
    start = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    return {
        "nuclear_charges": NUMBERS,
        "coords": start + 0.05 * rng.normal(size=(count, 3, 3)),
        "energies": -50_000 + rng.normal(size=count),
        "forces": rng.normal(size=(count, 3, 3)),
    }


@pytest.fixture
def archive(tmp_path) -> Path:
    """A folder as the official archive has it, with 60 training and 7 test frames."""
    root = tmp_path / "rmd17"
    for folder in ("npz_data", "splits"):
        (root / folder).mkdir(parents=True)
    np.savez(root / "npz_data" / "rmd17_aspirin.npz", **arrays(80))
    order = np.random.default_rng(1).permutation(80)
    for split, part in (("train", order[:60]), ("test", order[60:67])):
        lines = "\n".join(str(index) for index in part)
        (root / "splits" / f"index_{split}_01.csv").write_text(lines + "\n")
    return root


def test_the_official_split_in_electronvolts(archive):
    module = RMD17(root=archive)
    module.prepare()
    assert [len(module.train), len(module.val), len(module.tests["test"])] == [10, 50, 7]
    assert "rMD17 aspirin, official split 01" in module.describe()
    indices = [int(i) for i in (archive / "splits/index_test_01.csv").read_text().split()]
    made, unit = arrays(80), ase.units.kcal / ase.units.mol
    for frame, index in zip(module.tests["test"].frames, indices, strict=True):
        np.testing.assert_array_equal(frame.numbers, NUMBERS)
        np.testing.assert_array_equal(frame.positions, made["coords"][index])
        assert frame.energy == pytest.approx(made["energies"][index] * unit, rel=1e-6)
        np.testing.assert_allclose(frame.forces, made["forces"][index] * unit, rtol=1e-6)
    seen = {f.source for part in (module.train, module.val) for f in part.frames}
    assert len(seen) == 60


def test_seeds_choose_what_is_set_aside(archive):
    sets = [{f.source for f in RMD17(root=archive, seed=seed).read().val} for seed in (0, 0, 1)]
    assert sets[0] == sets[1] != sets[2]


def test_frames_in_files_are_no_official_split(tmp_path, write, text):
    write(text(1010), "train.xyz")
    write(text(3), "test.xyz")
    splits = RMD17(root=tmp_path).read()
    assert [len(splits.train), len(splits.val), len(splits.tests["test"])] == [950, 50, 3]
    assert len({f.source for part in (splits.train, splits.val) for f in part}) == 1000
    assert "none of rMD17's official splits" in splits.about
    assert splits.files == {"test": tmp_path / "test.xyz"}


def test_real_frames(shared_data):
    module = RMD17(root=shared_data / "rmd17_aspirin")
    module.prepare()
    assert [len(module.train), len(module.val), len(module.tests["test"])] == [950, 50, 900]
    assert module.statistics.elements == (1, 6, 8)
    assert module.train[0].energy.item() == pytest.approx(-17618, abs=5)


def test_what_is_missing_is_named(tmp_path, archive, write, text):
    with pytest.raises(DataError, match=r"data\.root: there is no folder"):
        RMD17(root=tmp_path / "nowhere").prepare()
    with pytest.raises(DataError, match=r"neither rmd17_aspirin\.npz nor train\.xyz is there"):
        RMD17(root=tmp_path).prepare()
    (archive / "splits" / "index_test_01.csv").unlink()
    with pytest.raises(DataError, match=r"index_test_01\.csv is not there"):
        RMD17(root=archive).prepare()
    (archive / "splits" / "index_test_01.csv").write_text("1\n80\n")
    with pytest.raises(DataError, match=r"rmd17_aspirin\.npz cannot be read as .* index 80"):
        RMD17(root=archive).prepare()
    (archive / "splits" / "index_test_01.csv").write_text("one\n")
    with pytest.raises(DataError, match="one frame number a line"):
        RMD17(root=archive).prepare()
    with pytest.raises(DataError, match=r"molecule must be one of aspirin, .*'asprin'"):
        RMD17(molecule="asprin")


def test_the_archive_is_fetched_once_and_opened(tmp_path, archive, monkeypatch):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2") as file:
        file.add(archive, "rmd17")
    asked = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(packed.getvalue())

    monkeypatch.setattr("urllib.request.urlopen", answer)
    first, second = (RMD17(cache=tmp_path / "cache") for _ in range(2))
    assert len(first.read().tests["test"]) == 7
    assert first.fingerprint() == second.fingerprint() == RMD17(root=archive).fingerprint()
    assert len(asked) == 1


@pytest.mark.usefixtures("_made_molecules")
def test_without_root_and_network_a_generated_set_stands_in(tmp_path, monkeypatch, caplog):
    def refuse(url: str, timeout: float) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with caplog.at_level(logging.WARNING):
        module = RMD17(cache=tmp_path)
        module.prepare()
    assert "give their folder as data.root" in caplog.text
    assert "NOT the rMD17 benchmark" in module.describe()
    assert [len(module.train), len(module.val), len(module.tests["test"])] == [260, 50, 50]


@pytest.mark.usefixtures("_made_molecules")
def test_a_download_of_something_else_is_not_used(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO(b"<html>"))
    with caplog.at_level(logging.WARNING):
        assert "NOT the rMD17 benchmark" in RMD17(cache=tmp_path).read().about
    assert "the download is not an archive" in caplog.text
    assert list((tmp_path / "rmd17").iterdir()) == []
