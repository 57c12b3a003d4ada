"""Constant tables: computed once in float64 with numpy, then kept per dtype and device."""

import functools
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Table(Protocol):
    """A table as a tensor of the type and on the device asked for."""

    def __call__(
        self, *arguments: int, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "..."]:
        """Return the table; it is shared and must not be changed in place."""
        ...


def constant_table(build: Callable[..., np.ndarray]) -> Table:
    """Turn a function that builds a float64 array from integers into a cached :class:`Table`.

    Each table is computed and copied to the device once; under ``torch.compile`` and
    ``torch.export`` it is a constant of the graph.

    Args:
        build: makes the array; always called with plain integers.

    Returns:
        A function of the same arguments and the keywords ``dtype`` and ``device``.
    """
    arrays: dict[tuple[int, ...], np.ndarray] = {}
    tensors: dict[tuple[tuple[int, ...], torch.dtype, torch.device], Tensor] = {}

    # Returns a tuple: given bare tensors, torch.compile confuses two tables of one function.
    def lookup(
        arguments: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor]:
        key = (arguments, dtype, device)
        if key in tensors:
            return (tensors[key],)
        if arguments not in arrays:
            arrays[arguments] = build(*arguments)
        # A tensor made in inference mode could never be used in training afterwards.
        with torch.inference_mode(mode=False):
            tensor = torch.tensor(arrays[arguments], dtype=dtype, device=device)
        # Tracers hand out stand-ins (fake, functional tensors) which must not outlive the trace.
        if type(tensor) is Tensor:
            tensors[key] = tensor
        return (tensor,)

    # What torch.compiler.assume_constant_result sets, without its 1.5 s import of the compiler.
    lookup._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001

    @functools.wraps(build)
    def table(*arguments: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        return lookup(arguments, dtype, device)[0]

    return table
