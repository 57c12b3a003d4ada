import pytest
import torch

from equinet.nn import SeparableNorm


def test_degree_zero_is_an_ordinary_layer_norm() -> None:
    norm, x = SeparableNorm(2, 8), torch.randn(5, 9, 8)
    torch.testing.assert_close(norm(x)[:, 0], torch.nn.functional.layer_norm(x[:, 0], (8,)))


def test_higher_degrees_share_one_size_to_which_they_contribute_equally() -> None:
    norm, x = SeparableNorm(3, 8).double(), torch.randn(5, 16, 8, dtype=torch.float64)
    y = norm(x)[:, 1:]
    means = [
        y[:, degree**2 - 1 : (degree + 1) ** 2 - 1].square().mean((1, 2)) for degree in (1, 2, 3)
    ]
    torch.testing.assert_close(
        sum(means) / 3, torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-4
    )
    ratio = y / x[:, 1:]
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio))


def test_degree_zero_does_not_touch_the_others() -> None:
    norm, x = SeparableNorm(2, 8), torch.randn(5, 9, 8)
    larger = torch.cat([100 * x[:, :1], x[:, 1:]], dim=1)
    assert torch.equal(norm(larger)[:, 1:], norm(x)[:, 1:])


def test_zero_stays_zero() -> None:
    x = torch.zeros(2, 9, 4, requires_grad=True)
    y = SeparableNorm(2, 4)(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(2, 9, 4))
    assert torch.isfinite(x.grad).all()


def test_without_higher_degrees_there_is_nothing_to_separate() -> None:
    with pytest.raises(ValueError, match="lmax must be at least 1, found 0"):
        SeparableNorm(0, 4)
