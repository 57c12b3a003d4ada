import pytest
import torch

from equinet.o3 import spherical_harmonics
from equinet.o3.harmonic_recurrences import _recur, solid_harmonics


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def derivatives(function, vectors):
    """Value, gradient, and gradient of the gradient."""
    vectors = vectors.clone().requires_grad_()
    value = function(vectors)
    (first,) = torch.autograd.grad(value.sin().sum(), vectors, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), vectors)
    return value, first, second


@pytest.mark.parametrize("lmax", [1, 4, 9])
def test_derivatives_are_those_of_the_recurrence(lmax):
    vectors = randn(3, 6)
    closed = derivatives(lambda v: solid_harmonics(lmax, v, on_sphere=False), vectors)
    plain = derivatives(lambda v: _recur(lmax, v, on_sphere=False), vectors)
    for found, expected in zip(closed, plain, strict=True):
        torch.testing.assert_close(found, expected)


def test_on_the_sphere_too():
    def recur(v):
        return _recur(5, v / v.norm(dim=0), on_sphere=True)

    def closed(v):
        return solid_harmonics(5, v / v.norm(dim=0), on_sphere=True)

    vectors = randn(3, 6)
    both = (derivatives(each, vectors) for each in (closed, recur))
    for found, expected in zip(*both, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("normalize", [True, False])
def test_second_derivatives_are_the_same_in_every_mode(normalize):
    forward, backward = torch.func.jacfwd, torch.func.jacrev
    vector = randn(3)

    def function(v):
        return spherical_harmonics(3, v, normalize)

    expected = backward(backward(function))(vector)
    assert expected.abs().max() > 0.1
    for outer, inner in ((forward, forward), (forward, backward), (backward, forward)):
        torch.testing.assert_close(outer(inner(function))(vector), expected)


def test_gradients_lose_no_digits_under_autocast():
    directions = torch.randn(5, 3, requires_grad=True)

    def slope():
        return torch.autograd.grad(spherical_harmonics(4, directions).sin().sum(), directions)[0]

    expected = slope()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(slope(), expected)


def test_the_constant_has_no_slope():
    vectors = randn(3, 6).requires_grad_()
    (slope,) = torch.autograd.grad(solid_harmonics(0, vectors, on_sphere=False).sum(), vectors)
    assert torch.equal(slope, torch.zeros_like(slope))
