"""Finding models by name and by path."""

import json

import pytest

from equinet import zoo
from equinet.errors import ConfigError, DataError
from equinet.models import MACEGaunt
from equinet.zoo import index


@pytest.fixture
def small_zoo(tmp_path, monkeypatch):
    """A zoo of one model, ``tiny-h``."""
    model = MACEGaunt(
        elements=[1], cutoff=4.0, reference_energies=[-13.6], average_neighbors=1.0, channels=2
    )
    zoo.save(model, tmp_path / "models" / "tiny-h", {})
    entry = {
        "name": "tiny-h",
        "summary": "untrained",
        "sha256": zoo.load_card(tmp_path / "models" / "tiny-h")["sha256"],
    }
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    monkeypatch.setattr(index, "_HERE", tmp_path)
    return tmp_path


def test_the_shipped_index_is_sound():
    for entry in zoo.list():
        assert zoo.load_card(entry.name)["sha256"] == entry.sha256
        zoo.load(entry.name)


def test_a_name_is_found(small_zoo):
    assert [entry.name for entry in zoo.list()] == ["tiny-h"]
    assert zoo.load("tiny-h").elements == (1,)


def test_a_near_name_is_suggested(small_zoo):
    with pytest.raises(ConfigError, match="did you mean 'tiny-h'"):
        zoo.load("tinyh")
    with pytest.raises(ConfigError, match="the zoo has tiny-h"):
        zoo.load("quite-another")


def test_an_empty_zoo_says_what_to_give(small_zoo):
    (small_zoo / "index.json").write_text("[]")
    with pytest.raises(ConfigError, match="path of a run directory"):
        zoo.load("tiny-h")


def test_a_name_whose_model_was_exchanged_is_refused(small_zoo):
    zoo.save(zoo.load("tiny-h"), small_zoo / "models" / "tiny-h", {})
    text = (small_zoo / "index.json").read_text()
    (small_zoo / "index.json").write_text(text.replace(zoo.list()[0].sha256, "0" * 64))
    with pytest.raises(DataError, match="not the card of the zoo's 'tiny-h'"):
        zoo.load("tiny-h")


def test_folders_without_a_model(tmp_path):
    with pytest.raises(DataError, match="holds no model"):
        zoo.load(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(DataError, match="has not saved its model yet"):
        zoo.load(tmp_path)


def test_a_checkpoint_file_is_not_unpickled(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"\x80\x04")
    with pytest.raises(DataError, match="is a file; give the folder"):
        zoo.load(path)
