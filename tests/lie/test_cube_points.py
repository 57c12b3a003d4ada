import pytest
import torch

from equinet.lie.cube_points import lattice_points, random_points, sobol_points

RULES = [lattice_points, sobol_points, random_points]
every_rule = pytest.mark.parametrize("rule", RULES)


@every_rule
@pytest.mark.parametrize(("count", "dim"), [(1, 1), (7, 3), (32, 8)])
def test_points_lie_in_the_cube_and_are_distinct(rule, count: int, dim: int) -> None:
    points = rule(count, dim, None)
    assert points.shape == (count, dim)
    assert points.dtype == torch.float64
    assert ((points >= 0) & (points < 1)).all()
    assert len(points.unique(dim=0)) == count


@every_rule
def test_the_same_points_unless_randomized(rule) -> None:
    assert torch.equal(rule(20, 3, None), rule(20, 3, None))
    seeded = [rule(20, 3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])


@every_rule
def test_randomized_sums_are_unbiased(rule) -> None:
    generator = torch.Generator().manual_seed(0)

    def function(x: torch.Tensor) -> torch.Tensor:
        return (x[:, 0] ** 2 * x[:, 1]).mean()

    sums = torch.stack([function(rule(8, 2, generator)) for _ in range(2000)])
    assert (sums.mean() - 1 / 6).abs() < 4 * sums.std() / 2000**0.5


@pytest.mark.parametrize("rule", [lattice_points, sobol_points])
def test_even_points_beat_random_ones(rule) -> None:
    generator = torch.Generator().manual_seed(0)

    def error(points: torch.Tensor) -> torch.Tensor:
        return ((1 + 0.5 * (2 * torch.pi * points).sin()).prod(-1).mean() - 1).abs()

    even = torch.stack([error(rule(64, 4, generator)) for _ in range(20)]).mean()
    random = torch.stack([error(random_points(64, 4, generator)) for _ in range(20)]).mean()
    assert 2 * even < random


def test_lattice_is_closed_under_addition() -> None:
    steps = (lattice_points(13, 3, None) - 0.5 / 13) * 13
    sums = (steps[:, None] + steps[None]).round().flatten(0, 1) % 13
    assert len(sums.unique(dim=0)) == 13
