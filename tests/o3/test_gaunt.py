import math
from itertools import product

import pytest
import torch
from e3nn import o3 as e3nn_o3
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.o3 import (
    bracket_gain,
    bracket_tensor,
    gaunt_gain,
    gaunt_tensor,
    rotate,
    spherical_harmonics,
)
from equinet.testing import evaluate, random_coefficients, random_rotations

DEGREES = st.integers(0, 6)


@given(lmax1=DEGREES, lmax2=DEGREES, lmax_out=DEGREES)
@settings(max_examples=10, deadline=None)
def test_equals_gain_times_wigner_3j(lmax1, lmax2, lmax_out):
    gaunt = gaunt_tensor(lmax1, lmax2, lmax_out)
    bracket = bracket_tensor(lmax1, lmax2, lmax_out)
    assert gaunt.shape == ((lmax1 + 1) ** 2, (lmax2 + 1) ** 2, (lmax_out + 1) ** 2)
    for l1, l2, l3 in product(range(lmax1 + 1), range(lmax2 + 1), range(lmax_out + 1)):
        at = tuple(slice(each**2, (each + 1) ** 2) for each in (l1, l2, l3))
        if abs(l1 - l2) <= l3 <= l1 + l2:
            invariant = e3nn_o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
        else:
            invariant = torch.zeros_like(gaunt[at])
        torch.testing.assert_close(
            gaunt[at], gaunt_gain(l1, l2, l3) * invariant, rtol=0, atol=1e-12
        )
        torch.testing.assert_close(
            bracket[at], bracket_gain(l1, l2, l3) * invariant, rtol=0, atol=1e-11
        )


@pytest.mark.parametrize(
    ("lmax", "even", "odd"), [(2, 83, 54), (3, 353, 258), (4, 1158, 894), (6, 6460, None)]
)
def test_number_of_non_zeros(lmax, even, odd):
    """What is forbidden, or zero by accident, is exactly zero; the counts are published."""
    assert int((gaunt_tensor(lmax, lmax, lmax) != 0).sum()) == even
    if odd is not None:
        assert int((bracket_tensor(lmax, lmax, lmax) != 0).sum()) == odd


@given(lmax1=st.integers(0, 4), lmax2=st.integers(0, 4), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_gaunt_multiplies_functions(lmax1, lmax2, seed):
    generator = torch.Generator().manual_seed(seed)
    x = random_coefficients(lmax=lmax1, generator=generator)
    y = random_coefficients(lmax=lmax2, generator=generator)
    z = torch.einsum("ijk,ic,jc->kc", gaunt_tensor(lmax1, lmax2, lmax1 + lmax2), x, y)
    points = torch.randn(10, 3, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(evaluate(z, points), evaluate(x, points) * evaluate(y, points))


@given(lmax1=st.integers(1, 4), lmax2=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_bracket_is_the_triple_product_of_gradients(lmax1, lmax2, seed):
    generator = torch.Generator().manual_seed(seed)
    x = random_coefficients(lmax=lmax1, generator=generator)
    y = random_coefficients(lmax=lmax2, generator=generator)
    z = torch.einsum("ijk,ic,jc->kc", bracket_tensor(lmax1, lmax2, lmax1 + lmax2), x, y)
    points = torch.randn(10, 3, dtype=torch.float64, generator=generator)
    points = (points / points.norm(dim=-1, keepdim=True)).requires_grad_()
    slopes = [torch.autograd.grad(evaluate(each, points).sum(), points)[0] for each in (x, y)]
    expected = (points * torch.linalg.cross(*slopes)).sum(-1, keepdim=True)
    torch.testing.assert_close(evaluate(z, points), expected, rtol=1e-10, atol=1e-11)


def test_bracket_of_vectors_is_the_cross_product():
    """Degree 1 in the order x, y, z: {a.n, b.n} = n.(a x b), in the right-handed sense."""
    norm = math.sqrt(3 / (4 * math.pi))
    block = bracket_tensor(1, 1, 1)[1:, 1:, 1:]
    epsilon = torch.linalg.cross(
        torch.eye(3)[:, None].expand(3, 3, 3), torch.eye(3)[None].expand(3, 3, 3)
    )
    torch.testing.assert_close(block, norm * epsilon.double())


@pytest.mark.parametrize("sizes", [(2, 3, 4), (3, 3, 2)])
def test_symmetries(sizes):
    l1, l2, l3 = sizes
    assert torch.allclose(gaunt_tensor(l1, l2, l3), gaunt_tensor(l3, l1, l2).permute(1, 2, 0))
    assert torch.allclose(gaunt_tensor(l1, l2, l3), gaunt_tensor(l2, l1, l3).transpose(0, 1))
    assert torch.allclose(bracket_tensor(l1, l2, l3), bracket_tensor(l3, l1, l2).permute(1, 2, 0))
    assert torch.allclose(bracket_tensor(l1, l2, l3), -bracket_tensor(l2, l1, l3).transpose(0, 1))


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize(("tensor", "parity"), [(gaunt_tensor, 1), (bracket_tensor, -1)])
def test_products_turn_with_their_operands(tensor, parity, improper):
    """Two true functions make a true function by Gaunt, a pseudo function by the bracket."""
    x, y = random_coefficients(lmax=3), random_coefficients(lmax=2)
    coupling = tensor(3, 2, 4)

    def multiply(x, y):
        return torch.einsum("ijk,ic,jc->kc", coupling, x, y)

    (rotation,) = random_rotations(1, improper=improper)
    torch.testing.assert_close(
        multiply(rotate(x, rotation, 1), rotate(y, rotation, 1)),
        rotate(multiply(x, y), rotation, parity),
    )


def test_unit_element():
    unit = math.sqrt(4 * math.pi) * gaunt_tensor(0, 4, 4)[0]
    torch.testing.assert_close(unit, torch.eye(25, dtype=torch.float64))


def test_result_is_the_callers_own():
    gaunt_tensor(1, 1, 1).zero_()
    bracket_tensor(1, 1, 1).zero_()
    assert gaunt_tensor(1, 1, 1).abs().max() > 0
    assert bracket_tensor(1, 1, 1).abs().max() > 0


def test_high_degree():
    harmonics = spherical_harmonics(16, torch.tensor([0.3, -0.5, 0.4], dtype=torch.float64))
    first = harmonics[:81]
    product = torch.einsum("ijk,i,j->k", gaunt_tensor(8, 8, 16), first, first)
    torch.testing.assert_close(product @ harmonics, (first @ first) ** 2)


@pytest.mark.parametrize("tensor", [gaunt_tensor, bracket_tensor])
def test_bad_degree_is_named(tensor):
    with pytest.raises(ValueError, match=r"at least 0, found \(1, -1, 2\)"):
        tensor(1, -1, 2)
