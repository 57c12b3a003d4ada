"""Potentials under torch.compile, in a process of their own: the compiler cannot see through the
tests' shape checks.
"""

import copy
import subprocess
import sys

import pytest
import torch

from equinet.errors import DataError
from equinet.models import MACE, Committee, EquiformerV2, Fallback, MACEGaunt
from equinet.zoo.exporting import trace


def make_model(**changes):
    options = {
        "channels": 3,
        "lmax_filter": 2,
        "lmax_hidden": 1,
        "correlation": 2,
        "radial_hidden": (5,),
        "pair_radial": True,
    }
    return MACEGaunt(
        elements=(1, 8),
        cutoff=4.0,
        reference_energies=(-13.6, -2040.0),
        average_neighbors=3.0,
        **options | changes,
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


def dynamics(layers=1):
    """The tensors-only form, within a function of the user's."""

    def step(species, pos, velocity, *graph):
        pos = (pos + 0.1 * velocity).requires_grad_()
        strain = torch.zeros_like(graph[0]).requires_grad_()
        found = model.evaluate(species, pos, *graph, strain)
        return pos.detach(), found["energy"], found["forces"], found["stress"]

    torch._dynamo.config.error_on_recompile = True
    torch._dynamo.config.trace_autograd_ops = True
    model = make_model(layers=layers).eval()
    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch in (Batch(5, 4), Batch(3, 6)):
        graph = (batch.cell, batch.batch, batch.edge_index, batch.edge_shift)
        state = (model.species(batch.atomic_numbers), batch.pos, torch.randn_like(batch.pos))
        torch.testing.assert_close(compiled(*state, *graph), step(*state, *graph))


def dynamics_of_two_layers():
    """The second layer sums features of all degrees, the first one numbers alone."""
    dynamics(layers=2)


def training():
    """A loss on energies, forces and stress has the same gradient by every parameter."""

    def gradients(model, batch):
        found = model(batch, stress=True)
        loss = sum(value.square().sum() for value in found.values())
        return torch.autograd.grad(loss, list(model.parameters()))

    torch._dynamo.config.error_on_recompile = True
    model = make_model()
    model.compile(backend="aot_eager")
    eager = copy.deepcopy(model)
    for batch in (Batch(5, 4), Batch(3, 6)):
        torch.testing.assert_close(gradients(model, batch), gradients(eager, batch))
    with torch.no_grad():
        eager.embedding.zero_()
    energies = [each(batch, stress=True)["energy"] for each in (model, eager)]
    assert not torch.equal(*energies), "the copy evaluates the original"
    batch.atomic_numbers[0] = 79
    with pytest.raises(DataError, match="not trained for Au"):
        model(batch, stress=True)


def attention():
    """The transformer, whose forces are the gradient through frames, samples and brackets."""
    torch._dynamo.config.error_on_recompile = True
    model = EquiformerV2(
        elements=(1, 8),
        cutoff=4.0,
        reference_energies=(-13.6, -2040.0),
        average_neighbors=3.0,
        channels=4,
        blocks=1,
        lmax=2,
        mmax=1,
        heads=2,
        edge_channels=4,
        radial_basis=4,
        forces="gradient",
        selfmix="gaunt+odd",
    ).double()
    model.eval()
    eager = copy.deepcopy(model)
    model.compile(backend="aot_eager")
    for batch in (Batch(5, 4), Batch(3, 6)):
        torch.testing.assert_close(model(batch), eager(batch))


def clebsch_gordan():
    """The published MACE, in training and as an exported program."""
    torch._dynamo.config.error_on_recompile = True
    model = MACE(
        elements=(1, 8),
        cutoff=4.0,
        reference_energies=(-13.6, -2040.0),
        average_neighbors=3.0,
        channels=3,
        lmax_filter=2,
        radial_hidden=(5,),
        density=True,
        transformed=True,
        repulsion=True,
    ).double()
    model.compile(backend="aot_eager")
    eager = copy.deepcopy(model)
    for batch in (Batch(5, 4), Batch(3, 6)):
        losses = (each(batch)["forces"].square().sum() for each in (model, eager))
        parameters = (list(each.parameters()) for each in (model, eager))
        gradients = (
            torch.autograd.grad(loss, own, materialize_grads=True)
            for loss, own in zip(losses, parameters, strict=True)
        )
        torch.testing.assert_close(*gradients)
    program = trace(eager.eval(), stress=True).module()
    graph = (batch.cell, batch.batch, batch.edge_index, batch.edge_shift)
    found = program(batch.atomic_numbers, batch.pos, *graph)
    torch.testing.assert_close(found, eager(batch, stress=True))


def committee():
    """Means and spreads; results that a loss leaves out have zero, not NaN, for a gradient."""
    torch._dynamo.config.error_on_recompile = True
    model = make_model()
    twins = Committee.of([model, model])
    twins.compile(backend="aot_eager")
    eager = copy.deepcopy(twins)
    for batch in (Batch(5, 4), Batch(3, 6)):
        found, expected = twins(batch), eager(batch)
        torch.testing.assert_close(found, expected)
        losses = (each["forces"].square().sum() for each in (found, expected))
        parameters = (list(each.parameters()) for each in (twins, eager))
        gradients = map(torch.autograd.grad, losses, parameters)
        torch.testing.assert_close(*gradients)


def fallback():
    """Both potentials are within: which one answers is not known when the graph is traced."""
    torch._dynamo.config.error_on_recompile = True
    model = Fallback.of(make_model(), make_model(), pairs=[]).eval()
    eager = copy.deepcopy(model)
    model.compile(backend="aot_eager")
    program = trace(eager, stress=True).module()
    for seed in range(4):
        torch.manual_seed(seed)
        batch = Batch(2, 12)
        expected = eager(batch, stress=True)
        assert 0 < int(expected["familiar"].sum()) < 12
        torch.testing.assert_close(model(batch, stress=True), expected)
        graph = (batch.cell, batch.batch, batch.edge_index, batch.edge_shift)
        torch.testing.assert_close(program(batch.atomic_numbers, batch.pos, *graph), expected)


def kinds():
    """More kinds of calls than torch allows by default, of a model as small as can be."""
    model = make_model(layers=1, lmax_hidden=0, lmax_filter=1, correlation=1).eval()
    eager = copy.deepcopy(model)
    model.compile(backend="aot_eager")
    for batch in (Batch(4, 1), Batch(4, 2), Batch(1, 1)):
        for options in ({}, {"stress": True}, {"forces": False}):
            torch.testing.assert_close(model(batch, **options), eager(batch, **options))


def exported():
    """The program that is compiled ahead of time, of a model as small as can be."""
    model = make_model(layers=1, lmax_hidden=0, lmax_filter=1, correlation=1).eval()
    program = trace(model, stress=True).module()
    for batch in (Batch(4, 2), Batch(3, 5)):
        graph = (batch.cell, batch.batch, batch.edge_index, batch.edge_shift)
        found = program(batch.atomic_numbers, batch.pos, *graph)
        torch.testing.assert_close(found, model(batch, stress=True))


def run_alone(*functions):
    command = [sys.executable, __file__, *(function.__name__ for function in functions)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_compiles_whole():
    run_alone(dynamics, exported)  # one after the other: a process takes seconds to start


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    [dynamics_of_two_layers, training, attention, clebsch_gordan, committee, fallback, kinds],
)
def test_compiles_whole_in_every_use(function):
    run_alone(function)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        torch.manual_seed(0)
        globals()[name]()
