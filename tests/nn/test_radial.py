import math

import pytest
import torch

from equinet.nn import (
    BesselBasis,
    GaussianBasis,
    LogarithmicBasis,
    RadialNetwork,
    polynomial_envelope,
)


@pytest.mark.parametrize("order", [3, 5, 6])
def test_envelope_is_twice_differentiable_at_the_cutoff(order: int) -> None:
    d = torch.tensor([0.0, 4.0], dtype=torch.float64, requires_grad=True)
    value = polynomial_envelope(d, 4.0, order)
    torch.testing.assert_close(value, torch.tensor([1.0, 0.0], dtype=torch.float64))
    (slope,) = torch.autograd.grad(value.sum(), d, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), d)
    torch.testing.assert_close(slope[1].item(), 0.0, atol=1e-12, rtol=0)
    torch.testing.assert_close(curvature[1].item(), 0.0, atol=1e-12, rtol=0)
    assert polynomial_envelope(torch.tensor([9.0]), 4.0, order).item() == 0.0


def test_bessel_functions_are_orthonormal_on_the_ball() -> None:
    basis = BesselBasis(cutoff=5.0, size=6).double()
    d = torch.linspace(0, 5, 20001, dtype=torch.float64)[1:-1]
    functions = basis(d) / polynomial_envelope(d, 5.0).unsqueeze(-1).clamp(min=1e-300)
    inner = d < 4.999
    gram = torch.einsum("da,db,d->ab", *[functions[inner]] * 2, d[inner].square()) * 5 / 20000
    torch.testing.assert_close(gram, torch.eye(6, dtype=torch.float64), atol=1e-5, rtol=0)


def test_bessel_basis_and_its_gradients_are_finite_at_zero() -> None:
    d = torch.zeros(1, requires_grad=True)
    value = BesselBasis(5.0)(d).sum()
    (slope,) = torch.autograd.grad(value, d, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, d)
    assert torch.isfinite(value)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(curvature).all()


def test_network_vanishes_where_the_basis_does() -> None:
    network = RadialNetwork(8, 2, 4)
    assert torch.equal(network(torch.zeros(3, 8)), torch.zeros(3, 3, 4))


def test_network_keeps_unit_variance() -> None:
    torch.manual_seed(0)
    z = RadialNetwork(8, 3, 64, hidden=(64, 64, 64))(torch.randn(2000, 8))
    assert 0.5 < z.square().mean() < 2.0


def test_gaussians_peak_at_equal_distances() -> None:
    basis = GaussianBasis(4.0, 9, width=1.5)
    values = basis(torch.linspace(0, 4, 9, dtype=torch.float64))
    torch.testing.assert_close(torch.diagonal(values), torch.ones(9, dtype=torch.float64))
    expected = math.exp(-((1 / 1.5) ** 2) / 2)
    torch.testing.assert_close(torch.diagonal(values, 1), torch.full((8,), expected).double())


def test_one_gaussian_has_no_width() -> None:
    with pytest.raises(ValueError, match="size must be at least 2, found 1"):
        GaussianBasis(4.0, 1)


def test_logarithmic_basis_is_even_and_covers_all_scales():
    distances = torch.logspace(-2, 1.3, 200, dtype=torch.float64)
    basis = LogarithmicBasis()
    values = basis(distances)
    torch.testing.assert_close(basis(-distances), values)
    assert values.sum(-1).min() > 0.5
