import pytest
import torch

from equinet.nn import DropPath

BATCH = torch.arange(400).repeat_interleave(3)


def test_atoms_of_a_graph_go_together_and_the_mean_is_kept() -> None:
    dropped = DropPath(0.25)(torch.ones(1200, 2, 5), BATCH, 400)
    by_graph = dropped.reshape(400, -1)
    assert torch.equal(by_graph, by_graph[:, :1].expand_as(by_graph))
    kept = by_graph[by_graph[:, 0] > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / 0.75))
    assert float(dropped.mean()) == pytest.approx(1, abs=0.1)


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero() -> None:
    x = torch.randn(1200, 2)
    assert torch.equal(DropPath(0.5).eval()(x, BATCH, 400), x)
    assert torch.equal(DropPath(0.0)(x, BATCH, 400), x)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_rates_out_of_range_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be at least 0 and below 1"):
        DropPath(rate)
