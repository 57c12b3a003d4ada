"""Shared models arrive whole, or not at all."""

import io
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

from equinet import __main__ as entry
from equinet import zoo
from equinet.errors import ConfigError, DataError
from equinet.models import MACEGaunt

ADDRESS = "https://models.example/owner/mine/resolve/main"


@pytest.fixture
def shared(tmp_path):
    model = MACEGaunt(
        elements=[1], cutoff=3.0, reference_energies=[-13.6], average_neighbors=1.0, channels=2
    )
    errors = {"test": {"structures": 3, "energy_rmse": 1.25}}
    card = {"data": "three frames", "metrics": errors, "units": {"energy_rmse": "meV"}}
    zoo.save(model, tmp_path / "trained", card)
    return zoo.push(tmp_path / "trained", tmp_path / "shared")


@pytest.fixture
def web(shared, monkeypatch):
    """Serve the shared folder at an address, and return what was asked for."""
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        path = shared / url.removeprefix(f"{ADDRESS}/")
        if not path.is_file():
            raise urllib.error.HTTPError(url, 404, "Not Found", {}, None)
        return io.BytesIO(path.read_bytes())

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


def test_the_readme_says_what_the_card_says(shared):
    page = (shared / "README.md").read_text()
    assert page.startswith("---\nlibrary_name: equinet\n")
    assert "Trained on three frames." in page
    assert "| set | energy_rmse (meV) | structures |" in page
    assert "| test | 1.25 | 3 |" in page
    assert zoo.load_card(shared)["sha256"] in page


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_pulled_model_is_the_pushed_one(shared, web, tmp_path, is_remote):
    sha256 = zoo.load_card(shared)["sha256"]
    folder = zoo.pull(ADDRESS if is_remote else shared, tmp_path / "mine", sha256=sha256)
    first, second = zoo.load(shared).state_dict(), zoo.load(folder).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert zoo.load_card(folder) == zoo.load_card(shared)
    assert bool(web) == is_remote


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
def test_nothing_is_kept_of_a_damaged_model(shared, tmp_path, name):
    content = (shared / name).read_bytes()
    (shared / name).write_bytes(content[: len(content) // 2])
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DataError, match=name):
        zoo.pull(shared, tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_another_model_than_the_expected_one_is_refused(shared, tmp_path):
    with pytest.raises(DataError, match=f"not {'0' * 64}; ask the owner"):
        zoo.pull(shared, tmp_path / "mine", sha256="0" * 64)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("source", "error", "sentence"),
    [
        ("http://models.example/mine", ConfigError, "begins with https://"),
        (f"{ADDRESS}/elsewhere", DataError, "cannot be read .*404"),
        ("nowhere", DataError, "nowhere/card.json cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(web, tmp_path, source, error, sentence):
    with pytest.raises(error, match=sentence):
        zoo.pull(source, tmp_path / "mine")


def test_no_folder_is_overwritten(shared, tmp_path):
    with pytest.raises(ConfigError, match="is there already"):
        zoo.pull(shared, shared)
    with pytest.raises(ConfigError, match="is there already"):
        zoo.push(shared, tmp_path)


def test_commands(shared, tmp_path, capsys):
    assert entry.main(["zoo", "push", str(shared), str(tmp_path / "again")]) == 0
    assert "README.md, card.json, model.safetensors" in capsys.readouterr().out
    words = ["zoo", "pull", str(tmp_path / "again"), "--out", str(tmp_path / "mine")]
    assert entry.main(words) == 0
    assert "whole, MACEGaunt" in capsys.readouterr().out
    assert Path(tmp_path, "mine", "card.json").is_file()
    assert entry.main(words) == 1
    assert "is there already" in capsys.readouterr().err
