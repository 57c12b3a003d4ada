"""Whether autograd records a call of a native op."""

from typing import Any

import torch
from torch import Tensor


def is_recorded(arguments: tuple[Any, ...]) -> bool:
    """Return whether gradients are enabled and an argument requires them.

    Args:
        arguments: Arguments of the op, tensors and others.

    Example:
        >>> is_recorded((torch.ones(2), 3)), is_recorded((torch.ones(2, requires_grad=True), None))
        (False, True)
    """
    return torch.is_grad_enabled() and any(
        isinstance(each, Tensor) and each.requires_grad for each in arguments
    )
