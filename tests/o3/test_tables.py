import subprocess
import sys

import numpy as np
import torch

from equinet.o3.tables import constant_table

CPU = torch.device("cpu")


def counting_table():
    calls = []

    @constant_table
    def numbers(start: int, size: int) -> np.ndarray:
        """Some numbers."""
        calls.append((start, size))
        return np.arange(start, start + size) / 3

    return numbers, calls


def test_built_once_per_type():
    numbers, calls = counting_table()
    double = numbers(1, 3, dtype=torch.float64, device=CPU)
    assert numbers(1, 3, dtype=torch.float64, device=CPU) is double
    single = numbers(1, 3, dtype=torch.float32, device=CPU)
    assert single.dtype == torch.float32
    assert double.tolist() == [1 / 3, 2 / 3, 1]
    assert numbers(2, 3, dtype=torch.float64, device=CPU)[0] == 2 / 3
    assert calls == [(1, 3), (1, 3), (2, 3)]
    assert numbers.__doc__ == "Some numbers."


def test_made_in_inference_mode_and_used_in_training():
    numbers, _ = counting_table()
    with torch.inference_mode():
        numbers(0, 2, dtype=torch.float32, device=CPU)
    x = torch.ones(2, requires_grad=True)
    (numbers(0, 2, dtype=torch.float32, device=CPU) * x * x).sum().backward()
    assert x.grad is not None


def test_made_in_any_mode():
    numbers, _ = counting_table()
    with torch._subclasses.FakeTensorMode():
        numbers(0, 2, dtype=torch.float32, device=CPU)
    with torch.device("meta"):
        numbers(0, 3, dtype=torch.float32, device=CPU)
    assert type(numbers(0, 2, dtype=torch.float32, device=CPU)) is torch.Tensor
    assert numbers(0, 3, dtype=torch.float32, device=CPU).tolist()[0] == 0


COMPILE_AND_EXPORT = """
import torch
from equinet.o3 import spherical_harmonics, wigner_d_blocks
from equinet.testing import random_rotations

class Geometry(torch.nn.Module):
    # Several tables of one function in one graph.
    def forward(self, directions, rotations):
        blocks = wigner_d_blocks(2, rotations)
        low, high = spherical_harmonics(1, directions), spherical_harmonics(3, directions)
        return torch.cat([low, high, *(each.flatten(-2) for each in blocks)], dim=-1)

module = Geometry()
few, more = ((torch.randn(n, 3), random_rotations(n, dtype=torch.float32)) for n in (5, 9))
edges = torch.export.Dim("edges")
# First with no table made yet.
for strict in (False, True):
    program = torch.export.export(
        module, few, strict=strict, dynamic_shapes=({0: edges}, {0: edges})
    )
    torch.testing.assert_close(program.module()(*more), module(*more))
compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
torch.testing.assert_close(compiled(*few), module(*few))
"""


def test_compiles_without_graph_breaks_and_exports():
    """In a process of its own: the compiler cannot see through the tests' shape checks."""
    result = subprocess.run(
        [sys.executable, "-c", COMPILE_AND_EXPORT], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
