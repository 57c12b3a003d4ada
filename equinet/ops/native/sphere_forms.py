"""Products, brackets and powers by the native op ``equinet::sphere_forms``."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from equinet.o3 import degree_of, is_transformed
from equinet.ops import grid
from equinet.ops.native import portable
from equinet.ops.native.forms import differentiate

# Factors in one term that the kernels take: MAX_FACTORS of csrc/cpu/sphere_forms_kernels.h.
_MOST_FACTORS = 16


def gaunt_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Multiply two functions."""
    return _product(x, y, "ab", lmax_out)


def bracket_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Take the Poisson bracket of two functions."""
    return _product(x, y, "[ab]", lmax_out)


def gaunt_powers(x: Tensor, order: int, lmax_out: int) -> Tensor:
    """Return the powers 2 to ``order``, projected, stacked in front."""
    if order > _MOST_FACTORS:
        return grid.gaunt_powers(x, order, lmax_out)
    forms = ",".join("a" * power for power in range(2, order + 1))
    powers = sphere_forms([_flat(x)], forms, [lmax_out] * (order - 1))
    stacked = torch.stack(powers)
    return stacked.reshape(order - 1, *x.shape[:-2], *stacked.shape[-2:])


def sphere_forms(functions: Sequence[Tensor], forms: str, lmax_out: Sequence[int]) -> list[Tensor]:
    """Evaluate sums of products and brackets of functions, projected.

    Args:
        functions: Coefficients [batch, (lmax + 1)^2, channels], one dtype, batch and channels;
            strides are free.
        forms: Text of the forms, see :mod:`equinet.ops.native.forms`.
        lmax_out: Degree of each output.

    Returns:
        Coefficients [batch, (lmax_out + 1)^2, channels].
    """
    if torch.compiler.is_compiling():
        return torch.ops.equinet.sphere_forms.default(functions, forms, lmax_out)
    # The dispatcher would call this function after a detour from Python to C++ and back.
    return _evaluate_with_gradient(functions, forms, lmax_out)


def register() -> None:
    """Tell torch shapes and derivatives of the op; once, after its library is loaded."""
    torch.library.register_fake("equinet::sphere_forms", _allocate)
    # torch.library.register_autograd wraps lists of tensors at five times the cost of the op.
    _LIBRARY.impl("sphere_forms", _evaluate_with_gradient, "Autograd")


# The kernel of the op for the Autograd key lives as long as this object.
_LIBRARY = torch.library.Library("equinet", "IMPL")


def _product(x: Tensor, y: Tensor, forms: str, lmax_out: int) -> Tensor:
    # The usual case first: what follows takes microseconds, as long as a small product itself.
    if x.ndim == y.ndim == 3 and x.shape[::2] == y.shape[::2]:
        return sphere_forms([x, y], forms, [lmax_out])[0]
    if x.shape[:-2] != y.shape[:-2] or x.shape[-1] != y.shape[-1]:
        batch = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        x = x.expand(*batch, -1, -1)
        y = y.expand(*batch, -1, x.shape[-1])
    (z,) = sphere_forms([_flat(x), _flat(y)], forms, [lmax_out])
    return z if x.ndim == 3 else z.reshape(*x.shape[:-2], *z.shape[-2:])


def _flat(x: Tensor) -> Tensor:
    return x if x.ndim == 3 else x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def _evaluate(functions: Sequence[Tensor], forms: str, lmax_out: Sequence[int]) -> list[Tensor]:
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.equinet.sphere_forms.default(functions, forms, lmax_out)


def _allocate(functions: Sequence[Tensor], forms: str, lmax_out: Sequence[int]) -> list[Tensor]:
    batch, _, channels = functions[0].shape
    return [functions[0].new_empty(batch, (lmax + 1) ** 2, channels) for lmax in lmax_out]


def _evaluate_with_gradient(
    functions: Sequence[Tensor], forms: str, lmax_out: Sequence[int]
) -> list[Tensor]:
    # Kernels would lose the tangents of the forward mode, and know no batches of vmap.
    if is_transformed():
        return portable.sphere_forms(functions, forms, lmax_out)
    if torch.is_grad_enabled():
        for x in functions:
            if x.requires_grad:
                return list(_SphereForms.apply(forms, lmax_out, *functions))
    return _evaluate(functions, forms, lmax_out)


class _SphereForms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, forms: str, lmax_out: Sequence[int], *functions: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.forms = forms
        ctx.save_for_backward(*functions)
        return tuple(_evaluate(functions, forms, lmax_out))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        functions = ctx.saved_tensors
        wanted = tuple(i for i, needed in enumerate(ctx.needs_input_grad[2:]) if needed)
        outputs = tuple(o for o, gradient in enumerate(gradients) if gradient is not None)
        derivative = differentiate(ctx.forms, len(functions), wanted, outputs)
        result: list[Tensor | None] = [None] * len(functions)
        if derivative.wanted:
            known = (*functions, *gradients)
            lmax = [degree_of(functions[i]) for i in derivative.wanted]
            operands = [known[i] for i in derivative.operands]
            for i, z in zip(
                derivative.wanted, sphere_forms(operands, derivative.forms, lmax), strict=True
            ):
                result[i] = z
        return (None, None, *result)
