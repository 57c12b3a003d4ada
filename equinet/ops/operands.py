"""Checks and precision of the tensors that the ops take."""

import contextlib
import math
import operator
from contextlib import AbstractContextManager

import torch
from torch import Tensor

_NO_CHANGE = contextlib.nullcontext()


def degree_of(x: Tensor) -> int:
    """Return lmax of coefficients [..., (lmax + 1)^2, channels]."""
    # Compilers may take any size for variable; a degree never is.
    return math.isqrt(operator.index(x.shape[-2])) - 1


def check_coefficients(name: str, x: Tensor) -> None:
    """Raise ValueError unless ``x`` is floating point of shape [..., (lmax + 1)^2, channels]."""
    if not x.is_floating_point():
        raise ValueError(f"{name} must be floating point, found {x.dtype}")
    size = operator.index(x.shape[-2]) if x.ndim >= 2 else 0
    if size == 0 or math.isqrt(size) ** 2 != size:
        raise ValueError(
            f"{name} must have shape [..., (lmax + 1)^2, channels], found {list(x.shape)}"
        )


def check_pair(x: Tensor, y: Tensor) -> None:
    """Raise ValueError unless ``x`` and ``y`` are coefficients that can be multiplied."""
    check_coefficients("x", x)
    check_coefficients("y", y)
    if y.shape[-1] not in (1, x.shape[-1]):
        raise ValueError(
            f"y must have {x.shape[-1]} channels as x has, or one that all share, "
            f"found y of shape {list(y.shape)}"
        )
    if x.shape[:-2] == y.shape[:-2]:
        return
    try:
        torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except RuntimeError:
        raise ValueError(
            "the batch dimensions of y must broadcast with those of x, found "
            f"{list(y.shape[:-2])} and {list(x.shape[:-2])}"
        ) from None


def check_degree(name: str, lmax: int) -> None:
    """Raise ValueError if a degree is negative."""
    if lmax < 0:
        raise ValueError(f"{name} must be at least 0, found {lmax}")


def common_dtype(**tensors: Tensor) -> torch.dtype:
    """Return the dtype that all tensors share, which is the result's.

    Under autocast, where layers hand out mixed types by design, it is the widest.

    Raises:
        ValueError: if they differ outside autocast.
    """
    (first, x), *others = tensors.items()
    dtype = x.dtype
    for name, other in others:
        if other.dtype == dtype:
            continue
        if not torch.is_autocast_enabled(x.device.type):
            raise ValueError(
                f"{name} must have the dtype of {first}, {x.dtype}, found {other.dtype}"
            )
        dtype = torch.promote_types(dtype, other.dtype)
    return dtype


def working_dtype(dtype: torch.dtype, backend: str = "", device: str = "cpu") -> torch.dtype:
    """Return the type to compute in: half precision is accumulated in float32.

    The native kernels for CUDA do that themselves: they read and write half precision.
    """
    if backend == "native" and device == "cuda":
        return dtype
    return torch.promote_types(dtype, torch.float32)


def in_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``x`` in a dtype; a microsecond sooner than ``Tensor.to`` if it has it already."""
    return x if x.dtype == dtype else x.to(dtype)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products keep the precision of their operands.

    In bfloat16 a product loses equivariance at the per-cent level.
    """
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return _NO_CHANGE


def with_degrees(z: Tensor, lmax: int) -> Tensor:
    """Pad coefficients with zeros up to degree ``lmax``."""
    missing = (lmax + 1) ** 2 - z.shape[-2]
    return torch.nn.functional.pad(z, (0, 0, 0, missing)) if missing else z
