import pytest
import torch

from equinet.o3 import gauss_legendre_quadrature, quadrature, spherical_harmonics
from equinet.ops import bracket_product, gaunt_powers, gaunt_product, grid


def product_on(rule, x, y, lmax_out):
    points, weights = rule
    f, g = (spherical_harmonics(grid.degree_of(each), points) @ each for each in (x, y))
    return spherical_harmonics(lmax_out, points).T @ (weights[:, None] * f * g)


@pytest.mark.parametrize("degrees", [(2, 2, 2), (3, 3, 4), (4, 4, 4), (2, 4, 6), (5, 3, 2)])
def test_minimal_rule_is_exact_and_one_size_smaller_is_not(degrees, random_function):
    lmax1, lmax2, lmax_out = degrees
    x, y = random_function(lmax1), random_function(lmax2)
    exact = gaunt_product(x, y, lmax_out, backend="reference")
    for family in (quadrature, gauss_legendre_quadrature):
        enough = product_on(family(sum(degrees)), x, y, lmax_out)
        torch.testing.assert_close(enough, exact, rtol=0, atol=1e-12)
        too_small = product_on(family(sum(degrees) - 1), x, y, lmax_out)
        assert (too_small - exact).abs().max() > 1e-3


def test_rules_are_of_the_degree_needed_and_no_more(monkeypatch, random_function):
    asked = []
    from_grid = grid.from_grid

    def spy(values, degree, lmax):
        asked.append((values.shape[-2], degree))
        return from_grid(values, degree, lmax)

    monkeypatch.setattr(grid, "from_grid", spy)
    x, y = random_function(3), random_function(2)
    gaunt_product(x, y, 4, backend="grid")
    bracket_product(x, y, 4, backend="grid")
    gaunt_powers(x, 3, 2, backend="grid")
    assert asked == [(len(quadrature(degree).weights), degree) for degree in (9, 8, 11)]


def test_there_and_back(random_function):
    x = random_function(4, 3)
    torch.testing.assert_close(grid.from_grid(grid.to_grid(x, 8), 8, 4), x, rtol=0, atol=1e-13)
