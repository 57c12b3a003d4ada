import math

import pytest
import torch

from equinet.o3 import orientation_grid, spherical_harmonics

# Name, points, degree, size of the symmetry group, points opposite two by two.
GRIDS = [
    ("circle3", 3, 2, 6, False),
    ("circle10", 10, 9, 20, True),
    ("octahedron6", 6, 3, 48, True),
    ("icosahedron12", 12, 5, 120, True),
    ("dodecahedron20", 20, 5, 120, True),
    ("union32", 32, 9, 120, True),
    ("fibonacci16", 16, 3, 2, False),
    # The known minima: tetrahedron, icosahedron, and a pentakis dodecahedron.
    ("repulsion4", 4, 2, 24, False),
    ("repulsion12", 12, 5, 120, False),
    ("repulsion32", 32, 9, 120, False),
]
NAMES = [name for name, *_ in GRIDS]


@pytest.mark.parametrize(("name", "count", "degree", "order", "antipodal"), GRIDS)
def test_is_as_documented(name, count, degree, order, antipodal):
    grid = orientation_grid(name)
    assert grid.points.dtype == grid.weights.dtype == grid.symmetry.dtype == torch.float64
    assert len(grid.points) == count
    assert (grid.degree, len(grid.symmetry), grid.antipodal) == (degree, order, antipodal)
    assert (grid.weights > 0).all()
    assert abs(grid.weights.sum().item() - 1) < 1e-14
    lengths = grid.points.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("circle")])
def test_means_are_exact_to_the_degree_and_no_further(name):
    grid = orientation_grid(name)
    means = grid.weights @ spherical_harmonics(grid.degree + 1, grid.points)
    exact, beyond = means[1 : (grid.degree + 1) ** 2], means[(grid.degree + 1) ** 2 :]
    assert exact.abs().max() < 1e-12
    assert beyond.abs().max() > 1e-4


def test_means_on_the_circle():
    points, weights, _ = orientation_grid("circle10")
    angles = torch.atan2(points[:, 1], points[:, 0])
    for degree in range(1, 10):
        assert abs((weights @ torch.cos(degree * angles)).item()) < 1e-15
    assert (weights @ torch.cos(10 * angles)).item() == pytest.approx(1)


@pytest.mark.parametrize("name", NAMES)
def test_symmetry_is_a_group_that_permutes_points_of_equal_weight(name):
    points, weights, symmetry = orientation_grid(name)
    dimension = points.shape[1]
    identity = torch.eye(dimension, dtype=torch.float64)
    torch.testing.assert_close(
        symmetry @ symmetry.mT, identity.expand_as(symmetry), rtol=0, atol=1e-12
    )
    images = points @ symmetry.mT
    distance, place = torch.cdist(images, points, compute_mode="donot_use_mm_for_euclid_dist").min(
        -1
    )
    assert distance.max() < 1e-12
    assert (place.sort(-1).values == torch.arange(len(points))).all()
    torch.testing.assert_close(weights[place], weights.expand_as(place), rtol=0, atol=1e-12)
    products = torch.einsum("gij,hjk->ghik", symmetry, symmetry).reshape(-1, dimension**2)
    nearest = torch.cdist(products, symmetry.flatten(1)).min(-1).values
    assert nearest.max() < 1e-6
    # No two alike.
    apart = torch.cdist(symmetry.flatten(1), symmetry.flatten(1)).fill_diagonal_(1)
    assert apart.min() > 0.1


def test_icosahedral_symmetry_has_sixty_rotations_and_the_inversion():
    symmetry = orientation_grid("icosahedron12").symmetry
    determinants = torch.linalg.det(symmetry)
    assert (determinants > 0).sum() == 60
    traces = symmetry.diagonal(dim1=1, dim2=2).sum(-1)
    assert (traces < -3 + 1e-12).sum() == 1


@pytest.mark.parametrize("name", NAMES)
def test_lift_then_read_out_is_the_identity_and_a_constant_reads_out_as_zero(name):
    grid = orientation_grid(name)
    vectors = torch.randn(5, grid.points.shape[1], dtype=torch.float64)
    signals = vectors @ grid.points.T
    torch.testing.assert_close(signals @ grid.frame, vectors, rtol=0, atol=1e-14)
    assert grid.frame.sum(0).abs().max() < 1e-15


def test_weights_of_the_union_are_those_of_the_rule_of_degree_nine():
    weights = orientation_grid("union32").weights
    expected = torch.tensor([5 / 168] * 6 + [9 / 280] * 10, dtype=torch.float64).repeat(2)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("count", "energy"), [(4, 3.674234614), (12, 49.165253058)])
def test_repulsion_reaches_the_known_least_energy(count, energy):
    points = orientation_grid(f"repulsion{count}").points
    assert torch.pdist(points).reciprocal().sum().item() == pytest.approx(energy, abs=1e-9)


def test_the_grid_is_the_same_every_time_and_the_callers_own():
    torch.manual_seed(0)
    first = orientation_grid("repulsion5")
    torch.manual_seed(1)
    second = orientation_grid("repulsion5")
    assert torch.equal(first.points, second.points)
    first.points.zero_()
    assert orientation_grid("repulsion5").points.norm() > 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("icosa12", "no orientation grid 'icosa12'; the nearest names are icosahedron12"),
        ("circel16", "nearest names are circle16"),
        ("fibonacci", "nearest names are fibonacci16"),
        ("circle2", "'circle2' has too few points .* circle3 is the smallest"),
        ("repulsion3", "repulsion4 is the smallest"),
        ("?", "octahedron6, icosahedron12"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name, message):
    with pytest.raises(ValueError, match=message):
        orientation_grid(name)


def test_circle_begins_at_the_first_axis_and_turns_left():
    points = orientation_grid("circle8").points
    angles = torch.atan2(points[:, 1], points[:, 0]) % (2 * math.pi)
    torch.testing.assert_close(angles, math.pi / 4 * torch.arange(8).double(), rtol=0, atol=1e-15)
