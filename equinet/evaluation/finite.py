"""Refusal of predictions that are not finite, by the name of the structure."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Int
from torch import Tensor

from equinet.errors import EquinetError


def source_of(loader: Any, index: int) -> str:
    """Say where a structure of a loader came from.

    Args:
        loader: Loader that keeps the order of its ``dataset``.
        index: Place of the structure in the set, from 0.

    Returns:
        The ``source`` of the frame where the data set has ``frames``, else ``structure`` and the
        index.

    Example:
        >>> source_of([], 3)
        'structure 3'
    """
    frames = getattr(getattr(loader, "dataset", None), "frames", None)
    source = None if frames is None else getattr(frames[index], "source", None)
    return source or f"structure {index}"


def refuse_not_finite(
    predicted: Mapping[str, Tensor],
    owners: Int[Tensor, " node"] | None,
    *,
    loader: Any,
    before: int,
) -> None:
    """Refuse the predictions of a batch if one of them is NaN or infinite.

    Args:
        predicted: Predictions by name, each [structures, ...] or [nodes, ...].
        owners: Structure of each node in the batch; None where there is one row a structure.
        loader: Loader of the batches, see :func:`source_of`.
        before: Number of structures in the batches before this one.

    Raises:
        EquinetError: A prediction is not finite; the first structure is named.

    Example:
        >>> refuse_not_finite({"energy": torch.zeros(2)}, None, loader=[], before=0)
    """
    for name, values in predicted.items():
        if values.isfinite().all():
            continue
        rows = ~values.reshape(len(values), -1).isfinite().all(dim=1)
        row = int(rows.nonzero()[0])
        per_node = owners is not None and len(owners) == len(values)
        index = before + (int(owners[row]) if per_node and owners is not None else row)
        raise EquinetError(
            f"the model's {name} for {source_of(loader, index)} is not finite; check this "
            "structure with `equinet data lint`, or use weights from an earlier step of training"
        )
