"""Potentials under torch.compile, in a process of their own: the compiler cannot see through the
tests' shape checks.
"""

import subprocess
import sys

import pytest
import torch

from equinet.errors import DataError
from equinet.models import MACEGaunt


def make_model():
    return MACEGaunt(
        elements=(1, 8),
        cutoff=4.0,
        reference_energies=(-13.6, -2040.0),
        average_neighbors=3.0,
        channels=3,
        lmax_filter=2,
        lmax_hidden=1,
        correlation=2,
        radial_hidden=(5,),
    ).double()


class Batch:
    """Random structures with all atoms of each bound to one another, as a model takes them."""

    def __init__(self, atoms, graphs):
        self.batch = torch.arange(graphs).repeat_interleave(atoms)
        self.atomic_numbers = torch.tensor([1, 8])[torch.randint(2, (atoms * graphs,))]
        self.pos = 1.5 * torch.randn(atoms * graphs, 3).double()
        self.cell = 5.0 * torch.eye(3).double().repeat(graphs, 1, 1)
        same = self.batch[:, None] == self.batch
        self.edge_index = (same & ~torch.eye(len(same), dtype=bool)).nonzero().T.flip(0)
        self.edge_shift = torch.zeros(self.edge_index.shape[1], 3).double()


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def evaluate():
    """One compiled function for all sizes; checks stay outside, copies are not compiled."""
    torch._dynamo.config.error_on_recompile = True
    model, eager = make_model().eval(), make_model().eval()
    eager.load_state_dict(model.state_dict())
    model.compile(backend="aot_eager")
    for batch in (Batch(5, 4), Batch(3, 6)):
        assert_same(model(batch, stress=True), eager(batch, stress=True))
    batch.atomic_numbers[0] = 79
    with pytest.raises(DataError, match="not trained for Au"):
        model(batch)


def train():
    """A loss on energies, forces and stress has the same gradient by every parameter."""

    def gradients(model, batch):
        found = model(batch, stress=True)
        loss = sum(value.square().sum() for value in found.values())
        return torch.autograd.grad(loss, list(model.parameters()))

    torch._dynamo.config.error_on_recompile = True
    model, eager = make_model(), make_model()
    eager.load_state_dict(model.state_dict())
    model.compile(backend="aot_eager")
    for batch in (Batch(5, 4), Batch(3, 6)):
        torch.testing.assert_close(gradients(model, batch), gradients(eager, batch))


@pytest.mark.parametrize("function", [evaluate, train])
def test_compiles_whole(function):
    command = [sys.executable, __file__, function.__name__]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    globals()[sys.argv[1]]()
