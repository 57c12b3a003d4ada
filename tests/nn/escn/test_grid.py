import math

import pytest
import torch
from torch import Tensor

from equinet.nn import EdgeGrid, SphereActivation, SphereFeedForward, SphereGrid
from equinet.nn.escn.frames import frame_components
from equinet.o3 import rotate, wigner_d
from equinet.testing import random_rotations


def silu(grid: SphereGrid, x: Tensor) -> Tensor:
    return grid.back(torch.nn.functional.silu(grid.sample(x)))


def square(grid: SphereGrid, x: Tensor) -> Tensor:
    return grid.back(grid.sample(x).square())


def relative_error(grid: SphereGrid, function, lmax: int) -> float:
    """How far turning before and after differ, for features of unit variance."""
    x = torch.randn(20, (lmax + 1) ** 2, 4, dtype=torch.float64)
    rotation = random_rotations(1, generator=torch.Generator().manual_seed(0))[0]
    before, after = function(grid, rotate(x, rotation)), rotate(function(grid, x), rotation)
    return float((before - after).abs().max() / after.square().mean().sqrt())


@pytest.mark.parametrize("lmax", [1, 3, 6])
@pytest.mark.parametrize("extra", [0, 3])
def test_there_and_back_is_the_identity(lmax: int, extra: int) -> None:
    grid = SphereGrid(lmax, 2 * lmax + extra)
    x = torch.randn(3, (lmax + 1) ** 2, 4, dtype=torch.float64)
    torch.testing.assert_close(grid.back(grid.sample(x)), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("lmax", "mmax"), [(1, 0), (3, 1), (4, 4), (6, 2)])
def test_there_and_back_is_the_identity_in_the_frame_of_an_edge(lmax: int, mmax: int) -> None:
    grid = EdgeGrid(lmax, mmax)
    x = torch.randn(3, len(frame_components(lmax, mmax)), 4, dtype=torch.float64)
    torch.testing.assert_close(grid.back(grid.sample(x)), x, rtol=0, atol=1e-12)


def test_unit_variance_is_kept_and_degrees_contribute_equally() -> None:
    grid = SphereGrid(4)
    x = torch.randn(3000, 25, 1, dtype=torch.float64)
    total = grid.sample(x).square().mean()
    alone = grid.sample(torch.cat([torch.zeros_like(x[:, :16]), x[:, 16:]], 1)).square().mean()
    assert float(total) == pytest.approx(1, abs=0.05)
    assert float(alone) == pytest.approx(1 / 5, abs=0.05)


def test_squares_are_exact_at_three_times_the_degree_and_not_below() -> None:
    assert relative_error(SphereGrid(3, 9), square, 3) < 1e-12
    assert relative_error(SphereGrid(3, 7), square, 3) > 1e-3


def test_silu_is_equivariant_up_to_the_quadrature() -> None:
    errors = [relative_error(SphereGrid(3, degree), silu, 3) for degree in (9, 15, 23, 35)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-3
    assert errors[2] < 1e-3
    assert errors[3] < 2e-5


@pytest.mark.parametrize(("lmax", "mmax"), [(3, 1), (6, 2), (6, 3)])
def test_turns_about_the_edge_do_not_matter(lmax: int, mmax: int) -> None:
    grid = EdgeGrid(lmax, mmax)
    c, s = math.cos(0.3), math.sin(0.3)
    turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    kept = [degree * (degree + 1) + order for degree, order in frame_components(lmax, mmax)]
    matrix = wigner_d(lmax, turn)[kept][:, kept]
    x = torch.randn(20, len(kept), 4, dtype=torch.float64)
    before, after = silu(grid, matrix @ x), matrix @ silu(grid, x)
    assert (before - after).abs().max() < 2e-4 * after.square().mean().sqrt()


def test_invariants_have_their_own_activation() -> None:
    activation = SphereActivation(SphereGrid(2))
    x, scalars = torch.randn(5, 9, 3), torch.randn(5, 3)
    y = activation(x, scalars)
    assert torch.equal(y[:, 0], torch.nn.functional.silu(scalars))
    torch.testing.assert_close(y[:, 1:], silu(activation.grid, x)[:, 1:])


def test_feed_forward_network_is_equivariant_and_keeps_invariants_apart() -> None:
    network = SphereFeedForward(2, 4, 8, SphereGrid(2, 40)).double()
    x = torch.randn(6, 9, 4, dtype=torch.float64)
    rotation = random_rotations(1, generator=torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(
        network(rotate(x, rotation)), rotate(network(x), rotation), rtol=0, atol=1e-9
    )
    changed = torch.cat([x[:, :1], torch.randn_like(x[:, 1:])], dim=1)
    torch.testing.assert_close(network(changed)[:, 0], network(x)[:, 0])


def test_samples_keep_their_precision_under_autocast() -> None:
    grid, x = SphereGrid(3), torch.randn(5, 16, 4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = silu(grid, x)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, silu(grid, x))


def test_too_coarse_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="degree must be at least 2 lmax = 8, found 7"):
        SphereGrid(4, 7)
