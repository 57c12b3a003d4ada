import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equinet.lie.analytic import artanh_sqrt, cosh_sqrt, sinhc_sqrt
from equinet.lie.matrices import (
    exp_slope,
    matrix_exp,
    matrix_log,
    matrix_sinhc_sqrt,
    matrix_sqrt,
    orthogonal_factor,
)


def positive_matrices(n: int, count: int = 50, condition: float = 1e4) -> torch.Tensor:
    """Symmetric positive matrices whose eigenvalues spread over the condition number."""
    q, _ = torch.linalg.qr(torch.randn(count, n, n, dtype=torch.float64))
    exponents = torch.rand(count, 1, n, dtype=torch.float64) - 0.5
    return q * condition**exponents @ q.mT


# Repeated eigenvalues, two of them or all.
DEGENERATE = [
    torch.eye(2, dtype=torch.float64),
    torch.eye(3, dtype=torch.float64),
    torch.diag(torch.tensor([2.0, 2.0, 0.5], dtype=torch.float64)),
    torch.diag(torch.tensor([2.0, 0.5], dtype=torch.float64)),
]


@pytest.mark.parametrize("q", [-9.0, -0.06, -0.04, -1e-9, 0.0, 1e-9, 0.04, 0.06, 9.0])
def test_analytic_functions_through_zero(q: float) -> None:
    root = complex(q) ** 0.5 or 1e-8
    x = torch.tensor(q, dtype=torch.float64, requires_grad=True)
    exact = (torch.tensor(root, dtype=torch.complex128).sinh() / root).real
    torch.testing.assert_close(sinhc_sqrt(x), exact, rtol=1e-14, atol=0)
    exact = torch.tensor(root, dtype=torch.complex128).cosh().real
    torch.testing.assert_close(cosh_sqrt(x), exact, rtol=1e-14, atol=0)
    mean = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    exact = (torch.tensor(root / 4, dtype=torch.complex128).atanh() / root).real
    torch.testing.assert_close(artanh_sqrt(mean, x), exact, rtol=1e-14, atol=0)
    for function, inputs in ((sinhc_sqrt, (x,)), (cosh_sqrt, (x,)), (artanh_sqrt, (mean, x))):
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)


def test_large_arguments_have_finite_gradients() -> None:
    q = torch.tensor([-1e6, 1e4], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad((sinhc_sqrt(q) + cosh_sqrt(q)).sum(), q)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("n", [2, 3, 4])
def test_exponential_and_logarithm_are_inverse(n: int) -> None:
    x = 0.6 * torch.randn(100, n, n, dtype=torch.float64)
    g = matrix_exp(x)
    torch.testing.assert_close(g, torch.linalg.matrix_exp(x), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(matrix_exp(matrix_log(g)), g, rtol=1e-10, atol=1e-10)
    principal = x[torch.linalg.eigvals(x).imag.abs().amax(-1) < 3]
    assert len(principal) > 50
    torch.testing.assert_close(matrix_log(matrix_exp(principal)), principal, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [2, 3])
def test_positive_matrices_agree_with_their_eigenvalues(n: int) -> None:
    g = positive_matrices(n)
    values, vectors = torch.linalg.eigh(g)
    log = vectors * values.log().unsqueeze(-2) @ vectors.mT
    root = vectors * values.sqrt().unsqueeze(-2) @ vectors.mT
    torch.testing.assert_close(matrix_log(g), log, rtol=0, atol=1e-10)
    torch.testing.assert_close(matrix_sqrt(g), root, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("n", [2, 3])
def test_orthogonal_factor_is_that_of_the_singular_values(n: int) -> None:
    rotation, _ = torch.linalg.qr(torch.randn(50, n, n, dtype=torch.float64))
    rotation[:, 0] *= torch.linalg.det(rotation).unsqueeze(-1)
    g = positive_matrices(n) @ rotation
    torch.testing.assert_close(orthogonal_factor(g), rotation, rtol=0, atol=1e-11)


@pytest.mark.parametrize("point", DEGENERATE, ids=["1", "1", "two of three", "distinct"])
@pytest.mark.parametrize("function", [matrix_exp, matrix_log, matrix_sqrt, orthogonal_factor])
def test_derivatives_where_eigenvalues_meet(function, point: torch.Tensor) -> None:
    x = point.clone().requires_grad_()
    assert gradcheck(function, x)
    assert gradgradcheck(function, x)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_slopes_are_those_of_eigenvalues(n: int) -> None:
    x = torch.randn(20, n, n, dtype=torch.float64)
    x = x + x.mT
    values, vectors = torch.linalg.eigh(x)
    exact = vectors * (torch.expm1(values) / values).unsqueeze(-2) @ vectors.mT
    torch.testing.assert_close(exp_slope(x), exact, rtol=1e-11, atol=1e-11)
    exact = vectors * sinhc_sqrt(values).unsqueeze(-2) @ vectors.mT
    torch.testing.assert_close(matrix_sinhc_sqrt(x), exact, rtol=1e-11, atol=1e-11)


def test_a_rotation_near_a_half_turn_has_a_logarithm() -> None:
    angle = math.pi - 1e-2
    skew = torch.zeros(3, 3, dtype=torch.float64)
    skew[1, 0], skew[0, 1] = angle, -angle
    torch.testing.assert_close(matrix_log(skew.matrix_exp()), skew, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [2, 3])
def test_logarithm_refuses_the_negative_axis(n: int) -> None:
    g = torch.eye(n, dtype=torch.float64).repeat(4, 1, 1)
    g[2, 0, 0], g[2, 1, 1] = -2.0, -3.0
    with pytest.raises(ValueError, match=r"g\[2\] has no principal logarithm: its eigenvalue -"):
        matrix_log(g)
