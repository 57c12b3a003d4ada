"""Products of matrices that keep the precision of their operands under autocast.

Autocast is a state of the caller. Whether it is off while a product is taken says nothing about the
product's derivatives, which are taken later, often within autocast: forces are. Therefore these
products bring derivatives of their own, which turn autocast off again.
"""

from typing import Any

import torch
from torch import Tensor

from equinet.o3.autodiff.transforms import is_transformed


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """Multiply matrices as :func:`torch.matmul`, in full precision under autocast.

    Args:
        left: Matrices [..., i, j].
        right: Matrices [..., j, k]; batch dimensions broadcast.

    Returns:
        Matrices [..., i, k] in the operands' dtype.

    Example:
        >>> x = torch.full((1, 1), 1.001)
        >>> with torch.autocast("cpu", dtype=torch.bfloat16):
        ...     matmul(x, x)
        tensor([[1.0020]])
    """
    if not _is_cast(left):
        return torch.matmul(left, right)
    if is_transformed():
        with torch.autocast(left.device.type, enabled=False):
            return torch.matmul(left, right)
    product: Tensor = _Matmul.apply(left, right)
    return product


def contract(equation: str, *operands: Tensor) -> Tensor:
    """Contract tensors as :func:`torch.einsum`, in full precision under autocast.

    Args:
        equation: Subscripts of operands and result; each index occurs once in an operand, and is
            in the result or in another operand too.
        *operands: Tensors of one dtype; ellipses broadcast.

    Returns:
        The contraction in the operands' dtype.

    Example:
        >>> contract("ij,jk->ik", torch.eye(2), torch.ones(2, 1)).shape
        torch.Size([2, 1])
    """
    if not _is_cast(operands[0]):
        return torch.einsum(equation, *operands)
    if is_transformed():
        with torch.autocast(operands[0].device.type, enabled=False):
            return torch.einsum(equation, *operands)
    contraction: Tensor = _Contraction.apply(equation, *operands)
    return contraction


def _is_cast(x: Tensor) -> bool:
    """Tell whether autocast would lower the precision; it does not change float64."""
    return x.dtype != torch.float64 and torch.is_autocast_enabled(x.device.type)


class _Matmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        with torch.autocast(left.device.type, enabled=False):
            return torch.matmul(left, right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        needs_left, needs_right = ctx.needs_input_grad
        (gradient,) = gradients
        by_left = by_right = None
        if needs_left:
            by_left = _Matmul.apply(gradient, right.mT).sum_to_size(left.shape)
        if needs_right:
            by_right = _Matmul.apply(left.mT, gradient).sum_to_size(right.shape)
        return by_left, by_right


class _Contraction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, equation: str, *operands: Tensor) -> Tensor:
        ctx.equation = equation
        ctx.save_for_backward(*operands)
        with torch.autocast(operands[0].device.type, enabled=False):
            return torch.einsum(equation, *operands)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        operands = ctx.saved_tensors
        inputs, output = ctx.equation.split("->")
        subscripts = inputs.split(",")
        result: list[Tensor | None] = [None]
        for i, operand in enumerate(operands):
            if not ctx.needs_input_grad[1 + i]:
                result.append(None)
                continue
            others = [j for j in range(len(operands)) if j != i]
            equation = ",".join([output, *(subscripts[j] for j in others)]) + "->" + subscripts[i]
            by_operand = _Contraction.apply(equation, *gradients, *(operands[j] for j in others))
            result.append(by_operand.sum_to_size(operand.shape))
        return tuple(result)
