"""Find weights that are NaN or infinite."""

from collections.abc import Mapping

from torch import Tensor


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of tensors that hold NaN or infinity.

    Args:
        tensors: Tensors by name, as in a ``state_dict``.

    Example:
        >>> import torch
        >>> not_finite({"gain": torch.tensor([1.0, float("nan")]), "bias": torch.zeros(2)})
        ['gain']
    """
    return [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
