"""What holds in every group: axioms, exp and log, Haar measures, samples."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equinet.lie import CSO, GL, SE, SL, SO, Affine, Group, Projective, Scale, Sim, Window

GROUPS = [
    *(SO(2), SO(3), Scale(), Scale(3), CSO(2), CSO(3), SL(2), SL(3), GL(2), GL(3)),
    *(SE(2), SE(3), Sim(2), Sim(3), Affine(SL(2)), Affine(GL(2)), Affine(GL(3)), Projective()),
]
every_group = pytest.mark.parametrize("group", GROUPS, ids=str)


@every_group
def test_axioms(group: Group) -> None:
    g, h, k = group.sample_haar(60).reshape(3, 20, group.size, group.size)
    identity = torch.eye(group.size, dtype=torch.float64).expand_as(g)
    exactly = {"rtol": 0, "atol": 1e-12}
    product = group.compose(g, h)
    group.check(product)
    left, right = group.compose(product, k), group.compose(g, group.compose(h, k))
    torch.testing.assert_close(left, right, **exactly)
    torch.testing.assert_close(group.compose(g, group.inverse(g)), identity, **exactly)
    torch.testing.assert_close(group.compose(group.inverse(g), g), identity, **exactly)
    group.check(group.inverse(g))
    points = torch.randn(20, group.n, dtype=torch.float64)
    moved = group.act(g, group.act(h, points))
    torch.testing.assert_close(group.act(product, points), moved, **exactly)


@every_group
def test_dimension_and_basis(group: Group) -> None:
    gram = torch.einsum("iab,jab->ij", group.basis, group.basis)
    torch.testing.assert_close(gram, torch.eye(group.dim, dtype=torch.float64), rtol=0, atol=1e-15)


@every_group
def test_exponential_and_logarithm(group: Group) -> None:
    coordinates = 0.4 * torch.randn(50, group.dim, dtype=torch.float64)
    algebra = torch.einsum("...i,iab->...ab", coordinates, group.basis)
    g = group.exp(algebra)
    group.check(g)
    torch.testing.assert_close(g, torch.linalg.matrix_exp(algebra), rtol=0, atol=1e-12)
    torch.testing.assert_close(group.log(g), algebra, rtol=0, atol=1e-10)


@every_group
def test_derivatives_of_exp_and_log_at_the_identity(group: Group) -> None:
    zero = torch.zeros(group.dim, dtype=torch.float64, requires_grad=True)

    def exp(coordinates: torch.Tensor) -> torch.Tensor:
        return group.exp(torch.einsum("i,iab->ab", coordinates, group.basis))

    def density(coordinates: torch.Tensor) -> torch.Tensor:
        return group.haar_density(torch.einsum("i,iab->ab", coordinates, group.basis))

    for function in (exp, density, lambda coordinates: group.log(exp(coordinates))):
        assert gradcheck(function, zero)
        assert gradgradcheck(function, zero)


@every_group
def test_haar_density_in_exponential_coordinates(group: Group) -> None:
    for coordinates in 0.5 * torch.randn(5, group.dim, dtype=torch.float64):

        def exp(c: torch.Tensor) -> torch.Tensor:
            return group.exp(torch.einsum("i,iab->ab", c, group.basis))

        velocity = torch.func.jacfwd(exp)(coordinates).movedim(-1, 0)
        form = torch.linalg.solve(exp(coordinates), velocity)
        jacobian = torch.linalg.det(torch.einsum("iab,jab->ij", group.basis, form)).abs()
        algebra = torch.einsum("i,iab->ab", coordinates, group.basis)
        density = group.haar_density(algebra) * group.haar_unit
        torch.testing.assert_close(density, jacobian, rtol=1e-10, atol=0)


@every_group
def test_modular_function_is_that_of_the_adjoint(group: Group) -> None:
    g = group.sample_haar(10)
    moved = g.unsqueeze(1) @ group.basis @ g.inverse().unsqueeze(1)
    adjoint = torch.einsum("...iab,jab->...ij", moved, group.basis)
    expected = torch.linalg.det(adjoint).abs().reciprocal()
    torch.testing.assert_close(group.modular(g), expected, rtol=0, atol=1e-12)


@every_group
def test_samples_are_reproducible(group: Group) -> None:
    g = group.sample_haar(50, generator=torch.Generator().manual_seed(1))
    again = group.sample_haar(50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(g, again)
    group.check(g)
    assert group.sample_haar(0).shape == (0, group.size, group.size)
    assert group.sample_haar(2, dtype=torch.float32).dtype == torch.float32


@every_group
def test_no_weight_exceeds_its_bound(group: Group) -> None:
    """Otherwise rejection would cut the law of the samples off."""
    window = Window(stretch=1.5, scale=0.7)
    points = torch.rand(3000, group.cube_dim, dtype=torch.float64)
    # Corners of the cube: the largest stretches and the smallest scale.
    points[:1500] = points[:1500].round().clamp(max=1 - 1e-12)
    weights = group.from_cube(points, window)[1]
    assert (weights <= group.largest_weight(window) * (1 + 1e-12)).all()


@every_group
def test_weights_of_the_cube_are_the_haar_density_of_its_map(group: Group) -> None:
    # In space unit quaternions cover rotations twice, and frames a stretch by four of these.
    rotations, frames = (1, 1) if group.n < 3 else (2, 8)
    linear = getattr(group, "linear", group)
    sheets = rotations**linear.rotates * frames**linear.stretches
    window = Window(stretch=1.0)
    cartan = group.decompose("cartan")
    points = torch.rand(5, group.cube_dim, dtype=torch.float64) * 0.8 + 0.1

    def coordinates(point: torch.Tensor) -> torch.Tensor:
        return group.from_cube(point, window)[0]

    jacobian = torch.stack([torch.func.jacfwd(coordinates)(point) for point in points])
    volume = torch.linalg.det(jacobian).abs()
    found, weights = group.from_cube(points, window)
    expected = cartan.haar_density(found) * volume / sheets
    torch.testing.assert_close(weights, expected, rtol=1e-9, atol=0)
