import itertools
import math

import pytest
import torch

from equinet.lie.designs import radial_rule, rotation_subgroup, stretch_directions
from equinet.lie.stretches import traceless_basis
from equinet.testing import random_rotations

SUBGROUPS = [*((2, order) for order in (1, 2, 3, 4, 5, 6, 8, 9, 16)), (3, 12), (3, 24), (3, 60)]
every_subgroup = pytest.mark.parametrize(("n", "order"), SUBGROUPS)


def is_among(matrices: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Number of times that each matrix is met among the others."""
    distance = (matrices[:, None] - others[None]).abs().amax((-2, -1))
    return (distance < 1e-12).sum(1)


@every_subgroup
def test_rotations_are_a_group(n: int, order: int) -> None:
    rotations = rotation_subgroup(n, order)
    assert rotations.shape == (order, n, n)
    assert torch.equal(rotations[0], torch.eye(n, dtype=torch.float64))
    products = (rotations[:, None] @ rotations[None]).flatten(0, 1)
    assert (is_among(products, rotations) == 1).all()
    torch.testing.assert_close(
        torch.linalg.det(rotations), torch.ones(order, dtype=torch.float64), rtol=0, atol=1e-13
    )


@every_subgroup
def test_rotations_permute_stretches_with_their_weights(n: int, order: int) -> None:
    directions, weights = stretch_directions(n, order)
    for rotation in rotation_subgroup(n, order):
        turned = rotation @ directions @ rotation.T
        assert (is_among(turned, directions) == 1).all()
        target = (turned[:, None] - directions[None]).abs().amax((-2, -1)).argmin(1)
        assert torch.equal(weights[target], weights)


@every_subgroup
def test_stretches_average_polynomials_of_degree_three(n: int, order: int) -> None:
    directions, weights = stretch_directions(n, order)
    basis = traceless_basis(n)
    x = torch.einsum("sab,iab->si", directions, basis)
    torch.testing.assert_close(
        torch.einsum("s,si->i", weights, x), torch.zeros(len(basis)).double(), rtol=0, atol=1e-15
    )
    second = torch.einsum("s,si,sj->ij", weights, x, x)
    exact = torch.eye(len(basis), dtype=torch.float64) / len(basis)
    torch.testing.assert_close(second, exact, rtol=0, atol=1e-15)
    third = torch.einsum("s,si,sj,sk->ijk", weights, x, x, x)
    torch.testing.assert_close(third, torch.zeros_like(third), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("order", "degree"), [(12, 2), (24, 3), (60, 5)])
def test_rotations_of_space_average_polynomials(order: int, degree: int) -> None:
    """Exact to the degree of the group's designs, and to no higher one."""
    rotations = rotation_subgroup(3, order)
    turn = random_rotations(1)[0]
    angles = (((rotations @ turn).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1).acos()
    for l in range(1, degree + 2):  # noqa: E741
        character = (((2 * l + 1) * angles / 2).sin() / (angles / 2).sin()).mean()
        assert (character.abs() < 1e-12) == (l <= degree)


@pytest.mark.parametrize("shells", [0, 1, 2, 3])
def test_radial_rule_of_the_plane(shells: int) -> None:
    norms, weights = radial_rule(2, 1.3, shells)
    assert norms[0] == 0
    assert (weights > 0).all()
    assert ((norms[1:] > 0) & (norms[1:] < 1.3)).all()
    # With b = sqrt(2): the integral of 2 pi r^(2p+1) sinh(b r)/(b r), by its series.
    for power in range(2 * shells + 1):
        exact = sum(
            2
            * math.pi
            * 2**k
            / math.factorial(2 * k + 1)
            * 1.3 ** (2 * (k + power) + 2)
            / (2 * (k + power) + 2)
            for k in range(25)
        )
        assert float(weights @ norms ** (2 * power)) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("shells", [1, 2])
def test_radial_rule_of_space(shells: int) -> None:
    """Against the integral over eigenvalues, by another rule in other coordinates."""
    radius, steps = 0.9, 400
    norms, weights = radial_rule(3, radius, shells)
    r = (torch.arange(steps, dtype=torch.float64) + 0.5) * radius / steps
    a = (torch.arange(steps, dtype=torch.float64) + 0.5) * math.pi / 3 / steps
    r, a = torch.meshgrid(r, a, indexing="ij")
    values = [
        r * math.sqrt(2 / 3) * (a + shift).cos() for shift in (0, -2 * math.pi / 3, 2 * math.pi / 3)
    ]
    sines = [(x - y).abs().sinh() for x, y in itertools.combinations(values, 2)]
    # Frames of distinct eigenvalues: SO(3), of volume 8 pi² sqrt(8), over a group of four.
    frames = 8 * math.pi**2 * math.sqrt(8) / 4
    density = frames * sines[0] * sines[1] * sines[2] * r * radius / steps * math.pi / 3 / steps
    for power in range(2 * shells + 1):
        exact = float((density * r ** (2 * power)).sum())
        assert float(weights @ norms ** (2 * power)) == pytest.approx(exact, rel=1e-4)


def test_missing_groups_are_named() -> None:
    with pytest.raises(ValueError, match="rotations of space must be 12, 24 or 60, found 8"):
        rotation_subgroup(3, 8)
    with pytest.raises(ValueError, match="rotations must be at least 1, found 0"):
        rotation_subgroup(2, 0)
