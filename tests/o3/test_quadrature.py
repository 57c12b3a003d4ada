import math

import pytest
import torch

from equinet.o3 import (
    antipodal_quadrature,
    gaunt_tensor,
    gauss_legendre_quadrature,
    lebedev_quadrature,
    quadrature,
    spherical_harmonics,
)

RULES = (quadrature, antipodal_quadrature, gauss_legendre_quadrature, lebedev_quadrature)


def integrals(rule: tuple[torch.Tensor, torch.Tensor], degree: int) -> torch.Tensor:
    """Integrals of all harmonics up to a degree; the truth is sqrt(4 pi), 0, 0, ..."""
    points, weights = rule
    return weights @ spherical_harmonics(degree, points)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("degree", [*range(13), 15, 18, 25, 27, 32, 40])
def test_exact_to_the_stated_degree(rule, degree):
    points, weights = rule(degree)
    assert points.dtype == weights.dtype == torch.float64
    assert (weights > 0).all()
    torch.testing.assert_close(points.norm(dim=-1), torch.ones_like(weights), rtol=0, atol=1e-13)
    expected = torch.zeros((degree + 1) ** 2, dtype=torch.float64)
    expected[0] = math.sqrt(4 * math.pi)
    torch.testing.assert_close(integrals((points, weights), degree), expected, rtol=0, atol=2e-13)


@pytest.mark.parametrize("degree", [*range(13), 27, 132])
def test_points_opposite_two_by_two(degree):
    points, weights = antipodal_quadrature(degree)
    half = len(points) // 2
    assert torch.equal(points[half:], -points[:half])
    assert torch.equal(weights[half:], weights[:half])
    # Never larger than the smallest rule by more than one azimuth at each polar node.
    assert len(points) <= len(quadrature(degree).points) + degree // 2 + 1


@pytest.mark.parametrize("degree", range(1, 12))
def test_one_degree_more_is_not_exact(degree):
    """The Gauss-Legendre rule is minimal, so that no evaluation is wasted."""
    error = integrals(gauss_legendre_quadrature(degree - 1), degree)[1:].abs().max()
    assert error > 1e-3


@pytest.mark.parametrize(("lmax", "lmax_out"), [(1, 1), (2, 2), (2, 4), (3, 3), (4, 4)])
def test_minimal_grid_of_a_product(lmax, lmax_out):
    """Degree 2 L + Lout gives the Gaunt tensor; one polar node or azimuth less does not."""
    expected = gaunt_tensor(lmax, lmax, lmax_out)
    total = 2 * lmax + lmax_out

    def project(points: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        first = spherical_harmonics(lmax, points)
        out = spherical_harmonics(lmax_out, points)
        return torch.einsum("p,pi,pj,pk->ijk", weights, first, first, out)

    assert (project(*quadrature(total)) - expected).abs().max() < 1e-13
    assert (project(*gauss_legendre_quadrature(total)) - expected).abs().max() < 1e-13
    assert (project(*gauss_legendre_quadrature(total - 1)) - expected).abs().max() > 1e-3


def test_smallest_rule_is_chosen():
    sizes = [len(quadrature(degree).weights) for degree in (0, 1, 2, 6, 12, 18, 24, 27)]
    assert sizes == [1, 2, 6, 26, 86, 146, 302, 302]
    assert len(quadrature(140).weights) == 71 * 141


def test_rules_with_negative_weights_are_passed_over():
    assert len(lebedev_quadrature(13).weights) == 86


def test_grid_is_ordered_as_documented():
    points = gauss_legendre_quadrature(5).points.reshape(3, 6, 3)
    assert (points[..., 1] == points[:, :1, 1]).all()
    assert (points[:, 0, 1].diff() > 0).all()
    alpha = torch.atan2(points[..., 0], points[..., 2])
    expected = 2 * math.pi / 6 * torch.arange(6, dtype=torch.float64)
    torch.testing.assert_close(alpha[0] % (2 * math.pi), expected)


def test_result_is_the_callers_own():
    quadrature(7).weights.zero_()
    assert quadrature(7).weights.sum() > 12


@pytest.mark.parametrize("rule", RULES)
def test_bad_degree_is_named(rule):
    with pytest.raises(ValueError, match="degree must be at least 0, found -1"):
        rule(-1)


def test_no_lebedev_rule_beyond_131():
    assert len(lebedev_quadrature(131).weights) == 5810
    with pytest.raises(ValueError, match="degree must be at most 131"):
        lebedev_quadrature(132)
