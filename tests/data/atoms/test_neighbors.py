import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.data import neighbor_list


def brute_force(positions, cell, pbc, cutoff):
    """All pairs by summing over more images than can matter."""
    repeats = [0, 0, 0]
    if pbc.any():
        spanning = np.where(pbc[:, None], cell, 0) + np.where(pbc[:, None], 0, np.eye(3) * 17.3)
        fractions = positions @ np.linalg.inv(spanning)
        spread = np.ptp(fractions, axis=0)
        spacing = 1 / np.linalg.norm(np.linalg.inv(spanning), axis=0)
        wanted = np.ceil(cutoff / spacing + spread).astype(int) + 1
        repeats = np.where(pbc, wanted, 0).tolist()
    found = []
    for shift in itertools.product(*(range(-n, n + 1) for n in repeats)):
        vectors = positions[:, None] - positions[None] + np.array(shift) @ cell
        for sender, receiver in np.argwhere((vectors**2).sum(-1) < cutoff**2):
            if sender != receiver or any(shift):
                found.append((int(receiver), int(sender), *shift))
    return sorted(found)


def as_rows(edge_index, edge_shift):
    rows = zip(edge_index[1], edge_index[0], edge_shift, strict=True)
    return [(int(r), int(s), *(int(n) for n in shift)) for r, s, shift in rows]


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    atoms=st.integers(1, 8),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    size=st.floats(1.8, 7.0),
    skew=st.floats(0.0, 0.5),
    cutoff=st.floats(1.0, 6.0),
    dummy=st.booleans(),
)
def test_equals_the_sum_over_images(seed, atoms, pbc, size, skew, cutoff, dummy):
    """Skewed and left-handed cells, smaller than the cutoff, with atoms outside."""
    rng = np.random.default_rng(seed)
    cell = size * (np.eye(3) * rng.choice([-1, 1]) + skew * rng.uniform(-1, 1, size=(3, 3)))
    positions = rng.uniform(-1.5, 2.5, size=(atoms, 3)) @ cell
    pbc = np.array(pbc)
    if not dummy:
        cell = np.where(pbc[:, None], cell, 0)
    if abs(np.linalg.det(np.where(pbc[:, None], cell, np.eye(3)))) < 0.5:
        return
    edge_index, edge_shift = neighbor_list(positions, cell, pbc, cutoff)
    # The order (receiver, sender, shift) is part of the contract, so lists compare as they are.
    assert as_rows(edge_index, edge_shift) == brute_force(positions, cell, pbc, cutoff)


def lengths(positions, cell, edge_index, edge_shift):
    vectors = positions[edge_index[0]] - positions[edge_index[1]] + edge_shift @ cell
    return (vectors**2).sum(axis=1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    atoms=st.integers(1, 8),
    most=st.integers(1, 12),
    tolerance=st.floats(0.0, 0.5),
    lattice=st.booleans(),
)
def test_the_shortest_edges_are_kept(seed, atoms, most, tolerance, lattice):
    """Random atoms, and atoms on a lattice, where many edges are of one length."""
    rng = np.random.default_rng(seed)
    cell, pbc = 4.0 * np.eye(3), np.array([True, True, rng.random() < 0.5])
    positions = rng.uniform(0, 4, size=(atoms, 3))
    if lattice:
        grid = np.stack(np.meshgrid(*[np.arange(2.0)] * 3), axis=-1).reshape(-1, 3)
        positions = 2.0 * rng.permutation(grid)[:atoms]
    whole = neighbor_list(positions, cell, pbc, 5.0)
    strict = neighbor_list(positions, cell, pbc, 5.0, max_neighbors=most)
    loose = neighbor_list(positions, cell, pbc, 5.0, max_neighbors=most, tie_tolerance=tolerance)
    rows = [set(as_rows(*found)) for found in (whole, strict, loose)]
    assert rows[1] <= rows[2] <= rows[0]
    squares = lengths(positions, cell, *whole)
    for atom in range(atoms):
        own = np.sort(squares[whole[0][1] == atom])
        kept = np.sort(lengths(positions, cell, *strict)[strict[0][1] == atom])
        assert np.allclose(kept, own[:most])
        bound = own[most] + tolerance if len(own) > most else np.inf
        found = lengths(positions, cell, *loose)[loose[0][1] == atom]
        assert np.array_equal(np.sort(found), own[own <= bound])
    for found in (strict, loose):
        assert as_rows(*found) == sorted(as_rows(*found))


def test_ties_are_kept_whatever_the_order_of_atoms():
    """Eight corners of a cube: six neighbors at 2 Å; a bound of 4 breaks the symmetry."""
    grid = np.stack(np.meshgrid(*[np.arange(2.0)] * 3), axis=-1).reshape(-1, 3)
    positions, cell, pbc = 2.0 * grid, 4.0 * np.eye(3), np.ones(3, dtype=bool)
    strict = neighbor_list(positions, cell, pbc, 3.5, max_neighbors=4)
    loose = neighbor_list(positions, cell, pbc, 3.5, max_neighbors=4, tie_tolerance=0.01)
    assert np.bincount(strict[0][1]).tolist() == [4] * 8
    assert np.bincount(loose[0][1]).tolist() == [6] * 8
    order = np.random.default_rng(0).permutation(8)
    again = neighbor_list(positions[order], cell, pbc, 3.5, max_neighbors=4, tie_tolerance=0.01)
    renamed = [(int(order[r]), int(order[s]), *shift) for r, s, *shift in as_rows(*again)]
    assert sorted(renamed) == as_rows(*loose)


@pytest.mark.parametrize(
    "wrong",
    [{"max_neighbors": 0}, {"tie_tolerance": 0.1}, {"max_neighbors": 3, "tie_tolerance": -1.0}],
)
def test_impossible_bounds_are_refused(wrong):
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        neighbor_list(np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool), 1.0, **wrong)


def test_single_atoms_alone_and_with_their_own_images():
    one = np.zeros((1, 3))
    cube = 2.0 * np.eye(3)
    never, always = np.zeros(3, dtype=bool), np.ones(3, dtype=bool)
    edge_index, edge_shift = neighbor_list(one, cube, never, 3.0)
    assert edge_index.shape == (2, 0)
    assert edge_shift.shape == (0, 3)
    assert neighbor_list(one, cube, always, 2.5)[0].shape == (2, 6)
    line = np.array([False, True, False])
    assert neighbor_list(one, cube, line, 2.5)[1].tolist() == [[0, -1, 0], [0, 1, 0]]


def test_a_pair_at_the_cutoff_is_left_out():
    pair = np.array([[0.0, 0, 0], [2.0, 0, 0]])
    never = np.zeros(3, dtype=bool)
    assert neighbor_list(pair, np.zeros((3, 3)), never, 2.0)[0].shape == (2, 0)
    above = float(np.nextafter(2.0, 3))
    assert neighbor_list(pair, np.zeros((3, 3)), never, above)[0].shape == (2, 2)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), float("inf")])
def test_senseless_cutoffs_are_refused(cutoff):
    with pytest.raises(ValueError, match="cutoff must be a finite number above 0"):
        neighbor_list(np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool), cutoff)
