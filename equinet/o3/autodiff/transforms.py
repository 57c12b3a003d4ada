"""Whether functions of tensors are being differentiated forwards or transformed as a whole."""

import torch
from torch.autograd import forward_ad


def is_transformed() -> bool:
    """Return whether a forward-mode level or a transform of ``torch.func`` is active.

    Compiled kernels and autograd functions know reverse-mode derivatives alone; where this is true,
    plain operations of torch take their place. Within compiled code it is always false, because
    compilers take transforms apart themselves.

    Example:
        >>> torch.func.vmap(lambda x: x * is_transformed())(torch.ones(2)), is_transformed()
        (tensor([1., 1.]), False)
    """
    if torch.compiler.is_compiling():
        return False
    return (
        forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None
    )
