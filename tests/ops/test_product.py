import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from equinet.o3 import gaunt_tensor, rotate, spherical_harmonics
from equinet.ops import gaunt_product

MAX = 6


def test_equals_the_tensor_contraction_for_all_degrees(backend, random_function):
    x, y = random_function(MAX), random_function(MAX)
    couplings = gaunt_tensor(MAX, MAX, MAX)
    for lmax1 in range(MAX + 1):
        for lmax2 in range(MAX + 1):
            f, g = x[: (lmax1 + 1) ** 2], y[: (lmax2 + 1) ** 2]
            part = couplings[: len(f), : len(g)]
            expected = torch.einsum("ijk,ic,jc->kc", part, f, g)
            for lmax_out in range(MAX + 1):
                z = gaunt_product(f, g, lmax_out, backend=backend)
                error = (z - expected[: (lmax_out + 1) ** 2]).abs().max()
                assert error < 1e-12, (lmax1, lmax2, lmax_out)


@pytest.mark.parametrize("degrees", [(0, 0), (1, 3), (4, 2), (6, 6), (8, 7)])
def test_is_the_product_of_the_functions(backend, degrees, random_function):
    x, y = (random_function(lmax) for lmax in degrees)
    z = gaunt_product(x, y, backend=backend)
    assert z.shape == ((sum(degrees) + 1) ** 2, 2)
    directions = torch.randn(20, 3, dtype=torch.float64)
    f, g, product = (
        spherical_harmonics(math.isqrt(len(each)) - 1, directions) @ each for each in (x, y, z)
    )
    torch.testing.assert_close(product, f * g, rtol=1e-11, atol=1e-11)


def test_algebra(backend, random_function):
    x, y, z = random_function(2, 3), random_function(3, 3), random_function(1, 3)

    def times(a, b):
        return gaunt_product(a, b, backend=backend)

    torch.testing.assert_close(times(x, y), times(y, x), rtol=0, atol=1e-12)
    torch.testing.assert_close(times(times(x, y), z), times(x, times(y, z)), rtol=1e-12, atol=1e-12)
    one = torch.zeros_like(x[..., :1, :]) + math.sqrt(4 * math.pi)
    torch.testing.assert_close(times(one, x), x, rtol=0, atol=1e-12)
    # <x y, z> = <x, y z>, and degree 0 is the scalar product.
    left = (gaunt_product(x, y, 1, backend=backend) * z).sum(-2)
    right = (x * gaunt_product(y, z, 2, backend=backend)).sum(-2)
    torch.testing.assert_close(left, right, rtol=0, atol=1e-12)
    scalar = gaunt_product(x, x, 0, backend=backend)[..., 0, :]
    torch.testing.assert_close(scalar * math.sqrt(4 * math.pi), x.square().sum(-2))


@pytest.mark.parametrize("reflect", [1, -1])
def test_equivariant_under_rotations_and_reflections(
    backend, reflect, random_function, random_rotation
):
    x, y, turn = random_function(3, 2), random_function(4, 2), reflect * random_rotation
    before = gaunt_product(rotate(x, turn, 1), rotate(y, turn, 1), 5, backend=backend)
    after = rotate(gaunt_product(x, y, 5, backend=backend), turn, 1)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)
    # A pseudo function times a true one is a pseudo function.
    before = gaunt_product(rotate(x, turn, -1), rotate(y, turn, 1), 5, backend=backend)
    after = rotate(gaunt_product(x, y, 5, backend=backend), turn, -1)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)


def test_gradients_to_third_order(backend, random_function):
    x, y = random_function(1, 2).requires_grad_(), random_function(2, channels=1).requires_grad_()

    def product(x, y):
        return gaunt_product(x, y, 2, backend=backend)

    def gradient(x, y):
        z = product(x, y)
        return torch.autograd.grad((z**3).sum(), [x, y], create_graph=True)

    assert gradcheck(product, [x, y])
    assert gradgradcheck(product, [x, y])
    assert gradgradcheck(gradient, [x, y])


