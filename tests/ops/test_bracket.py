import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equinet.o3 import bracket_tensor, rotate, spherical_harmonics
from equinet.ops import bracket_product, gaunt_product

MAX = 6


def test_equals_the_tensor_contraction_for_all_degrees(backend, random_function):
    x, y = random_function(MAX), random_function(MAX)
    couplings = bracket_tensor(MAX, MAX, MAX)
    for lmax1 in range(MAX + 1):
        for lmax2 in range(MAX + 1):
            f, g = x[: (lmax1 + 1) ** 2], y[: (lmax2 + 1) ** 2]
            expected = torch.einsum("ijk,ic,jc->kc", couplings[: len(f), : len(g)], f, g)
            for lmax_out in range(MAX + 1):
                z = bracket_product(f, g, lmax_out, backend=backend)
                error = (z - expected[: (lmax_out + 1) ** 2]).abs().max()
                assert error < 1e-12 * max(1, expected.abs().max()), (lmax1, lmax2, lmax_out)


def test_is_the_bracket_of_the_functions(backend, random_function):
    x, y = random_function(3, channels=1), random_function(4, channels=1)
    z = bracket_product(x, y, backend=backend)
    assert z.shape == (64, 1)
    assert (z[49:].abs() < 1e-12).all()
    n = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64)).requires_grad_()
    gradients = [
        torch.autograd.grad((spherical_harmonics(lmax, n) @ each).sum(), n)[0]
        for lmax, each in ((3, x), (4, y))
    ]
    expected = (n * torch.linalg.cross(*gradients)).sum(-1, keepdim=True)
    torch.testing.assert_close(spherical_harmonics(7, n) @ z, expected, rtol=1e-11, atol=1e-11)


def test_is_the_cross_product_of_vectors(backend, random_function):
    x, y = random_function(1), random_function(1)
    z = bracket_product(x, y, 1, backend=backend)
    expected = torch.linalg.cross(x[1:], y[1:], dim=0)
    ratio = z[1:] / expected
    torch.testing.assert_close(ratio, ratio[0, 0].expand(3, 2))
    assert ratio[0, 0] > 0


def test_algebra(backend, random_function):
    x, y, z = random_function(2, 3), random_function(3, 3), random_function(1, 3)

    def bracket(a, b):
        return bracket_product(a, b, backend=backend)

    def times(a, b):
        return gaunt_product(a, b, backend=backend)

    close = {"rtol": 0, "atol": 1e-11}
    torch.testing.assert_close(bracket(x, y), -bracket(y, x), **close)
    jacobi = bracket(x, bracket(y, z)) + bracket(y, bracket(z, x)) + bracket(z, bracket(x, y))
    torch.testing.assert_close(jacobi, torch.zeros_like(jacobi), **close)
    leibniz = times(bracket(x, y), z) + times(y, bracket(x, z))
    torch.testing.assert_close(bracket(x, times(y, z)), leibniz, **close)
    # <{x, y}, z> = <x, {y, z}>
    left = (bracket_product(x, y, 1, backend=backend) * z).sum(-2)
    right = (x * bracket_product(y, z, 2, backend=backend)).sum(-2)
    torch.testing.assert_close(left, right, **close)


@pytest.mark.parametrize("reflect", [1, -1])
def test_reflections_make_a_pseudo_function(backend, reflect, random_function, random_rotation):
    x, y, turn = random_function(3, 2), random_function(4, 2), reflect * random_rotation
    before = bracket_product(rotate(x, turn, 1), rotate(y, turn, 1), 5, backend=backend)
    after = rotate(bracket_product(x, y, 5, backend=backend), turn, -1)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-11)


def test_gradients(backend, random_function):
    x, y = random_function(1, 2).requires_grad_(), random_function(2, channels=1).requires_grad_()

    def bracket(x, y):
        return bracket_product(x, y, 2, backend=backend)

    assert gradcheck(bracket, [x, y])
    assert gradgradcheck(bracket, [x, y])


@pytest.mark.parametrize(
    "shapes", [((0, 9, 2), (4, 1)), ((3, 1, 9, 5), (2, 16, 1)), ((1, 3), (1, 1))]
)
def test_shapes(backend, shapes):
    x, y = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    z = bracket_product(x, y, 2, backend=backend)
    batch = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    assert z.shape == (*batch, 9, x.shape[-1])
    torch.testing.assert_close(z, bracket_product(x, y, 2, backend="reference"))


def test_of_constants_is_zero(backend, random_function):
    z = bracket_product(random_function(0), random_function(0), backend=backend)
    assert z.shape == (1, 2)
    assert (z.abs() < 1e-14).all()


def test_wrong_arguments_are_named():
    x = torch.randn(2, 9, 4)
    with pytest.raises(ValueError, match=r"x must have shape .* found \[2, 8, 4\]"):
        bracket_product(x[:, :8], x)
