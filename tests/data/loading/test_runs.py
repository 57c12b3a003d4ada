"""Runs of a sequence: everything in its order, none too large, none shorter than it could be."""

import pytest
import torch
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

from equinet.data import AtomicDataset, edges_at_once, ordered_loader, runs_within
from equinet.data.loading import sampling


@given(st.lists(st.integers(0, 30)), st.integers(0, 40))
def test_runs_are_in_order_within_the_bound_and_as_long_as_possible(sizes, bound):
    runs = list(runs_within(enumerate(sizes), lambda item: item[1], bound))
    assert [item for run in runs for item in run] == list(enumerate(sizes))
    assert all(runs)
    totals = [sum(size for _, size in run) for run in runs]
    assert all(total <= bound or len(run) == 1 for total, run in zip(totals, runs, strict=True))
    for total, following in zip(totals, runs[1:], strict=False):
        assert total + following[0][1] > bound


def test_items_are_taken_no_earlier_than_needed():
    taken = []
    runs = runs_within((taken.append(size) or size for size in range(9)), lambda size: size, 3)
    assert next(runs) == [0, 1, 2]
    assert taken == [0, 1, 2, 3]


def test_each_thread_gets_as_many_edges(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = edges_at_once("cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert edges_at_once("cpu") == edges_at_once(torch.device("cpu")) == 3 * alone
    assert edges_at_once("cuda") > alone


@pytest.mark.parametrize("bound", [1, 25, 1000])
def test_the_loader_keeps_the_order_and_the_bound(bound, monkeypatch):
    monkeypatch.setattr(sampling, "edges_at_once", lambda _: bound)
    names = ["CH4", "H2O", "NH3", "CH4", "C2H6"]
    dataset = AtomicDataset([molecule(name) for name in names], 5.0)
    batches = list(ordered_loader(dataset, "cpu"))
    assert all(batch.num_edges <= bound or batch.num_graphs == 1 for batch in batches)
    found = torch.cat([batch.atomic_numbers for batch in batches])
    assert torch.equal(found, torch.cat([graph.atomic_numbers for graph in dataset]))
