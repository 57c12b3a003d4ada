"""Coordinates of every factorization of every group."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equinet.lie import (
    CSO,
    GL,
    SE,
    SL,
    SO,
    Affine,
    Decomposition,
    Group,
    Projective,
    Scale,
    Sim,
    Window,
)
from equinet.lie.stretches import diagonal_basis, stretch_density

WIDE = Window(stretch=1.5, scale=1.0)
GROUPS = [
    *(SO(2), SO(3), Scale(), Scale(3), CSO(2), CSO(3), SL(2), SL(3), GL(2), GL(3)),
    *(SE(2), SE(3), Sim(2), Sim(3), Affine(SL(2)), Affine(GL(2)), Affine(GL(3)), Projective()),
]
FACTORIZATIONS = [(group, name) for group in GROUPS for name in group.decompositions()]
every_factorization = pytest.mark.parametrize(("group", "name"), FACTORIZATIONS, ids=str)


def left_jacobian(decomposition: Decomposition, coordinates: torch.Tensor) -> torch.Tensor:
    """Left Haar measure per volume of coordinates, from the map alone: det of g^-1 dg."""
    group = decomposition.group

    def tangent(c: torch.Tensor) -> torch.Tensor:
        g = decomposition.compose(c)
        velocity = torch.func.jacfwd(decomposition.compose)(c)
        form = torch.linalg.solve(g, velocity.movedim(-1, 0))
        return torch.einsum("iab,jab->ij", group.basis, form)

    matrices = torch.stack([tangent(each) for each in coordinates])
    return torch.linalg.det(matrices).abs() / group.haar_unit


@every_factorization
def test_round_trips(group: Group, name: str) -> None:
    decomposition = group.decompose(name)
    g = group.sample_haar(100, window=WIDE)
    coordinates = decomposition.coordinates(g)
    assert coordinates.shape == (100, group.dim) == (100, decomposition.dim)
    again = decomposition.compose(coordinates)
    torch.testing.assert_close(again, g, rtol=0, atol=1e-12)
    torch.testing.assert_close(decomposition.coordinates(again), coordinates, rtol=0, atol=1e-10)


@every_factorization
def test_haar_density_is_that_of_the_map(group: Group, name: str) -> None:
    decomposition = group.decompose(name)
    coordinates = decomposition.coordinates(group.sample_haar(10, window=WIDE))
    density = decomposition.haar_density(coordinates)
    torch.testing.assert_close(
        left_jacobian(decomposition, coordinates), density, rtol=1e-10, atol=0
    )


@every_factorization
def test_shapes_and_types(group: Group, name: str) -> None:
    decomposition = group.decompose(name)
    for shape in ((), (0,), (2, 3)):
        g = group.sample_haar(6).float()[: torch.Size(shape).numel()]
        g = g.reshape(*shape, group.size, group.size)
        coordinates = decomposition.coordinates(g)
        assert coordinates.shape == (*shape, group.dim)
        assert decomposition.haar_density(coordinates).shape == shape
        torch.testing.assert_close(decomposition.compose(coordinates), g, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["cartan", "iwasawa", "ldl", "scale"])
@pytest.mark.parametrize("n", [2, 3])
def test_derivatives_at_the_identity(n: int, name: str) -> None:
    decomposition = GL(n).decompose(name)
    identity = torch.eye(n, dtype=torch.float64, requires_grad=True)
    origin = torch.zeros(n * n, dtype=torch.float64, requires_grad=True)
    for function, point in (
        (decomposition.coordinates, identity),
        (decomposition.compose, origin),
        (decomposition.haar_density, origin),
    ):
        assert gradcheck(function, point)
        assert gradgradcheck(function, point)


@pytest.mark.parametrize("n", [2, 3])
def test_cartan_factors_are_symmetric_and_orthogonal(n: int) -> None:
    group = GL(n)
    cartan = group.decompose("cartan")
    g = group.sample_haar(50, window=WIDE)
    coordinates = cartan.coordinates(g)
    stretch, rotation = coordinates.clone(), coordinates.clone()
    stretch[:, len(group.symmetric_basis) :] = 0
    rotation[:, : len(group.symmetric_basis)] = 0
    positive, k = cartan.compose(stretch), cartan.compose(rotation)
    torch.testing.assert_close(positive, positive.mT, rtol=0, atol=1e-13)
    assert (torch.linalg.eigvalsh(positive) > 0).all()
    torch.testing.assert_close(k.mT, k.inverse(), rtol=0, atol=1e-13)
    # The inverse of P k is kᵀ P^-1: no matrix needs inverting.
    torch.testing.assert_close(k.mT @ cartan.compose(-stretch), g.inverse(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_kak_stretches_fall(n: int) -> None:
    group = GL(n)
    kak = group.decompose("kak")
    g = group.sample_haar(50, window=WIDE)
    pairs = n * (n - 1) // 2
    t = kak.coordinates(g)[:, pairs : pairs + n] @ diagonal_basis(n)
    torch.testing.assert_close(t, torch.linalg.svdvals(g).log(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_stretch_density_is_the_product_over_eigenvalues(n: int) -> None:
    x = torch.randn(20, n, n, dtype=torch.float64)
    x = x + x.mT
    values = torch.linalg.eigvalsh(x)
    rows, columns = torch.triu_indices(n, n, offset=1)
    gaps = values[:, rows] - values[:, columns]
    exact = (gaps.sinh() / gaps).prod(-1)
    torch.testing.assert_close(stretch_density(x), exact, rtol=1e-11, atol=0)


def test_unknown_decompositions_name_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"decomposition of SL\(2\) 'cartann' is unknown: did you"):
        SL(2).decompose("cartann")
    with pytest.raises(ValueError, match=r"of SO\(2\) 'kak' is unknown: choose from cartan$"):
        SO(2).decompose("kak")
