import torch

from equinet.nn import DegreeNorm
from equinet.o3 import degree_index


def test_degrees_have_mean_square_one_on_average() -> None:
    """At the start: each degree counts alike, whatever the number of its components."""
    x = 3 * torch.randn(5, 16, 8, dtype=torch.float64)
    x[:, 9:] *= 10
    y = DegreeNorm(3, 8).double()(x)
    sizes = torch.stack(
        [y[:, degree_index(3) == degree].square().mean((1, 2)) for degree in range(4)]
    )
    torch.testing.assert_close(sizes.mean(0), torch.ones(5, dtype=torch.float64), rtol=1e-4, atol=0)
    assert sizes[3].min() > 2
    torch.testing.assert_close(y[:, 0].mean(-1), torch.zeros(5, dtype=torch.float64))


def test_the_bias_is_added_to_degree_zero_alone() -> None:
    layer = DegreeNorm(2, 4).double()
    x = torch.randn(5, 9, 4, dtype=torch.float64)
    before = layer(x)
    with torch.no_grad():
        layer.bias.copy_(torch.arange(1.0, 5.0))
    change = layer(x) - before
    torch.testing.assert_close(change[:, 0], layer.bias.detach().expand(5, 4))
    assert change[:, 1:].abs().max() == 0
