import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equinet.lie.rotations import (
    random_rotations,
    rotation_density,
    rotation_exp,
    rotation_log,
    skew_matrix,
    skew_vector,
    uniform_rotation,
)

COMPONENTS = [1, 3]


def rotation_vectors(components: int, count: int = 200) -> torch.Tensor:
    return uniform_rotation(torch.rand(count, components, dtype=torch.float64))


@pytest.mark.parametrize("components", COMPONENTS)
def test_round_trips(components: int) -> None:
    vector = rotation_vectors(components)
    rotation = rotation_exp(vector)
    expected = torch.linalg.matrix_exp(skew_matrix(vector))
    torch.testing.assert_close(rotation, expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(rotation_log(rotation), vector, rtol=0, atol=1e-10)
    torch.testing.assert_close(skew_vector(skew_matrix(vector)), vector, rtol=0, atol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.3, 3.0, math.pi - 1e-7, math.pi])
def test_every_angle_about_every_axis(angle: float) -> None:
    axes = torch.cat([torch.eye(3), -torch.eye(3), torch.randn(20, 3)]).double()
    rotation = rotation_exp(angle * torch.nn.functional.normalize(axes, dim=-1))
    again = rotation_log(rotation)
    torch.testing.assert_close(rotation_exp(again), rotation, rtol=0, atol=1e-14)
    lengths = torch.full((26,), angle, dtype=torch.float64)
    torch.testing.assert_close(again.norm(dim=-1), lengths, rtol=0, atol=1e-14)


@pytest.mark.parametrize("components", COMPONENTS)
def test_derivatives_at_the_identity(components: int) -> None:
    vector = torch.zeros(components, dtype=torch.float64, requires_grad=True)
    n = 2 if components == 1 else 3
    rotation = torch.eye(n, dtype=torch.float64, requires_grad=True)
    for function, point in ((rotation_exp, vector), (rotation_log, rotation)):
        assert gradcheck(function, point)
        assert gradgradcheck(function, point)


@pytest.mark.parametrize("components", COMPONENTS)
def test_uniform_rotations_have_the_moments_of_haar(components: int) -> None:
    sides = torch.arange(24, dtype=torch.float64) / 24 + 1 / 48
    points = torch.cartesian_prod(*[sides] * components).reshape(-1, components)
    traces = rotation_exp(uniform_rotation(points)).diagonal(dim1=-2, dim2=-1).sum(-1)
    # Squared trace: one irreducible representation over the reals in space, two complex in a plane.
    expected = torch.tensor([0.0, 2.0 if components == 1 else 1.0], dtype=torch.float64)
    moments = torch.stack([traces.mean(), traces.square().mean()])
    torch.testing.assert_close(moments, expected, rtol=0, atol=1e-3)


def test_density_has_mass_one() -> None:
    angles = (torch.arange(2000, dtype=torch.float64) + 0.5) * math.pi / 2000
    vectors = torch.stack([angles, 0 * angles, 0 * angles], dim=-1)
    shells = 4 * math.pi * angles.square() * rotation_density(vectors)
    torch.testing.assert_close(float(shells.mean()) * math.pi, 1.0, rtol=0, atol=1e-6)
    assert float(rotation_density(torch.zeros(1))) == pytest.approx(1 / (2 * math.pi))


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_random_rotations_are_proper(dimension):
    rotations = random_rotations(200, dimension)
    identity = torch.eye(dimension, dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity, atol=1e-13, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(200).double())


@pytest.mark.parametrize("dimension", [2, 3])
def test_random_rotations_have_the_moments_of_the_haar_measure(dimension):
    count = 20_000
    rotations = random_rotations(count, dimension)
    # Entries have mean 0, variance 1/n; five standard errors of the means.
    error = 5 / count**0.5
    assert rotations.mean(0).abs().max() < error
    assert (rotations.square().mean(0) - 1 / dimension).abs().max() < error
    traces = rotations.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert traces.square().mean() == pytest.approx(2.0 if dimension == 2 else 1.0, abs=2 * error)


def test_random_rotations_are_repeatable():
    draws = [random_rotations(3, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*draws)
    assert random_rotations(0).shape == (0, 3, 3)
