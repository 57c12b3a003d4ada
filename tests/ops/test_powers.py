import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from equinet.o3 import spherical_harmonics
from equinet.ops import gaunt_powers, gaunt_product


@settings(max_examples=15, deadline=None)
@given(
    lmax=st.integers(0, 3),
    order=st.integers(1, 4),
    lmax_out=st.integers(0, 5),
    batch=st.lists(st.integers(0, 3), max_size=2),
    channels=st.sampled_from([1, 3]),
)
def test_backends_agree(lmax, order, lmax_out, batch, channels):
    x = torch.randn(*batch, (lmax + 1) ** 2, channels, dtype=torch.float64)
    expected = gaunt_powers(x, order, lmax_out, backend="reference")
    assert expected.shape == (order, *batch, (lmax_out + 1) ** 2, channels)
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    for backend in ("fourier", "grid"):
        powers = gaunt_powers(x, order, lmax_out, backend=backend)
        torch.testing.assert_close(powers, expected, rtol=0, atol=1e-12 * scale)


def test_are_powers_of_the_function(backend, random_function):
    x = random_function(2)
    directions = torch.randn(20, 3, dtype=torch.float64)
    values = spherical_harmonics(2, directions) @ x
    powers = spherical_harmonics(6, directions) @ gaunt_powers(x, 3, 6, backend=backend)
    torch.testing.assert_close(powers, torch.stack([values, values**2, values**3]))


def test_nothing_is_truncated_before_the_end(backend, random_function):
    x = random_function(3)
    third = gaunt_powers(x, 3, 1, backend=backend)[2]
    torch.testing.assert_close(third, gaunt_product(gaunt_product(x, x), x, 1))


def test_gradients(backend, random_function):
    x = random_function(1, 2).requires_grad_()

    def powers(x):
        return gaunt_powers(x, 3, 2, backend=backend)

    assert gradcheck(powers, [x])
    assert gradgradcheck(powers, [x])


def test_wrong_arguments_are_named():
    x = torch.randn(2, 9, 4)
    with pytest.raises(ValueError, match=r"x must have shape .* found \[2, 8, 4\]"):
        gaunt_powers(x[:, :8], 2, 2)
    with pytest.raises(ValueError, match="order must be at least 1, found 0"):
        gaunt_powers(x, 0, 2)
    with pytest.raises(ValueError, match="lmax_out must be at least 0, found -2"):
        gaunt_powers(x, 2, -2)


@pytest.mark.parametrize("order", [5, 16, 17])
def test_gradients_of_high_orders(order, random_function):
    x = random_function(1).requires_grad_()
    weights = torch.randn(order, 9, 2, dtype=torch.float64)
    results = []
    for backend in ("auto", "grid"):
        powers = gaunt_powers(x, order, 2, backend=backend)
        results.append([powers, *torch.autograd.grad((powers * weights).sum(), x)])
    for found, expected in zip(*results, strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * scale)
