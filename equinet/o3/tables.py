"""Constant tables: computed once in float64 with numpy, then kept per dtype and device."""

from collections.abc import Callable, Hashable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Builder = Callable[..., np.ndarray]

_cache: dict[Hashable, Tensor] = {}


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def table(
    build: Builder, *arguments: int, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "..."]:
    """Return ``build(*arguments)`` as a tensor, computed and copied to the device once.

    The tensor is shared by all callers: it must not be changed in place.

    Args:
        build: module-level function that makes the float64 table from integers.
        *arguments: its arguments.
        dtype: type of the returned tensor.
        device: where it lives.

    Returns:
        The table; a constant of the graph under ``torch.compile`` and ``torch.export``.
    """
    key = (build, arguments, dtype, device)
    if key not in _cache:
        # A tensor made in inference mode could never be used in training afterwards.
        with torch.inference_mode(mode=False):
            tensor = torch.tensor(build(*arguments), dtype=dtype, device=device)
        # Tracers hand out stand-ins (fake, functional tensors) which must not outlive the trace.
        if type(tensor) is not Tensor:
            return tensor
        _cache[key] = tensor
    return _cache[key]
