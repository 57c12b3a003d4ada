import pytest
import torch
from scipy.special import eval_legendre

from equinet.o3 import spherical_harmonics, zonal_polynomials


def vectors_and_axes(dimension):
    vectors = torch.randn(7, 1, dimension, dtype=torch.float64)
    axes = torch.nn.functional.normalize(torch.randn(5, dimension, dtype=torch.float64), dim=-1)
    return vectors, axes


@pytest.mark.parametrize("lmax", [0, 1, 2, 5])
def test_are_solid_legendre_polynomials_in_space(lmax):
    vectors, axes = vectors_and_axes(3)
    length = vectors.norm(dim=-1)
    cosines = ((vectors * axes).sum(-1) / length).numpy()
    found = zonal_polynomials(lmax, vectors, axes)
    assert found.shape == (7, 5, lmax + 1)
    for degree in range(lmax + 1):
        expected = length**degree * torch.from_numpy(eval_legendre(degree, cosines))
        torch.testing.assert_close(found[..., degree], expected, rtol=0, atol=1e-12)


def test_are_sums_of_harmonics():
    vectors, axes = vectors_and_axes(3)
    of_vectors = spherical_harmonics(3, vectors, normalize=False)
    products = of_vectors * spherical_harmonics(3, axes)
    found = zonal_polynomials(3, vectors, axes)
    for degree in range(4):
        block = products[..., degree**2 : (degree + 1) ** 2].sum(-1)
        expected = 4 * torch.pi / (2 * degree + 1) * block
        torch.testing.assert_close(found[..., degree], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lmax", [0, 1, 4])
def test_are_cosines_and_sines_of_the_signed_angle_in_the_plane(lmax):
    vectors, axes = vectors_and_axes(2)
    angle = torch.atan2(vectors[..., 1], vectors[..., 0]) - torch.atan2(axes[:, 1], axes[:, 0])
    found = zonal_polynomials(lmax, vectors, axes)
    assert found.shape == (7, 5, 2 * lmax + 1)
    for degree in range(1, lmax + 1):
        expected = torch.stack([torch.cos(degree * angle), torch.sin(degree * angle)], dim=-1)
        expected = expected * vectors.norm(dim=-1, keepdim=True) ** degree
        place = slice(2 * degree - 1, 2 * degree + 1)
        torch.testing.assert_close(found[..., place], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dimension", [2, 3])
def test_are_smooth_at_zero(dimension):
    vectors = torch.zeros(1, dimension, dtype=torch.float64, requires_grad=True)
    axis = torch.eye(dimension, dtype=torch.float64)[0]
    value = zonal_polynomials(3, vectors, axis).sum()
    (first,) = torch.autograd.grad(value, vectors, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), vectors)
    assert value == 1
    assert all(each.isfinite().all() for each in (first, second))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="lmax must be at least 0, found -1"):
        zonal_polynomials(-1, torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"both have 2 or both 3 components, found shapes \[3\]"):
        zonal_polynomials(1, torch.zeros(3), torch.zeros(2))
