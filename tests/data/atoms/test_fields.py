"""Fields are declared once; what stores hold of them stays where it is."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from equinet.data.atoms import Field, complete, further_labels, labels, unread
from equinet.data.store.layout import FIELDS, OPTIONAL, described_fields
from equinet.errors import DataError

# Stores on disk rely on these ranks and types. Fields are added at the end and never moved.
STORED = {
    "numbers": (0, "uint8", "atom", []),
    "positions": (1, "float64", "atom", [3]),
    "cell": (2, "float64", "frame", [3, 3]),
    "pbc": (3, "bool", "frame", [3]),
    "energy": (4, "float64", "frame", []),
    "forces": (5, "float64", "atom", [3]),
    "stress": (6, "float64", "frame", [3, 3]),
    "tags": (7, "int8", "atom", []),
    "fixed": (8, "bool", "atom", []),
    "reference_energy": (9, "float64", "frame", []),
    "relaxed_energy": (10, "float64", "frame", []),
    "relaxed_positions": (11, "float64", "atom", [3]),
    "number": (12, "int32", "frame", []),
    "system": (13, "int64", "frame", []),
    "step": (14, "int64", "frame", []),
}


def test_stored_fields_stay_where_they_are():
    described = described_fields("float64")
    found = {
        name: (FIELDS[name].place, entry["dtype"], entry["per"], entry["shape"])
        for name, entry in described.items()
    }
    first = dict(list(found.items())[: len(STORED)])
    assert list(first.items()) == list(STORED.items())
    assert OPTIONAL[:3] == ("energy", "forces", "stress")
    assert OPTIONAL[3:8] == tuple(list(STORED)[7:12])


def test_places_are_taken_once_and_bits_suffice():
    assert [field.place for field in FIELDS.values()] == list(range(len(FIELDS)))
    assert len(OPTIONAL) <= 16, "present holds 16 bits a frame"


@pytest.fixture
def further(monkeypatch):
    """Two labels more than there are: one number an atom, and a whole number a structure."""
    new = {
        "charges": Field(98, "float64", per_atom=True, names=frozenset({"charges", "refcharges"})),
        "spin": Field(99, "int8", names=frozenset({"spin"})),
    }
    for name, field in new.items():
        monkeypatch.setitem(labels.LABELS, name, field)
    monkeypatch.setattr(labels, "_FURTHER", tuple(new))


@pytest.mark.usefixtures("further")
def test_further_labels_are_taken_in_their_types():
    values = {"REF_charges": [0.5, -0.5], "spin": [2.0], "color": "red"}
    found = further_labels(values, 2, "frame")
    assert found["charges"].tolist() == [0.5, -0.5]
    assert found["charges"].dtype == np.float64
    assert found["spin"] == 2
    assert isinstance(found["spin"], int)
    assert unread(values, labels.LabelKeys()) == ("color",)


@pytest.mark.usefixtures("further")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"charges": [0.5]}, r"f, frame 1: charges 'charges' has shape \(1,\), not \(2,\)"),
        ({"charges": [0.5, np.nan]}, "f, frame 1: charges hold NaN or infinity"),
        ({"charges": ["a", "b"]}, "charges 'charges' is not numeric"),
        ({"spin": 0.5}, "spin 'spin' hold 0.5, which is not a whole number"),
        ({"charges": [1, 0], "ref-charges": [0, 1]}, "differ; leave one of them out"),
    ],
)
def test_wrong_further_labels_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        further_labels(values, 2, "f, frame 1")


def test_graphs_of_a_set_share_their_fields():
    graph = Data(atomic_numbers=torch.tensor([8, 1]), stress=torch.ones(1, 3, 3))
    complete(graph, {"tags", "fixed", "stress"})
    assert graph.tags.tolist() == [0, 0]
    assert graph.tags.dtype == torch.int64
    assert graph.fixed.tolist() == [False, False]
    assert graph.fixed.dtype == torch.bool
    assert "stress" not in graph
    held = Data(atomic_numbers=torch.tensor([8]), tags=torch.tensor([2]))
    complete(held, {"tags"})
    assert held.tags.tolist() == [2]
