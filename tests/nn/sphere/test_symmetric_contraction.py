"""The symmetric contraction spans all equivariant polynomials, and nothing else."""

import numpy as np
import pytest
import torch

from equinet.nn import GauntManyBody, SymmetricContraction
from equinet.nn.sphere.couplings import path_coupling
from equinet.nn.sphere.symmetric_basis import symmetric_basis
from equinet.o3 import rotate


def values_of(lmax: int, degree: int, order: int, x: np.ndarray) -> np.ndarray:
    """Values [point, path, 2 L + 1] of a basis at points [point, (lmax+1)²]."""
    basis = symmetric_basis(lmax, degree, order)
    monomials = np.array([x[:, list(monomial)].prod(1) for monomial in basis.monomials])
    return np.einsum("kma,ap->pkm", basis.polynomials, monomials)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_the_basis_has_as_many_paths_as_there_are_couplings(degree: int, order: int) -> None:
    """Invariants under rotations and reflections are counted by averages over characters."""
    lmax = 2
    angles = 2 * np.pi * (np.arange(400) + 0.5) / 400
    weights = (1 - np.cos(angles)) / len(angles)  # the Haar measure of rotation angles

    def character(turns: int, parity: int) -> np.ndarray:
        """Character of x at the power of a rotation, or of a rotation and inversion."""
        return sum(
            parity ** (degree * turns) * np.cos(m * turns * angles)
            for degree in range(lmax + 1)
            for m in range(-degree, degree + 1)
        )

    count = 0.0
    for parity in (1, -1):
        one, two, three = (character(turns, parity) for turns in (1, 2, 3))
        symmetric = {
            1: one,
            2: (one**2 + two) / 2,
            3: (one**3 + 3 * one * two + 2 * three) / 6,
        }[order]
        out = sum(np.cos(m * angles) for m in range(-degree, degree + 1)) * parity**degree
        count += (weights * symmetric * out).sum() / 2
    assert symmetric_basis(lmax, degree, order).paths == pytest.approx(count)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_basis_polynomials_are_independent_and_of_about_unit_variance(order: int) -> None:
    x = np.random.default_rng(0).normal(size=(4000, 9))
    for degree in range(3):
        values = values_of(2, degree, order, x)
        gram = np.einsum("pkm,plm->kl", values, values) / len(x) / (2 * degree + 1)
        assert np.linalg.matrix_rank(gram) == len(gram)
        assert 0.5 < gram.diagonal().min() <= gram.diagonal().max() < 20


def test_products_of_two_are_clebsch_gordan_products() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4))
    expected = np.einsum("pi,pj,ij->p", x[:, 1:], x[:, 1:], path_coupling(1, 1, 0)[:, :, 0])
    found = values_of(1, 0, 2, x)
    ratio = found[:, 1, 0] / expected
    assert np.allclose(ratio, ratio[0])


@pytest.mark.parametrize("improper", [False, True])
def test_the_layer_is_equivariant(improper: bool, random_rotation: torch.Tensor) -> None:
    torch.manual_seed(0)
    layer = SymmetricContraction(3, 2, 4, correlation=3, kinds=2).double()
    x = torch.randn(5, 16, 4, dtype=torch.float64)
    kind = torch.tensor([0, 1, 1, 0, 1])
    rotation = -random_rotation if improper else random_rotation
    parity = 1 if improper else None
    before = rotate(layer(x, kind), rotation, parity)
    after = layer(rotate(x, rotation, parity), kind)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-10)


def test_powers_of_functions_are_among_the_polynomials() -> None:
    """Gaunt products are special weights of the contraction, found by least squares."""
    torch.manual_seed(0)
    x = torch.randn(200, 9, 1, dtype=torch.float64)
    target = GauntManyBody(2, 0, 1, correlation=3).double()(x)[:, 0, 0].detach()
    design = np.concatenate(
        [values_of(2, 0, order, x[..., 0].numpy())[:, :, 0] for order in (1, 2, 3)], axis=1
    )
    _, residual, *_ = np.linalg.lstsq(design, target.numpy(), rcond=None)
    assert residual.max() < 1e-20 * float(target.square().sum())


def test_kinds_have_weights_of_their_own() -> None:
    layer = SymmetricContraction(1, 1, 4, correlation=2, kinds=2)
    z = layer(torch.randn(1, 4, 4).expand(2, 4, 4), torch.tensor([0, 1]))
    assert not torch.allclose(z[0], z[1])


def test_degrees_out_of_reach_stay_zero_and_sizes_are_checked() -> None:
    z = SymmetricContraction(1, 2, 4, correlation=1)(torch.randn(5, 4, 4))
    assert torch.equal(z[:, 4:], torch.zeros(5, 5, 4))
    assert SymmetricContraction(1, 1, 4, correlation=3)(torch.randn(0, 4, 4)).shape == (0, 4, 4)
    with pytest.raises(ValueError, match="correlation must be from 1 to 3, found 4"):
        SymmetricContraction(1, 1, 4, correlation=4)


def test_third_derivatives_are_right() -> None:
    torch.manual_seed(0)
    layer = SymmetricContraction(1, 1, 2, correlation=3).double()
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)

    def slope(y: torch.Tensor) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(layer(y).sum(), y, create_graph=True)
        return gradient

    assert torch.autograd.gradgradcheck(slope, x)
