"""Model cards: complete, readable, refused where they are not ours."""

import json

import numpy as np
import pytest

import equinet
from equinet import zoo
from equinet.errors import DataError
from equinet.models import MACEGaunt


@pytest.fixture
def folder(tmp_path):
    model = MACEGaunt(
        elements=np.array([1, 8]).tolist(),
        cutoff=4.0,
        reference_energies=[-13.6, -2040.0],
        average_neighbors=7.0,
        channels=4,
        layers=1,
    )
    card = {"metrics": {"val": {"forces_rmse": 12.5}}, "units": {"forces_rmse": "meV/Å"}}
    zoo.save(model, tmp_path, card)
    return tmp_path


def test_card_says_what_the_model_is(folder):
    card = zoo.load_card(folder)
    assert card["schema"] == 1
    assert card["class"] == "MACEGaunt"
    assert card["arguments"]["elements"] == [1, 8]
    assert card["dtype"] == "float32"
    assert card["equinet"] == equinet.__version__
    assert card["metrics"] == {"val": {"forces_rmse": 12.5}}
    assert card["units"]["energy"] == "eV"
    assert card["units"]["forces_rmse"] == "meV/Å"
    assert card["parameters"] == sum(p.numel() for p in zoo.load(folder).parameters())


@pytest.mark.parametrize("key", ["schema", "sha256", "class"])
def test_what_the_zoo_fills_in_cannot_be_given(folder, key):
    with pytest.raises(ValueError, match=key):
        zoo.save(zoo.load(folder), folder, {key: "mine"})


def test_another_schema_is_refused_with_the_version_that_reads_it(folder):
    path = folder / "card.json"
    card = {**json.loads(path.read_text()), "schema": 2, "equinet": "9.1"}
    path.write_text(json.dumps(card))
    with pytest.raises(DataError, match=r"schema 2.*equinet 9\.1"):
        zoo.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '"card"', "{}", '{"schema": "1"}', "\ud800"])
def test_broken_cards_are_refused(folder, text):
    (folder / "card.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=r"card\.json"):
        zoo.load_card(folder)
