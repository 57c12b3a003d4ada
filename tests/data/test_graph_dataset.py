"""Graphs in memory and the checksum of what is in them."""

import pytest
import torch
from torch_geometric.data import Data

from equinet.data import GraphDataset
from equinet.errors import DataError


def graphs(**changes: torch.Tensor) -> list[Data]:
    fields = {"pos": torch.arange(6.0).reshape(2, 3), "y": torch.tensor([1])}
    return [Data(**{**fields, **changes}), Data(**fields)]


def test_graphs_are_given_back_in_order():
    made = graphs()
    dataset = GraphDataset(made)
    assert len(dataset) == 2
    assert [dataset[0], dataset[1]] == made


@pytest.mark.parametrize(
    "changes",
    [
        {"pos": torch.arange(6.0).reshape(2, 3) + 1e-6},
        {"pos": torch.arange(6.0).reshape(3, 2)},
        {"pos": torch.arange(6).reshape(2, 3)},
        {"z": torch.tensor([1])},
    ],
    ids=["value", "shape", "dtype", "field"],
)
def test_every_change_changes_the_checksum(changes):
    same = [GraphDataset(graphs(), name=name).fingerprint() for name in ("a", "b")]
    assert same[0] == same[1]
    assert GraphDataset(graphs(**changes)).fingerprint() != same[0]


def test_views_have_the_checksum_of_their_content():
    pos = torch.arange(6.0).reshape(3, 2).T.contiguous().T
    view, copy = (GraphDataset([Data(pos=p)]).fingerprint() for p in (pos, pos.contiguous()))
    assert view == copy


def test_an_empty_set_is_refused():
    with pytest.raises(DataError, match="mine: there are no graphs"):
        GraphDataset([], name="mine")
