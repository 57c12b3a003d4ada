import itertools

import pytest
import torch

from equinet.nn import GauntManyBody
from equinet.nn.many_body import power_variance
from equinet.o3 import gaunt_tensor


def test_power_variance_is_wicks_theorem() -> None:
    lmax, lmax_out = 2, 3
    second = gaunt_tensor(lmax, lmax, 2 * lmax)
    third = torch.einsum("abe,eck->abck", second, gaunt_tensor(2 * lmax, lmax, lmax_out))
    third = sum(third.permute(*order, 3) for order in itertools.permutations(range(3))) / 6
    pairs = torch.einsum("aabk,bcck->k", third, third)
    expected = 9 * pairs + 6 * torch.einsum("abck,abck->k", third, third)
    degree = torch.arange(lmax_out + 1).repeat_interleave(2 * torch.arange(lmax_out + 1) + 1)
    torch.testing.assert_close(power_variance(lmax, lmax_out, 3)[degree], expected)
    square = gaunt_tensor(lmax, lmax, lmax_out)
    expected = torch.einsum("aak->k", square) ** 2 + 2 * square.square().sum((0, 1))
    torch.testing.assert_close(power_variance(lmax, lmax_out, 2)[degree], expected)


def test_degrees_out_of_reach_stay_zero() -> None:
    layer = GauntManyBody(1, 3, 4, correlation=2)
    z = layer(torch.randn(5, 4, 4))
    assert torch.equal(z[:, 9:], torch.zeros(5, 7, 4))
    assert torch.isfinite(z).all()


def test_one_node_and_scalar_output_keep_their_axes() -> None:
    assert GauntManyBody(2, 0, 4, correlation=3)(torch.randn(1, 9, 4)).shape == (1, 1, 4)


@pytest.mark.parametrize("correlation", [1, 2, 3, 4])
def test_output_has_about_unit_variance(correlation: int) -> None:
    torch.manual_seed(0)
    layer = GauntManyBody(2, 2, 400, correlation)
    z = layer(torch.randn(400, 9, 400))
    for degree in range(3):
        variance = z[:, degree**2 : (degree + 1) ** 2].square().mean().item()
        assert 0.5 < variance < 2.0


def test_kinds_have_weights_of_their_own() -> None:
    layer = GauntManyBody(1, 1, 4, correlation=2, kinds=2)
    x = torch.randn(1, 4, 4).expand(2, 4, 4)
    z = layer(x, torch.tensor([0, 1]))
    assert not torch.allclose(z[0], z[1])
