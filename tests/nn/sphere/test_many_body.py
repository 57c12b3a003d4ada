import pytest
import torch

from equinet.nn import GauntManyBody


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
