"""Sums of weighted monomials by the native ops, and their derivatives of any order.

Everything is a derivative of one form in weights w and features x of nodes,

    T(w, x_1 … x_F) = sum over n, t, c of w[kind(n), t, c] x_1[n, table[t, 1], c] … x_F[…].

``monomial_sum`` is its derivative by the last feature, ``monomial_weights`` that by the weights.
Each is differentiated by the two of them, with the columns of the table in another order, so that
autograd closes at every order. Below, weights of None stand for the derivative by the weights, and
"size" is that of what the form is differentiated by: the number of components or of kinds.
"""

from typing import Any

import torch
from torch import Tensor

from equinet.o3 import is_transformed
from equinet.ops import reference
from equinet.ops.native.recording import is_recorded

_FACTORS = 3
"""Largest number of factors of a monomial."""


def monomial_sum(
    weights: Tensor, kind: Tensor, factors: tuple[Tensor, ...], table: Tensor, components: int
) -> Tensor:
    """Sum weighted monomials, see :func:`equinet.ops.monomial_sum`."""
    return _evaluate(weights, kind, factors, table, components)


def register() -> None:
    """Tell torch shapes and derivatives of both ops; once, after their library is loaded."""
    torch.library.register_fake("equinet::monomial_sum", _allocate_sum)
    torch.library.register_fake("equinet::monomial_weights", _allocate_weights)
    # torch.library.register_autograd costs several times as much a call.
    _LIBRARY.impl("monomial_sum", _sum_with_gradient, "Autograd")
    _LIBRARY.impl("monomial_weights", _weights_with_gradient, "Autograd")


# The kernels of the op for the Autograd key live as long as this object.
_LIBRARY = torch.library.Library("equinet", "IMPL")


def _allocate_sum(
    weights: Tensor,
    kind: Tensor,
    a: Tensor,
    b: Tensor | None,
    c: Tensor | None,
    table: Tensor,
    components: int | torch.SymInt,
) -> Tensor:
    return a.new_empty(kind.shape[0], components, a.shape[2])


def _allocate_weights(
    kind: Tensor,
    a: Tensor,
    b: Tensor | None,
    c: Tensor | None,
    d: Tensor | None,
    table: Tensor,
    kinds: int | torch.SymInt,
) -> Tensor:
    return a.new_empty(kinds, table.shape[0], a.shape[2])


def _sum_with_gradient(weights: Tensor, kind: Tensor, *rest: Any) -> Tensor:
    return _with_gradient(weights, kind, *rest)


def _weights_with_gradient(kind: Tensor, *rest: Any) -> Tensor:
    return _with_gradient(None, kind, *rest)


def _with_gradient(weights: Tensor | None, kind: Tensor, *rest: Any) -> Tensor:
    *padded, table, size = rest
    features = tuple(each for each in padded if each is not None)
    if is_transformed():
        return _evaluate(weights, kind, features, table, size)
    if is_recorded((weights, *features)):
        return _Form.apply(weights, kind, table, size, *features)
    with torch._C._AutoDispatchBelowAutograd():
        return _evaluate(weights, kind, features, table, size)


def _evaluate(
    weights: Tensor | None,
    kind: Tensor,
    features: tuple[Tensor, ...],
    table: Tensor,
    size: Any,  # int, or torch.SymInt where shapes are traced
) -> Tensor:
    """Differentiate the form by the weights if there are none, else by the missing feature."""
    if weights is None:
        if is_transformed():
            return reference.monomial_weights(kind, features, table, size)
        padded = (*features, *(None,) * (_FACTORS + 1 - len(features)))
        return torch.ops.equinet.monomial_weights.default(kind, *padded, table, size)
    if is_transformed():
        return reference.monomial_sum(weights, kind, features, table, size)
    padded = (*features, *(None,) * (_FACTORS - len(features)))
    return torch.ops.equinet.monomial_sum.default(weights, kind, *padded, table, size)


class _Form(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weights: Tensor | None,
        kind: Tensor,
        table: Tensor,
        size: int | torch.SymInt,
        *features: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(weights, kind, table, *features)
        with torch._C._AutoDispatchBelowAutograd():
            return _evaluate(weights, kind, features, table, size)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weights, kind, table, *features = ctx.saved_tensors
        by_weights, _, _, _, *by_features = ctx.needs_input_grad
        # With the gradient in the place of what was missing, the form is complete.
        if weights is None:
            (weights,) = gradients
        else:
            features += gradients
        result: list[Tensor | None] = [None] * len(ctx.needs_input_grad)
        if by_weights:
            result[0] = _evaluate(None, kind, tuple(features), table, weights.shape[0])
        for number, is_needed in enumerate(by_features):
            if is_needed:
                others, permuted = _without(features, number, table)
                size = features[number].shape[1]
                result[4 + number] = _evaluate(weights, kind, others, permuted, size)
        return tuple(result)


def _without(
    features: list[Tensor], number: int, table: Tensor
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Leave a feature out and make its column of the table the last one, that of the result."""
    order = [*(i for i in range(len(features)) if i != number), number]
    return tuple(features[i] for i in order[:-1]), table[:, order].contiguous()
