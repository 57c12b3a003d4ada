import torch

from equinet.nn import Gate


def test_without_higher_degrees_it_is_the_activation() -> None:
    x = torch.randn(5, 1, 4)
    torch.testing.assert_close(Gate(0, 4)(x), torch.nn.functional.silu(x))


def test_every_degree_has_a_gate_per_channel() -> None:
    gate, x = Gate(2, 3), torch.randn(5, 9, 3)
    z = gate(x)
    ratio = z[:, 1:] / x[:, 1:]
    expected = torch.sigmoid(gate.gates(x[:, 0])).unflatten(-1, (2, 3))
    torch.testing.assert_close(ratio, expected.repeat_interleave(torch.tensor([3, 5]), dim=1))
