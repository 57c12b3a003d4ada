"""Atoms far apart cost nothing and end nothing."""

import numpy as np
import pytest

from equinet.data import AtomicDataset, Frame, neighbor_list, to_graph
from equinet.errors import DataError

FREE, SLAB, FULL = (np.array(pbc) for pbc in ([False] * 3, [True, True, False], [True] * 3))


def frame(positions, cell, pbc):
    positions = np.array(positions, dtype=float)
    return Frame(np.ones(len(positions), dtype=int), positions, cell, pbc, source="f.xyz, frame 7")


@pytest.mark.parametrize("pbc", [FREE, SLAB, np.array([False, True, False])])
@pytest.mark.parametrize("distance", [60.0, 1e4, 1e7])
def test_clusters_far_apart_keep_their_own_edges(pbc, distance):
    random = np.random.default_rng(3)
    cluster = random.uniform(0, 6, (12, 3))
    cell = np.diag([6.5, 7.0, 6.8]) + random.normal(size=(3, 3)) * 0.3
    normal = np.linalg.svd(cell[pbc])[2][-1] if pbc.any() else np.array([0.6, 0.0, 0.8])
    both = np.concatenate([cluster, cluster + distance * normal])
    alone, shift = neighbor_list(cluster, cell, pbc, 4.0)
    edges, shifts = neighbor_list(both, cell, pbc, 4.0)
    assert np.array_equal(edges, np.concatenate([alone, alone + 12], axis=1))
    assert np.array_equal(shifts, np.concatenate([shift, shift]))


def test_a_row_of_atoms_with_wide_gaps_in_any_order():
    places = np.random.default_rng(0).permutation(40)
    positions = np.zeros((40, 3))
    positions[:, 0] = 1e5 * (places // 2) + 1.5 * (places % 2)
    edges, _ = neighbor_list(positions, np.zeros((3, 3)), FREE, 2.0)
    assert edges.shape == (2, 40)
    assert (places[edges[0]] // 2 == places[edges[1]] // 2).all()


@pytest.mark.parametrize("shape", [(1, 1, 3e5), (3e5, 1, 1), (1, 3e5, 1), (1, 500, 500)])
def test_long_cells_that_vesin_could_not_divide(shape):
    positions, cell = np.array([[0.0, 0, 0], [1.0, 1, 1]]), np.diag(4.0 * np.array(shape))
    edges, shifts = neighbor_list(positions, cell, FULL, 5.0)
    vectors = positions[edges[0]] - positions[edges[1]] + shifts @ cell
    steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), axis=-1).reshape(-1, 3) @ cell
    images = positions[:, None, None] - positions[None, :, None] + steps
    lengths = np.linalg.norm(images, axis=-1).ravel()
    expected = np.sort(lengths[(lengths < 5.0) & (lengths > 0)])
    assert np.allclose(np.sort(np.linalg.norm(vectors, axis=1)), expected)


@pytest.mark.parametrize(
    ("positions", "cell", "pbc", "reason"),
    [
        ([[0, 0, 0], [1, 1, 1]], np.diag([4.0, 4.0, 1e9]), FULL, "spans 4 × 4 × 1e\\+09 Å"),
        ([[0, 0, 0], [1, 1, 1]], np.diag([4.0, 1e6, 1e6]), FULL, "too long beside its width"),
        ([[0, 0, 0]], 1e-3 * np.eye(3), FULL, "about 5.2e\\+11 edges within 5 Å"),
        ([[0, 0, 0], [1e308, 0, 0]], np.zeros((3, 3)), FREE, "positions hold 1e\\+308 .*atom 1"),
        ([[0, 0, 0], [1, 0, 0]], 1e300 * np.eye(3), FULL, "cell hold 1e\\+300"),
        ([[0, 0, 0], [1, np.nan, 0]], np.eye(3), FULL, "positions hold NaN or infinity"),
        ([[0, 0, 0], [1, np.inf, 0]], np.zeros((3, 3)), FREE, "positions hold NaN or infinity"),
        (np.zeros((40_000, 3)), np.zeros((3, 3)), FREE, "40000 atoms would have about 1.6e\\+09"),
    ],
)
def test_absurd_structures_are_refused_by_name(positions, cell, pbc, reason):
    with pytest.raises(DataError, match=rf"f.xyz, frame 7: .*{reason}"):
        to_graph(frame(positions, cell, pbc), 5.0)
    with pytest.raises(DataError, match="frame 7"):
        AtomicDataset([frame(positions, cell, pbc)], 5.0)


@pytest.mark.parametrize("pbc", [FULL, SLAB])
@pytest.mark.parametrize("cells", [1e4, 1e7, 1e12])
def test_atoms_many_cells_away_have_the_edges_of_their_images(pbc, cells):
    positions = np.random.default_rng(1).integers(0, 64, (6, 3)) / 16
    cell = np.diag([4.0, 8.0, 16.0])
    near, shift = neighbor_list(positions, cell, pbc, 5.0)
    away = np.zeros((6, 3))
    away[2, 0], away[4, 1] = cells, -cells
    edges, shifts = neighbor_list(positions + away @ cell, cell, pbc, 5.0)
    assert len(edges[0]) == len(near[0])
    shifts += away[edges[0]] - away[edges[1]]
    assert {(*e, *s) for e, s in zip(edges.T, shifts, strict=True)} == {
        (*e, *s) for e, s in zip(near.T, shift, strict=True)
    }


@pytest.mark.parametrize("atoms", [1, 2, 5])
def test_a_cutoff_of_any_length_finds_all_pairs_of_a_molecule(atoms):
    positions = np.random.default_rng(0).normal(size=(atoms, 3))
    for cutoff in (1e2, 1e9, 1e200):
        edges, shifts = neighbor_list(positions, np.zeros((3, 3)), FREE, cutoff)
        assert edges.shape == (2, atoms * (atoms - 1))
        assert not shifts.any()


def test_a_tiny_cutoff_finds_nothing():
    assert neighbor_list(np.zeros((1, 3)), 4 * np.eye(3), FULL, 1e-12)[0].shape == (2, 0)
