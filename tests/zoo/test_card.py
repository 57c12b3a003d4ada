"""Model cards: complete, readable, refused where they are not ours."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import equinet
from equinet import zoo
from equinet.errors import DataError
from equinet.models import MACEGaunt
from equinet.zoo.card import to_json

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text()
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


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


@given(trees)
def test_plain_json_stays_as_it_is(tree):
    assert json.loads(json.dumps(to_json(tree, "card"), allow_nan=False)) == tree


def test_other_libraries_numbers_become_plain():
    value = {"a": (np.float32(1.5), np.arange(2)), "b": torch.tensor([2.0]), "c": Path("x")}
    assert to_json(value, "card") == {"a": [1.5, [0, 1]], "b": [2.0], "c": "x"}
    assert to_json([float("nan"), float("inf")], "card") == [None, None]


def test_what_has_no_json_form_is_named():
    with pytest.raises(ValueError, match=r"card\['a'\]\[1\] must be made of"):
        to_json({"a": [1, object()]}, "card")
