"""Shared models arrive whole, or not at all."""

import io
import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

from equinet import __main__ as entry
from equinet import zoo
from equinet.errors import ConfigError, DataError, WriteError
from equinet.models import MACEGaunt
from equinet.zoo import sharing
from equinet.zoo.card import own_name

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


def test_a_model_between_two_names_is_shared_whole(shared, tmp_path):
    """A process that is killed while it saves leaves the new weights under a name of their own."""
    sha256 = zoo.load_card(shared)["sha256"]
    weights = (shared / "model.safetensors").read_bytes()
    (shared / own_name(sha256)).write_bytes(weights)
    (shared / "model.safetensors").write_bytes(b"the weights of before")
    for folder in (zoo.push(shared, tmp_path / "a"), zoo.pull(shared, tmp_path / "b")):
        assert zoo.load(folder).elements == (1,)
        assert (folder / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("share", [zoo.push, zoo.pull])
def test_a_folder_that_appears_meanwhile_is_kept(shared, tmp_path, monkeypatch, share):
    def made_by_another(folder):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "card.json").write_text("another")
        return load(folder)

    load = sharing.load
    monkeypatch.setattr(sharing, "load", made_by_another)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(WriteError, match="mine cannot be written"):
        share(shared, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["card.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "mine"])


def test_what_is_no_file_is_not_read(shared, tmp_path):
    (shared / "model.safetensors").unlink()
    (shared / "model.safetensors").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"model\.safetensors cannot be read: it is no file"):
        zoo.pull(shared, tmp_path / "mine")
    (shared / "card.json").unlink()
    os.mkfifo(shared / "card.json")
    with pytest.raises(DataError, match=r"card\.json cannot be read"):
        zoo.pull(shared, tmp_path / "mine")


def test_errors_name_the_source(shared, tmp_path):
    card = json.loads((shared / "card.json").read_text())
    (shared / "card.json").write_text(json.dumps(card | {"class": "Other"}))
    with pytest.raises(DataError, match=f"^{shared}/card.json names the class 'Other'"):
        zoo.pull(shared, tmp_path / "mine")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("units", value) for value in (None, [], "eV")),
        *(("parameters", value) for value in (None, "many", [1])),
        *(("sha256", value) for value in ("", "\0", "../elsewhere", "A" * 64)),
    ],
)
def test_cards_with_entries_of_other_kinds_are_refused(shared, tmp_path, capsys, key, value):
    card = json.loads((shared / "card.json").read_text())
    (shared / "card.json").write_text(json.dumps(card | {key: value}))
    for words in (["info"], ["push"], ["pull", "--out"]):
        place = [] if words == ["info"] else [str(tmp_path / "mine")]
        assert entry.main(["zoo", words[0], str(shared), *words[1:], *place]) == 1
        error = capsys.readouterr().err
        assert "card.json is not a model card" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("metrics", [None, 5, "good", [1], {"test": 1}, {"test": {"F": {}}}])
def test_odd_entries_of_a_card_do_not_matter(shared, tmp_path, metrics):
    card = json.loads((shared / "card.json").read_text())
    odd = {"metrics": metrics, "data": "a\n# b", "command": "c `d`"}
    (shared / "card.json").write_text(json.dumps(card | odd))
    page = (zoo.push(shared, tmp_path / "mine") / "README.md").read_text()
    assert "Trained on a # b." in page
    assert "Command: `c 'd'`" in page


@pytest.mark.parametrize("elements", [None, "H", ["H"], [1.5], [[1]], {}])
def test_info_shows_damaged_arguments_as_they_are(shared, capsys, elements):
    card = json.loads((shared / "card.json").read_text())
    card["arguments"]["elements"] = elements
    (shared / "card.json").write_text(json.dumps(card))
    assert entry.main(["zoo", "info", str(shared)]) == 0
    assert "elements" in capsys.readouterr().out
    assert entry.main(["zoo", "verify", str(shared)]) == 1


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