@settings(max_examples=20, deadline=None)
@given(
    degrees=st.tuples(*3 * [st.integers(0, 4)]),
    batch=st.lists(st.integers(0, 3), max_size=3),
    missing=st.integers(0, 3),
    ones=st.lists(st.booleans(), min_size=3, max_size=3),
    channels=st.sampled_from([1, 3, 33]),
    shared=st.booleans(),
    backend=st.sampled_from(["fourier", "grid"]),
)
def test_any_shape(degrees, batch, missing, ones, channels, shared, backend):
    lmax1, lmax2, lmax_out = degrees
    small = [1 if one else size for size, one in zip(batch, ones, strict=False)][missing:]
    x = torch.randn(*batch, (lmax1 + 1) ** 2, channels, dtype=torch.float64)
    y = torch.randn(*small, (lmax2 + 1) ** 2, 1 if shared else channels, dtype=torch.float64)
    x.requires_grad_()
    z = gaunt_product(x, y, lmax_out, backend=backend)
    assert z.shape == (*batch, (lmax_out + 1) ** 2, channels)
    expected = gaunt_product(x, y.expand(*batch, -1, channels), lmax_out, backend="reference")
    torch.testing.assert_close(z, expected, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(z.sum(), x)
    assert gradient.shape == x.shape


def test_layout_does_not_matter(backend, random_function):
    x, y = random_function(2, 4, channels=6), random_function(3, 4, channels=6)
    expected = gaunt_product(x, y, 3, backend=backend)
    strided = torch.stack([x, -x], dim=-1)[..., 0]
    turned = y.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not strided.is_contiguous()
    assert not turned.is_contiguous()
    torch.testing.assert_close(gaunt_product(strided, turned, 3, backend=backend), expected)
    same = x[:1].expand(4, -1, -1)
    torch.testing.assert_close(
        gaunt_product(same, y, 3, backend=backend),
        gaunt_product(same.contiguous(), y, 3, backend=backend),
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 1e-2)])
def test_lower_precision(backend, dtype, tolerance, random_function):
    x, y = random_function(4, 5).to(dtype), random_function(4, 5).to(dtype)
    z = gaunt_product(x, y, backend=backend)
    assert z.dtype == dtype
    exact = gaunt_product(x.double(), y.double(), backend="reference")
    assert (z - exact).norm() < tolerance * exact.norm()


def test_keeps_precision_under_autocast(backend, random_function):
    x, y = random_function(3, 5).float(), random_function(3, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = gaunt_product(x, y, backend=backend)
    assert z.dtype == torch.float32
    exact = gaunt_product(x.double(), y.double(), backend="reference")
    assert (z - exact).norm() < 2e-6 * exact.norm()


def test_tables_made_in_inference_mode_serve_training(backend, random_function):
    x = random_function(5, channels=1)
    with torch.inference_mode():
        gaunt_product(x, x, 7, backend=backend)
    x.requires_grad_()
    gaunt_product(x, x, 7, backend=backend).sum().backward()


def test_degrees_beyond_the_sum_are_zero(backend, random_function):
    x = random_function(1)
    z = gaunt_product(x, x, 4, backend=backend)
    torch.testing.assert_close(z[:9], gaunt_product(x, x, backend=backend))
    assert (z[9:] == 0).all()


def test_wrong_arguments_are_named():
    x, y = torch.randn(2, 9, 4), torch.randn(2, 4, 4)
    with pytest.raises(ValueError, match=r"x must have shape .* found \[2, 8, 4\]"):
        gaunt_product(x[:, :8], y)
    with pytest.raises(ValueError, match=r"y must have shape .* found \[2, 0, 4\]"):
        gaunt_product(x, y[:, :0])
    with pytest.raises(ValueError, match=r"y must have 4 channels .* found y of shape \[2, 4, 3\]"):
        gaunt_product(x, y[..., :3])
    with pytest.raises(ValueError, match=r"batch dimensions of y .* \[3\] and \[2\]"):
        gaunt_product(x, torch.randn(3, 4, 4))
    with pytest.raises(ValueError, match=r"y must have the dtype of x, .*32, found .*64"):
        gaunt_product(x, y.double())
    with pytest.raises(ValueError, match="lmax_out must be at least 0, found -1"):
        gaunt_product(x, y, -1)
    with pytest.raises(ValueError, match=r"backend must be .* found 'fft'"):
        gaunt_product(x, y, backend="fft")
