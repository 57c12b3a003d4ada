"""Checks and precision of the tensors that the ops take."""

import math
import operator

import torch
from torch import Tensor


def check_coefficients(name: str, x: Tensor) -> int:
    """Return lmax of ``x``; it must be floating point of shape [..., (lmax + 1)^2, channels].

    Raises:
        ValueError: If it is not.
    """
    if not x.is_floating_point():
        raise ValueError(f"{name} must be floating point, found {x.dtype}")
    shape = x.shape
    size = operator.index(shape[-2]) if len(shape) >= 2 else 0
    root = math.isqrt(size)
    if size == 0 or root * root != size:
        raise ValueError(
            f"{name} must have shape [..., (lmax + 1)^2, channels], found {list(shape)}"
        )
    return root - 1


def check_pair(x: Tensor, y: Tensor) -> tuple[int, int]:
    """Return lmax of ``x`` and of ``y``, coefficients that can be multiplied.

    Raises:
        ValueError: If an operand has another shape or type, or the operands do not fit.
    """
    degrees = check_coefficients("x", x), check_coefficients("y", y)
    if x.shape == y.shape:
        return degrees
    if y.shape[-1] not in (1, x.shape[-1]):
        raise ValueError(
            f"y must have {x.shape[-1]} channels as x has, or one that all share, "
            f"found y of shape {list(y.shape)}"
        )
    if x.shape[:-2] == y.shape[:-2]:
        return degrees
    try:
        torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except RuntimeError:
        raise ValueError(
            "the batch dimensions of y must broadcast with those of x, found "
            f"{list(y.shape[:-2])} and {list(x.shape[:-2])}"
        ) from None
    return degrees


def check_degree(name: str, lmax: int) -> None:
    """Refuse negative degrees.

    Raises:
        ValueError: If ``lmax`` is below 0; the message calls it ``name``.
    """
    if lmax < 0:
        raise ValueError(f"{name} must be at least 0, found {lmax}")


def check_index(name: str, index: Tensor, *shape: int | str) -> None:
    """Refuse what cannot select rows.

    Args:
        name: Name of the argument.
        index: Index that is checked.
        shape: Sizes that the message names. They are written out only when something is wrong,
            because a compiler would take a size that becomes a text for constant.

    Raises:
        ValueError: The dtype is neither int32 nor int64.
    """
    if index.dtype not in {torch.int32, torch.int64}:
        wanted = ", ".join(str(size) for size in shape)
        raise ValueError(
            f"{name} must be int32 or int64 of shape [{wanted}], found {index.dtype} "
            f"{list(index.shape)}"
        )


def check_edge_index(edge_index: Tensor) -> None:
    """Raise ValueError if senders and receivers are not integers of shape [2, E].

    Raises:
        ValueError: If ``edge_index`` has another shape or type.
    """
    check_index("edge_index", edge_index, 2, "E")
    if edge_index.ndim != 2 or edge_index.shape[0] != 2:
        raise ValueError(
            "edge_index must be int32 or int64 of shape [2, E], found "
            f"{edge_index.dtype} {list(edge_index.shape)}"
        )


def common_dtype(**tensors: Tensor) -> torch.dtype:
    """Return the common dtype of all tensors, which is that of the result.

    Under autocast, where layers hand out mixed types by design, it is the widest.

    Raises:
        ValueError: If the types differ outside autocast.
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

    Example:
        >>> working_dtype(torch.bfloat16)
        torch.float32
    """
    if backend == "native" and device == "cuda":
        return dtype
    return dtype if dtype.itemsize >= 4 else torch.float32


def in_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``x`` in a dtype; a microsecond sooner than ``Tensor.to`` if it has it already."""
    return x if x.dtype == dtype else x.to(dtype)


def with_degrees(z: Tensor, lmax: int) -> Tensor:
    """Pad coefficients with zeros up to degree ``lmax``."""
    missing = (lmax + 1) ** 2 - z.shape[-2]
    return torch.nn.functional.pad(z, (0, 0, 0, missing)) if missing else z
