"""Reductions over segments: rows with the same index, such as the edges of a receiver."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equinet.ops.operands import check_index, working_dtype


def segment_sum(
    src: Float[Tensor, "row *feature"], index: Int[Tensor, " row_index"], num_segments: int
) -> Float[Tensor, "segment *feature"]:
    """Add the rows of each segment.

    Half precision is accumulated in float32. Rows need not be sorted; on a CPU the result is
    bitwise reproducible, on CUDA under ``torch.use_deterministic_algorithms(True)``.

    Args:
        src: Rows [E, ...].
        index: Segment of each row [E], from 0 to num_segments - 1.
        num_segments: Number of segments.

    Returns:
        Sums [num_segments, ...], zero for a segment without rows.

    Raises:
        ValueError: If shapes do not fit, naming the argument.

    Example:
        >>> segment_sum(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 0, 2]), 3)
        tensor([3., 0., 3.])
    """
    _check(src, index, num_segments)
    rows = src.to(working_dtype(src.dtype))
    return rows.new_zeros(num_segments, *rows.shape[1:]).index_add(0, index, rows).to(src.dtype)


def segment_mean(
    src: Float[Tensor, "row *feature"], index: Int[Tensor, " row_index"], num_segments: int
) -> Float[Tensor, "segment *feature"]:
    """Average the rows of each segment.

    Args:
        src: Rows [E, ...].
        index: Segment of each row [E], from 0 to num_segments - 1.
        num_segments: Number of segments.

    Returns:
        Means [num_segments, ...], zero for a segment without rows.

    Raises:
        ValueError: If shapes do not fit, naming the argument.

    Example:
        >>> segment_mean(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 0, 2]), 3)
        tensor([1.5000, 0.0000, 3.0000])
    """
    _check(src, index, num_segments)
    rows = src.to(working_dtype(src.dtype))
    count = rows.new_zeros(num_segments).index_add(0, index, rows.new_ones(rows.shape[0]))
    count = count.clamp(min=1).reshape(-1, *(1,) * (src.ndim - 1))
    return (segment_sum(rows, index, num_segments) / count).to(src.dtype)


def segment_max(
    src: Float[Tensor, "row *feature"], index: Int[Tensor, " row_index"], num_segments: int
) -> Float[Tensor, "segment *feature"]:
    """Take the largest entry of each segment, feature by feature.

    The gradient goes to the largest entry, the first one where several are equal.

    Args:
        src: Rows [E, ...].
        index: Segment of each row [E], from 0 to num_segments - 1.
        num_segments: Number of segments.

    Returns:
        Maxima [num_segments, ...], zero for a segment without rows.

    Raises:
        ValueError: If shapes do not fit, naming the argument.

    Example:
        >>> segment_max(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 0, 2]), 3)
        tensor([2., 0., 3.])
    """
    _check(src, index, num_segments)
    with torch.no_grad():
        scattered = index.reshape(-1, *(1,) * (src.ndim - 1)).expand_as(src)
        largest = _largest(src, scattered, num_segments)
        is_largest = (src == largest.index_select(0, index)) | src.isnan()
        # Row E, appended below, stands for "no row": it is later than all others, and zero.
        row = torch.arange(src.shape[0], device=src.device).reshape(-1, *(1,) * (src.ndim - 1))
        row = torch.where(is_largest, row, src.shape[0])
        first = torch.full_like(largest, src.shape[0], dtype=torch.int64)
        first = first.scatter_reduce(0, scattered, row, "amin")
    return torch.cat([src, src.new_zeros(1, *src.shape[1:])]).gather(0, first)


def segment_softmax(
    src: Float[Tensor, "row *feature"], index: Int[Tensor, " row_index"], num_segments: int
) -> Float[Tensor, "row *feature"]:
    """Normalize the exponentials of the rows within each segment, feature by feature.

    Args:
        src: Logits [E, ...], of any size: the largest of a segment is subtracted first.
        index: Segment of each row [E], from 0 to num_segments - 1.
        num_segments: Number of segments.

    Returns:
        Weights [E, ...] whose sum over each segment is one.

    Raises:
        ValueError: If shapes do not fit, naming the argument.

    Example:
        >>> segment_softmax(torch.tensor([1.0, 1.0, 3.0]), torch.tensor([0, 0, 2]), 3)
        tensor([0.5000, 0.5000, 1.0000])
    """
    _check(src, index, num_segments)
    rows = src.to(working_dtype(src.dtype))
    with torch.no_grad():
        scattered = index.reshape(-1, *(1,) * (src.ndim - 1)).expand_as(rows)
        largest = _largest(rows, scattered, num_segments)
    exponentials = (rows - largest.index_select(0, index)).exp()
    total = segment_sum(exponentials, index, num_segments)
    return (exponentials / total.index_select(0, index)).to(src.dtype)


def _largest(src: Tensor, scattered: Tensor, num_segments: int) -> Tensor:
    lowest = src.new_full((num_segments, *src.shape[1:]), -torch.inf)
    return lowest.scatter_reduce(0, scattered, src, "amax")


def _check(src: Tensor, index: Tensor, num_segments: int) -> None:
    if src.ndim == 0:
        raise ValueError("src must have shape [rows, ...], found a scalar")
    if index.ndim != 1 or index.shape[0] != src.shape[0]:
        raise ValueError(
            f"index must have shape [{src.shape[0]}], one segment for each row of src, "
            f"found {list(index.shape)}"
        )
    check_index("index", index, src.shape[0])
    if num_segments < 0:
        raise ValueError(f"num_segments must be at least 0, found {num_segments}")
