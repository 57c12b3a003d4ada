"""Remembered pairs give the neighbor list that a new search gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.data import Frame, MovingNeighborList, neighbor_list
from equinet.data.atoms import moving
from equinet.errors import DataError
from equinet.neighborhood import Neighborhood


def frame(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> Frame:
    return Frame(np.ones(len(positions), dtype=np.int64), positions, cell, pbc)


def assert_same(listed: MovingNeighborList, of: Frame) -> None:
    truth = neighbor_list(of.positions, of.cell, of.pbc, listed.near)
    for found, expected in zip(listed(of), truth, strict=True):
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    atoms=st.integers(1, 12),
    size=st.sampled_from([1e-3, 0.05, 0.3, 3.0]),
    pbc=st.tuples(*[st.booleans()] * 3),
    most=st.sampled_from([None, None, 5]),
)
def test_walks(seed: int, atoms: int, size: float, pbc: tuple[bool, ...], most: int | None) -> None:
    generator = np.random.default_rng(seed)
    cell = (3.5 * np.eye(3) + 0.3 * generator.normal(size=(3, 3)))[[1, 0, 2]]  # left-handed
    positions = generator.uniform(-4, 4, (atoms, 3))
    listed = MovingNeighborList(Neighborhood(3.0, most), skin=0.4)
    for step in range(8):
        assert_same(listed, frame(positions, cell, np.array(pbc)))
        positions = positions + size * generator.normal(size=positions.shape)
        if step == 4:
            cell = cell * 1.01
        if step == 6:
            positions[0] += cell[0]


def test_pairs_are_searched_only_after_long_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        return neighbor_list(*arguments, **options)

    monkeypatch.setattr(moving, "neighbor_list", counted)
    listed = MovingNeighborList(Neighborhood(3.0), skin=0.4)
    start = np.random.default_rng(0).uniform(0, 4, (6, 3))
    for way in (0.0, 0.1, 0.19, 0.21, 0.4, 0.42):
        places = start + np.array([0, way, 0])
        assert_same(listed, frame(places, np.zeros((3, 3)), np.zeros(3, dtype=bool)))
    assert len(calls) == 3  # at 0, 0.21 and 0.42


def test_positions_that_are_changed_in_place_are_noticed() -> None:
    listed = MovingNeighborList(Neighborhood(3.0), skin=0.4)
    places = np.random.default_rng(1).uniform(0, 9, (9, 3))
    moving_frame = frame(places, np.zeros((3, 3)), np.zeros(3, dtype=bool))
    for _ in range(3):
        assert_same(listed, moving_frame)
        places *= 0.8


def test_a_search_that_fails_leaves_nothing_behind() -> None:
    listed = MovingNeighborList(Neighborhood(3.0))
    good = frame(np.array([[0.0, 0, 0], [0, 0, 1]]), np.zeros((3, 3)), np.zeros(3, dtype=bool))
    bad = frame(np.array([[0.0, 0, 0], [0, 0, 1]]), np.eye(3) * 1e-3, np.ones(3, dtype=bool))
    assert_same(listed, good)
    for _ in range(2):
        with pytest.raises(DataError):
            listed(bad)
    assert_same(listed, good)


@pytest.mark.parametrize("skin", [-1.0, 0.0, float("nan"), float("inf")])
def test_absurd_skins_are_refused(skin):
    with pytest.raises(ValueError, match=r"skin(:| must be) "):
        MovingNeighborList(Neighborhood(3.0), skin=skin)
