import pytest
import torch

from equinet.nn import DegreeLinear


def test_each_kind_has_its_own_matrices() -> None:
    layer = DegreeLinear(1, 3, 2, kinds=2)
    x = torch.randn(1, 4, 3).expand(3, 4, 3)
    z = layer(x, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(z[0], z[2])
    assert not torch.allclose(z[0], z[1])


def test_kind_is_required_where_there_are_kinds() -> None:
    with pytest.raises(ValueError, match="kind is missing"):
        DegreeLinear(1, 3, 2, kinds=2)(torch.randn(3, 4, 3))


def test_variance_is_kept() -> None:
    torch.manual_seed(0)
    z = DegreeLinear(2, 64, 64)(torch.randn(500, 9, 64))
    assert 0.8 < z.square().mean() < 1.25


def test_weights_of_either_size_start_alike() -> None:
    torch.manual_seed(0)
    scaled = DegreeLinear(2, 64, 3)
    torch.manual_seed(0)
    plain = DegreeLinear(2, 64, 3, unit_weights=False)
    torch.testing.assert_close(plain.weight, scaled.weight / 8)
    x = torch.randn(5, 9, 64)
    torch.testing.assert_close(plain(x), scaled(x))


def test_the_bias_is_added_to_degree_zero_alone() -> None:
    layer = DegreeLinear(2, 4, 3, bias=True).double()
    x = torch.randn(5, 9, 4, dtype=torch.float64)
    before = layer(x)
    with torch.no_grad():
        layer.bias.copy_(torch.arange(1.0, 4.0))
    change = layer(x) - before
    torch.testing.assert_close(change[:, 0], layer.bias.detach().expand(5, 3))
    assert change[:, 1:].abs().max() == 0
