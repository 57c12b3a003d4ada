import math

import numpy as np
import pytest
import torch
from e3nn import o3 as e3nn_o3
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.o3 import gauss_legendre_quadrature, normalized_legendre, spherical_harmonics


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("lmax", [0, 1, 2, 5, 11])
def test_equals_e3nn(lmax):
    directions = randn(40, 3)
    degrees = list(range(lmax + 1))
    expected = e3nn_o3.spherical_harmonics(degrees, directions, True, "integral")
    torch.testing.assert_close(spherical_harmonics(lmax, directions), expected, rtol=0, atol=1e-12)
    single = spherical_harmonics(lmax, directions.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=2e-5)


@given(lmax=st.integers(0, 25))
@settings(max_examples=8, deadline=None)
def test_orthonormal_at_any_degree(lmax):
    points, weights = gauss_legendre_quadrature(2 * lmax)
    harmonics = spherical_harmonics(lmax, points)
    gram = harmonics.T @ (weights[:, None] * harmonics)
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype), rtol=0, atol=1e-12)


@given(lmax=st.integers(0, 8), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_solid_harmonics_are_homogeneous(lmax, scale, seed):
    vectors = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    degrees = torch.arange((lmax + 1) ** 2).sqrt().floor()
    on_sphere = spherical_harmonics(lmax, vectors)
    torch.testing.assert_close(spherical_harmonics(lmax, scale * vectors), on_sphere)
    radius = scale * vectors.norm(dim=-1, keepdim=True)
    solid = spherical_harmonics(lmax, scale * vectors, normalize=False)
    torch.testing.assert_close(solid, radius**degrees * on_sphere)


def test_parity():
    directions = randn(10, 3)
    signs = torch.cat([torch.full((2 * degree + 1,), (-1.0) ** degree) for degree in range(6)])
    torch.testing.assert_close(
        spherical_harmonics(5, -directions), signs * spherical_harmonics(5, directions)
    )


def test_solid_harmonics_are_harmonic():
    """The Laplacian of r^l Y_lm is zero: a check of exact second derivatives."""

    def laplacian(vector):
        return torch.func.hessian(lambda v: spherical_harmonics(5, v, normalize=False))(
            vector
        ).diagonal(dim1=-2, dim2=-1)

    parts = laplacian(randn(3))
    assert parts.abs().max() > 1
    torch.testing.assert_close(
        parts.sum(-1), torch.zeros(36, dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("normalize", [True, False])
def test_gradients_of_three_orders(normalize):
    directions = randn(2, 3).requires_grad_()

    def function(v):
        return spherical_harmonics(3, v, normalize)

    def slope(v):
        y = function(v)
        return torch.autograd.grad(y.sin().sum(), v, create_graph=True)[0]

    assert torch.autograd.gradcheck(function, directions)
    assert torch.autograd.gradgradcheck(function, directions)
    assert torch.autograd.gradgradcheck(slope, directions)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [0.0, 1e-160, 1e-30])
def test_zero_vectors(dtype, length):
    vectors = torch.tensor([[0.0, 0, 0], [0, length, 0], [1, 2, 3]], dtype=dtype)
    vectors.requires_grad_()
    values = spherical_harmonics(4, vectors)
    expected = torch.zeros(25, dtype=dtype)
    expected[0] = 1 / math.sqrt(4 * math.pi)
    assert torch.equal(values[0], expected)
    first = torch.autograd.grad(values.sin().sum(), vectors, create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum(), vectors, create_graph=True)[0]
    third = torch.autograd.grad(second.sin().sum(), vectors)[0]
    for gradient in (first, second, third):
        assert (gradient[0] == 0).all()
        assert gradient[2].isfinite().all()
        assert gradient[2].abs().max() > 0
    if dtype == torch.float32 or length == 1e-160:
        assert torch.equal(values[1], expected)
        assert (second[1] == 0).all()
    elif length > 0:
        torch.testing.assert_close(
            values[1], spherical_harmonics(4, torch.tensor([0, 1.0, 0], dtype=dtype)).detach()
        )


def test_solid_harmonics_at_zero_have_the_polynomials_gradients():
    origin = torch.zeros(3, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda v: spherical_harmonics(2, v, normalize=False))(origin)
    expected = torch.zeros(9, 3, dtype=torch.float64)
    expected[1:4] = math.sqrt(3 / (4 * math.pi)) * torch.eye(3)
    torch.testing.assert_close(jacobian, expected)


@pytest.mark.parametrize("batch", [(), (0,), (2, 3), (2, 0, 3)])
def test_batch_shapes(batch):
    directions = randn(*batch, 3)
    values = spherical_harmonics(3, directions)
    assert values.shape == (*batch, 16)
    flat = [spherical_harmonics(3, each) for each in directions.reshape(-1, 3)]
    for value, expected in zip(values.reshape(-1, 16), flat, strict=True):
        torch.testing.assert_close(value, expected)


def test_non_contiguous_input_and_vmap():
    directions = randn(3, 7).T
    expected = spherical_harmonics(4, directions.contiguous())
    assert torch.equal(spherical_harmonics(4, directions), expected)
    mapped = torch.func.vmap(lambda v: spherical_harmonics(4, v))(directions)
    torch.testing.assert_close(mapped, expected)


def test_not_a_number_is_passed_on():
    directions = torch.tensor([[float("nan"), 0, 1], [0, 1, 0]])
    values = spherical_harmonics(2, directions)
    assert values[0].isnan().any()
    assert values[1].isfinite().all()


def test_normalized_legendre_are_the_polar_factors():
    beta = np.linspace(0.1, 3.0, 7)
    alpha = 0.7
    directions = np.stack(
        [np.sin(beta) * np.sin(alpha), np.cos(beta), np.sin(beta) * np.cos(alpha)], axis=-1
    )
    values = spherical_harmonics(6, torch.from_numpy(directions)).numpy()
    theta = normalized_legendre(6, np.cos(beta))
    for degree in range(7):
        for m in range(-degree, degree + 1):
            factor = math.sqrt(2) * (math.sin(-m * alpha) if m < 0 else math.cos(m * alpha))
            expected = theta[degree, abs(m)] * (factor if m else 1)
            np.testing.assert_allclose(
                values[:, degree * degree + degree + m], expected, rtol=0, atol=1e-13
            )


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="lmax must be at least 0, found -1"):
        spherical_harmonics(-1, randn(3))
    with pytest.raises(ValueError, match=r"lmax must be at least 0, found -2"):
        normalized_legendre(-2, np.zeros(1))


@pytest.mark.parametrize(
    ("dtype", "length"),
    [
        (torch.float16, 300.0),
        (torch.float16, 6e4),
        (torch.bfloat16, 1e38),
        (torch.float32, 3e38),
        (torch.float32, 1.9e19),
        (torch.float64, 1.7e308),
        (torch.float64, 1e155),
    ],
)
def test_long_vectors_have_a_direction(dtype, length):
    unit = torch.tensor([[0.6, 0.0, 0.8], [0.0, -1.0, 0.0]], dtype=torch.float64)
    found = spherical_harmonics(3, (length * unit).to(dtype))
    assert found.dtype == dtype
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), spherical_harmonics(3, unit), rtol=0, atol=tolerance)
