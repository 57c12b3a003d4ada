import io
import logging
from urllib.error import URLError

import numpy as np
import pytest

from equinet.data import ThreeBPA, official_3bpa_file
from equinet.data.datasets.three_bpa import THREE_BPA_FILES, THREE_BPA_URL
from equinet.errors import DataError


@pytest.fixture
def offline(monkeypatch):
    def refuse(url: str, timeout: float) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


ATOMS = "1\nenergy=-1.0\nH 0 0 0\n1\nenergy=-0.5\nO 0 0 0\n"


def test_official_files(shared_data, caplog):
    root = shared_data / "3bpa"
    with caplog.at_level(logging.WARNING):
        module = ThreeBPA(root=root)
        module.prepare()
    assert caplog.text == ""
    assert module.describe().startswith("3BPA, official files of")
    assert [len(module.train), len(module.val)] == [450, 50]
    assert {name: len(data) for name, data in module.tests.items()} == {
        "test_300K": 1669,
        "1200K_probe": 166,
    }
    statistics = module.statistics
    assert statistics.elements == (1, 6, 7, 8)
    assert np.dot(statistics.reference_energies, (12, 12, 2, 1)) == pytest.approx(-17528.859187)
    assert statistics.shift * 27 == pytest.approx(-131.57, abs=0.05)
    assert module.train[0].energy.item() < -17600
    other = ThreeBPA(root=root, seed=1)
    assert {f.source for f in other.val.frames} != {f.source for f in module.val.frames}


def test_official_ids_are_those_of_the_files_at_hand(shared_data):
    for name, blob in THREE_BPA_FILES.items():
        path = shared_data / "3bpa" / name
        assert path.is_file() == (blob is not None)
        if path.is_file():
            assert official_3bpa_file(path) == name


def test_the_probe_is_no_test_of_a_model_trained_on_it(shared_data):
    module = ThreeBPA(root=shared_data / "3bpa", train_file="train_mixedT.xyz")
    assert list(module.tests) == ["test_300K"]


def test_other_files_are_named_in_a_warning(tmp_path, write, text, caplog):
    write(text(10), "train_300K.xyz")
    write(text(4), "mine.xyz")
    write(text(3), "test_600K.xyz")
    write(ATOMS, "iso_atoms.xyz")
    with caplog.at_level(logging.WARNING):
        module = ThreeBPA(root=tmp_path, val_size=2)
        module.prepare()
    assert "train_300K.xyz is not the official 3BPA file: git blob" in caplog.text
    assert "test_600K.xyz (git blob" in caplog.text
    assert "not known to be official 3BPA: iso_atoms.xyz, train_300K.xyz" in module.describe()
    assert [len(module.train), len(module.val), len(module.tests["test_600K"])] == [8, 2, 3]
    caplog.clear()
    ThreeBPA(root=tmp_path, train_file="mine.xyz", val_size=1).prepare()
    assert "mine.xyz is no file of the official 3BPA set" in caplog.text


def test_missing_folder_and_files(tmp_path, write, text):
    with pytest.raises(DataError, match=r"data\.root: there is no folder"):
        ThreeBPA(root=tmp_path / "nowhere").prepare()
    write(text(10), "train_300K.xyz")
    with pytest.raises(DataError, match=f"iso_atoms.xyz is not there; .*{THREE_BPA_URL}"):
        ThreeBPA(root=tmp_path).prepare()


@pytest.mark.usefixtures("_made_molecules")
def test_without_root_and_network_a_generated_set_stands_in(tmp_path, offline, caplog):
    with caplog.at_level(logging.WARNING):
        module = ThreeBPA(cache=tmp_path)
        module.prepare()
    assert "cannot be downloaded" in caplog.text
    assert "data.root" in caplog.text
    assert "NOT the 3BPA benchmark" in module.describe()
    assert [len(module.train), len(module.val), len(module.tests["test"])] == [260, 50, 50]
    again = ThreeBPA(cache=tmp_path)
    assert again.fingerprint() == module.fingerprint()
    assert not list(tmp_path.rglob("*.partial"))


def test_a_download_is_checked_and_used(tmp_path, shared_data, monkeypatch, caplog):
    def answer(url: str, timeout: float) -> io.BufferedReader:
        path = shared_data / "3bpa" / url.rsplit("/", maxsplit=1)[-1]
        if not path.is_file():
            raise URLError("404")
        return path.open("rb")

    monkeypatch.setattr("urllib.request.urlopen", answer)
    with caplog.at_level(logging.WARNING):
        module = ThreeBPA(cache=tmp_path)
        splits = module.read()
    assert len(splits.train) == 450
    assert "going on without test_dih.xyz" in caplog.text
    assert splits.about == f"3BPA, official files of {tmp_path / '3bpa'}"


@pytest.mark.usefixtures("_made_molecules")
def test_a_download_of_something_else_is_not_used(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO(b"<html>"))
    with caplog.at_level(logging.WARNING):
        assert "NOT the 3BPA benchmark" in ThreeBPA(cache=tmp_path).read().about
    assert "the content has git blob id" in caplog.text
    assert list((tmp_path / "3bpa").iterdir()) == []
