"""Mixing of the orientations at every node by one kernel for all nodes."""

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.ops.monomials import monomial_sum
from equinet.ops.native import unavailable


def fiber_convolution(
    x: Float[Tensor, "node sender channel"], kernel: Float[Tensor, "receiver _ _"]
) -> Float[Tensor, "node receiver channel"]:
    r"""Sum over the orientations at each node: :math:`y_n(o) = \sum_{o'} k(o, o')\, x_n(o')`.

    Differentiable to any order. Each channel has a kernel of its own, so as a matrix product the
    sum is a batch of channels times thin matrices, whose operands are copied first. On a CPU the
    native engine reads signals as they lie in memory.

    Args:
        x: Signals [N, O', C] over orientations at each node.
        kernel: Kernel [O, O', C] of each channel, with quadrature weights.

    Returns:
        Signals [N, O, C] in the dtype of the operands.

    Raises:
        ValueError: If shapes or dtypes do not fit, naming the argument.

    Source: Bekkers et al. (ICLR 2024), §4, the factor of the kernel on orientations.

    Example:
        >>> kernel = torch.eye(2).unsqueeze(-1)
        >>> fiber_convolution(torch.tensor([[[1.0], [2.0]]]), kernel).flatten()
        tensor([1., 2.])
    """
    if x.shape[1:] != kernel.shape[1:]:
        raise ValueError(
            f"kernel must have {x.shape[1]} orientations of the input and {x.shape[2]} channels, "
            f"as x has, found shape {list(kernel.shape)}"
        )
    if unavailable("monomial_sum", x.device.type):
        return torch.einsum("opc,npc->noc", kernel, x)
    receivers, senders, _ = kernel.shape
    receiver, sender = torch.arange(receivers), torch.arange(senders)
    table = torch.cartesian_prod(receiver, sender).flip(-1)
    kind = torch.zeros(x.shape[0], dtype=torch.int64)
    return monomial_sum(kernel.flatten(0, 1).unsqueeze(0), kind, [x], table, receivers)
