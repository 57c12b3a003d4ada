"""Constant tables: computed once in float64 with numpy, then kept per dtype and device."""

import functools
import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Table(Protocol):
    """A table as a tensor of the type and on the device asked for.

    Example:
        >>> from equinet.o3 import degree_table
        >>> degree_table(1, dtype=torch.int64, device=torch.device("cpu"))
        tensor([0, 1, 1, 1])
    """

    def __call__(
        self, *arguments: int, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "..."]:
        """Return the table; it is shared and must not be changed in place."""
        ...


def constant_table(build: Callable[..., np.ndarray]) -> Table:
    """Make a cached :class:`Table` of a function that builds a float64 array from integers.

    Each table is computed and copied to the device once; under ``torch.compile`` and
    ``torch.export`` it is a constant of the graph.

    Args:
        build: Function that makes the array; it is always called with plain integers.

    Returns:
        A function of the same arguments and the keywords ``dtype`` and ``device``.

    Example:
        >>> @constant_table
        ... def counting(size):
        ...     return np.arange(size)
        >>> counting(3, dtype=torch.float32, device=torch.device("cpu"))
        tensor([0., 1., 2.])
    """
    tensors: dict[tuple[tuple[int, ...], torch.dtype, torch.device], Tensor] = {}

    def make(arguments: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        tensor = torch.tensor(build(*arguments), dtype=dtype, device=device)
        # This does the same as torch._dynamo.mark_static: a table has the same shape in every call,
        # even if torch.compile treats shapes as dynamic.
        tensor._dynamo_static_indices = set(range(tensor.ndim))  # type: ignore[attr-defined]  # torch's own mark
        return tensor

    # Returns a tuple: given bare tensors, torch.compile confuses two tables of one function.
    def lookup(
        arguments: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor]:
        key = (arguments, dtype, device)
        if key not in tensors:
            # A new thread is free of the caller's modes: a table made in inference mode could not
            # be trained with later, one made by a tracer would be a fake one.
            with ThreadPoolExecutor(max_workers=1) as thread:
                tensors[key] = thread.submit(make, *key).result()
        return (tensors[key],)

    # This does the same as torch.compiler.assume_constant_result, which would take 1.5 s to import.
    lookup._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's own mark

    @functools.wraps(build)
    def table(*arguments: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        tensor = lookup(tuple(map(operator.index, arguments)), dtype, device)[0]
        # Slices of a constant torch.compile would make at once, and take their shapes for variable.
        return tensor.detach() if torch.compiler.is_compiling() else tensor

    return table
