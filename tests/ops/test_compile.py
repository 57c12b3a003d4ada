"""The ops under torch.compile, torch.export and AOTInductor.

Each test runs one of the functions below in a process of its own: the compiler cannot see through
the tests' shape checks.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from equinet.ops import (
    aligned_convolution,
    bracket_product,
    gaunt_convolution,
    gaunt_powers,
    gaunt_product,
    native,
    orientation_convolution,
)

CHANNELS = 3
POINTS = nn.functional.normalize(torch.arange(27.0).cos().reshape(9, 3), dim=-1)


def each_op(x, y, directions, radial, edge_index):
    """Every op once; the grid stands in where no engine is compiled."""
    edges = (directions, radial, edge_index)
    return (
        gaunt_product(gaunt_powers(x, 3, 2).sum(0), y, 3),
        bracket_product(x, y, 2),
        gaunt_convolution(x, *edges, 2),
        aligned_convolution(x, *edges, 2),
        orientation_convolution(x, *edges, POINTS.to(x)),
    )


class Ops(nn.Module):
    """Every op, and the convolutions in other ways too."""

    def forward(self, x, y, directions, radial, edge_index):
        edges = (directions, radial, edge_index)
        points = POINTS.to(x)
        return (
            *each_op(x, y, *edges),
            gaunt_convolution(x[:, :1], *edges, 2),
            gaunt_convolution(x, *edges, 2, backend="grid"),
            orientation_convolution(y, *edges, points[:2]),
            orientation_convolution(x, *edges, points, backend="grid"),
        )


def draw(nodes, edges, dtype=torch.float32):
    sizes = ((nodes, 9, CHANNELS), (nodes, 4, CHANNELS), (edges, 3), (edges, 3, CHANNELS))
    numbers = (torch.randn(size, dtype=dtype, requires_grad=True) for size in sizes)
    return (*numbers, torch.randint(nodes, (2, edges)))


def compile_each_op():
    compile_whole(each_op)


def compile_all():
    compile_whole(Ops())


def compile_whole(ops):
    """One graph for all sizes, with a gradient inside, and differentiated from outside.

    The other way round, two gradients outside, torch.compile refuses
    (https://github.com/pytorch/pytorch/issues/91469). In float64: harmonics are differentiated by
    another formula than without a compiler, which rounds otherwise.
    """

    def with_gradient(*inputs):
        """All values, and the gradient of their sum of squares."""
        values = ops(*inputs)
        energy = sum(each.square().sum() for each in values)
        return *values, *torch.autograd.grad(energy, inputs[:-1], create_graph=True)

    torch._dynamo.config.error_on_recompile = True
    torch._dynamo.config.trace_autograd_ops = True
    compiled = torch.compile(with_gradient, fullgraph=True, dynamic=True, backend="aot_eager")
    for inputs in (draw(5, 12, torch.float64), draw(7, 31, torch.float64)):
        found, expected = compiled(*inputs), with_gradient(*inputs)
        torch.testing.assert_close(found, expected)
        probes = [torch.randn_like(each) for each in expected]
        torch.testing.assert_close(
            torch.autograd.grad(found, inputs[:-1], probes),
            torch.autograd.grad(expected, inputs[:-1], probes),
        )


def exported():
    nodes, edges = torch.export.Dim("nodes", min=1), torch.export.Dim("edges", min=0)
    sizes = ({0: nodes}, {0: nodes}, {0: edges}, {0: edges}, {1: edges})
    return torch.export.export(Ops(), draw(5, 12), dynamic_shapes=sizes)


def assert_runs(program):
    for inputs in (draw(7, 31), draw(1, 1), draw(2, 0)):
        with torch.no_grad():
            torch.testing.assert_close(tuple(program(*inputs)), Ops()(*inputs))


def export():
    assert_runs(exported().module())


def package():
    path = str(Path(sys.argv[1]) / "ops.pt2")
    torch._inductor.aoti_compile_and_package(exported(), package_path=path)
    assert_runs(torch._inductor.aoti_load_package(path))


def run_alone(*functions, folder=""):
    command = [sys.executable, __file__, str(folder), *(each.__name__ for each in functions)]
    # Half the time: the wrapper's own speed is of no interest here.
    environment = os.environ | {"AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL": "O0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_traces_whole():
    run_alone(compile_each_op, export)  # one after the other: a process takes seconds to start


@pytest.mark.slow
def test_traces_whole_in_every_way():
    run_alone(compile_all)


@pytest.mark.slow
def test_runs_ahead_of_time_compiled(tmp_path):
    run_alone(package, folder=tmp_path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    native.load()
    for name in sys.argv[2:]:
        torch.manual_seed(0)
        globals()[name]()
