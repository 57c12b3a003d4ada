"""Count the bytes that a problem must move, its multiply-adds and the memory it needs."""

import functools
import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from equinet.bench.problems import Problem
from equinet.o3 import bracket_tensor, gaunt_tensor

# Costs of the value, with gradients, with second gradients, relative to the value, for sparse sums;
# the sums share products of operands.
_SPARSE_STAGES = (1, 3, 6)

# Numbers of transforms between coefficients and grid for each operand and for the result, and of
# products of samples: in the value, with gradients, with second gradients.
_TRANSFORM_STAGES = ((1, 1, 1), (3, 3, 2), (6, 6, 4))
_POINT_STAGES = (1, 3, 7)

_LARGEST_SPARSE = 6  # degree from which on transforms are cheaper by far


def minimal_bytes(problem: Problem, order: int) -> int:
    """Count the bytes of operands and results, which every implementation must move.

    Args:
        problem: Problem to count, with the precision of its inputs.
        order: Number of derivatives: 0 for the value, 1 with gradients by all inputs, 2 with the
            gradients of those, as in :func:`equinet.bench.differentiation`.
    """
    inputs = sum(x.numel() for x in problem.inputs)
    result = math.prod(problem.result_shape)
    # The value reads the operands and writes the result; gradients read operands and cotangent and
    # write gradients by the operands; second gradients read directions of the operands besides and
    # write gradients by operands and cotangent.
    moved = (inputs + result, inputs + result + inputs, 2 * inputs + result + inputs + result)
    indices = problem.edge_index.numel() * problem.edge_index.element_size()
    elements = sum(moved[: order + 1]) + (order + 1) * problem.points.numel()
    return elements * problem.inputs[0].element_size() + (order + 1) * indices


def multiply_adds(problem: Problem, order: int) -> int | None:
    """Count the multiply-adds of the cheaper of two algorithms; a single product counts as one.

    Args:
        problem: Problem to count, of any op.
        order: Number of derivatives, as in :func:`minimal_bytes`.

    Returns:
        The smaller count of sparse couplings and the separable transform, for all channels; None
        for powers and convolutions, which have not been counted.
    """
    if problem.op not in {"gaunt_product", "bracket_product"}:
        return None
    degrees = problem.lmax, problem.lmax_y, problem.lmax_out
    odd = problem.op == "bracket_product"
    count = _separable(degrees, order, odd=odd)
    if max(degrees) <= _LARGEST_SPARSE:
        count = min(count, _couplings(*degrees, odd=odd) * _SPARSE_STAGES[order])
    return count * problem.batch * problem.channels


@functools.cache
def _couplings(lmax: int, lmax_y: int, lmax_out: int, *, odd: bool) -> int:
    """Count one multiply-add for each coupling and one product for each coupled pair."""
    coupled = (bracket_tensor if odd else gaunt_tensor)(lmax, lmax_y, lmax_out) != 0
    return int(coupled.sum()) + int(coupled.any(-1).sum())


def _separable(degrees: tuple[int, int, int], order: int, *, odd: bool) -> int:
    """Count transforms in latitude, then in longitude, and the products of samples.

    The quadrature is the smallest exact product of Gauss-Legendre and uniform points. Each
    transform is folded once, north on south in latitude and east on west in longitude. The bracket
    takes two derivatives of each function that is multiplied, and two products of samples.
    """
    degree = sum(degrees) - odd
    latitudes, longitudes = degree // 2 + 1, degree + 1
    transforms = [
        latitudes * ((lmax + 1) ** 2 + (2 * lmax + 1) * longitudes) for lmax in degrees
    ]  # twice the number of multiply-adds, which folding halves
    times = list(_TRANSFORM_STAGES[order])
    if odd:
        times = [2 * times[0], 2 * times[1], times[2]]
    points = latitudes * longitudes * _POINT_STAGES[order] * (1 + odd)
    return sum(n * cost for n, cost in zip(times, transforms, strict=True)) // 2 + points


def allocated_bytes(function: Callable[[], object]) -> int:
    """Add up the sizes of all tensors that a call makes, an upper bound of the memory it needs.

    Args:
        function: Function to call, with inputs that fit into memory.
    """
    with _Allocations() as allocations:
        function()
    return allocations.total


class _Allocations(TorchDispatchMode):
    """Sums the bytes of the results of all operations, except views of their operands."""

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
