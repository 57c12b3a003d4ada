"""What a problem asks of a machine: bytes that must move, multiply-adds, memory."""

import functools
import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from equinet.bench.problems import Problem
from equinet.o3 import bracket_tensor, gaunt_tensor

# Multiply-adds of the folded separable transform for one product, all three degrees lmax.
_SEPARABLE = {2: 292, 3: 695, 4: 1582, 5: 2672, 6: 4630, 8: 10192}

# Cost of value, + gradients, + second gradients, in values: sparse sums share products of operands,
# separable transforms are three, then five, then eight.
_SPARSE_STAGES = (1.0, 3.0, 6.0)
_SEPARABLE_STAGES = (1.0, 8 / 3, 16 / 3)

# The bracket takes five transforms in place of three.
_BRACKET = 5 / 3

_LARGEST = 10  # degree up to which couplings are counted


def minimal_bytes(problem: Problem, order: int) -> int:
    """Count the bytes of operands and results: what every implementation must move.

    Args:
        problem: Has the precision.
        order: 0 for the value, 1 with gradients by all inputs, 2 with the gradients of those, as
            in :func:`equinet.bench.problems.derivatives`.
    """
    inputs = sum(x.numel() for x in problem.inputs)
    result = math.prod(problem.result_shape)
    # Read: the operands; the cotangent too; directions of the inputs too. Written: the result; the
    # gradients by the inputs; by the inputs and the cotangent.
    moved = (inputs + result, inputs + result + inputs, 2 * inputs + result + inputs + result)
    indices = problem.edge_index.numel() * problem.edge_index.element_size()
    elements = sum(moved[: order + 1])
    return elements * problem.inputs[0].element_size() + (order + 1) * indices


def multiply_adds(problem: Problem, order: int) -> float | None:
    """Count the multiply-adds of the cheapest known algorithm; a lone addition counts as one.

    Args:
        problem: Any.
        order: As of :func:`minimal_bytes`.

    Returns:
        The lesser of sparse couplings and the folded separable transform, for all channels; None
        where neither has been counted: powers, convolutions, degrees above 10.

    Source:
        A sparse sum takes one multiply-add for each coupling and one product for each pair of
        operands in it. The separable transform (Gauss-Legendre rule folded north on south, cosines
        and sines folded in longitude) has been counted for some equal degrees.
    """
    degrees = problem.lmax, problem.lmax_y, problem.lmax_out
    if problem.op not in {"gaunt_product", "bracket_product"} or max(degrees) > _LARGEST:
        return None
    odd = problem.op == "bracket_product"
    counts = [_couplings(*degrees, odd=odd) * _SPARSE_STAGES[order]]
    if len(set(degrees)) == 1 and problem.lmax in _SEPARABLE:
        transforms = _SEPARABLE[problem.lmax] * (_BRACKET if odd else 1)
        counts.append(transforms * _SEPARABLE_STAGES[order])
    return min(counts) * problem.batch * problem.channels


@functools.cache
def _couplings(lmax: int, lmax_y: int, lmax_out: int, *, odd: bool) -> int:
    coupled = (bracket_tensor if odd else gaunt_tensor)(lmax, lmax_y, lmax_out) != 0
    return int(coupled.sum()) + int(coupled.any(-1).sum())


def allocated_bytes(function: Callable[[], object]) -> int:
    """Add up all tensors that a call makes: an upper bound of the memory it needs.

    Args:
        function: What to call; small inputs do.
    """
    with _Allocations() as allocations:
        function()
    return allocations.total


class _Allocations(TorchDispatchMode):
    """Counts the results of all operations; those that only view their operands too."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        found = func(*args, **(kwargs or {}))
        results = found if isinstance(found, tuple | list) else (found,)
        if not func.is_view:
            self.total += sum(x.nbytes for x in results if isinstance(x, Tensor))
        return found
