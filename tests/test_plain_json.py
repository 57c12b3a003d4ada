"""Plain JSON: plain values stay, those of other libraries become plain, others are named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equinet.plain_json import to_json

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text()
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


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
