"""Sums of weighted monomials by the native ops, and their derivatives of any order.

Everything is a derivative of one form in weights w and features x of nodes,

    T(w, x_1 … x_F) = sum over n, t, c of w[kind(n), t, c] x_1[n, table[t, 1], c] … x_F[…].

``monomial_sum`` is its derivative by the last feature, ``monomial_weights`` that by the weights.
Each is differentiated by the two of them, with the columns of the table in another order, so that
autograd closes at every order.
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
    return _dispatch_sum(weights, kind, *_padded(factors, _FACTORS), table, components)


def register() -> None:
    """Tell torch shapes and derivatives of both ops; once, after their library is loaded."""
    torch.library.register_fake("equinet::monomial_sum", _allocate_sum)
    torch.library.register_fake("equinet::monomial_weights", _allocate_weights)
    # torch.library.register_autograd costs several times as much a call.
    _LIBRARY.impl("monomial_sum", _sum_with_gradient, "Autograd")
    _LIBRARY.impl("monomial_weights", _weights_with_gradient, "Autograd")


# The kernels of the op for the Autograd key live as long as this object.
_LIBRARY = torch.library.Library("equinet", "IMPL")


def _padded(factors: tuple[Tensor, ...], size: int) -> tuple[Tensor | None, ...]:
    return (*factors, *(None,) * (size - len(factors)))


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


def _dispatch_sum(*arguments: Any) -> Tensor:
    if is_transformed():
        return _portable_sum(*arguments)
    return torch.ops.equinet.monomial_sum.default(*arguments)


def _dispatch_weights(*arguments: Any) -> Tensor:
    if is_transformed():
        return _portable_weights(*arguments)
    return torch.ops.equinet.monomial_weights.default(*arguments)


def _portable_sum(weights: Tensor, kind: Tensor, *rest: Any) -> Tensor:
    *factors, table, components = rest
    return reference.monomial_sum(weights, kind, _given(factors), table, components)


def _portable_weights(kind: Tensor, *rest: Any) -> Tensor:
    *features, table, kinds = rest
    return reference.monomial_weights(kind, _given(features), table, kinds)


def _given(features: Any) -> tuple[Tensor, ...]:
    return tuple(each for each in features if each is not None)


def _sum_with_gradient(*arguments: Any) -> Tensor:
    if is_transformed():
        return _portable_sum(*arguments)
    if is_recorded(arguments):
        return _MonomialSum.apply(*arguments)
    return _sum(*arguments)


def _weights_with_gradient(*arguments: Any) -> Tensor:
    if is_transformed():
        return _portable_weights(*arguments)
    if is_recorded(arguments):
        return _MonomialWeights.apply(*arguments)
    return _weights(*arguments)


def _sum(*arguments: Any) -> Tensor:
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.equinet.monomial_sum.default(*arguments)


def _weights(*arguments: Any) -> Tensor:
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.equinet.monomial_weights.default(*arguments)


def _without(
    features: tuple[Tensor, ...], number: int, table: Tensor
) -> tuple[tuple[Tensor | None, ...], Tensor]:
    """Leave a feature out and make its column of the table the last one, that of the result."""
    order = [*(i for i in range(len(features)) if i != number), number]
    others = tuple(features[i] for i in order[:-1])
    return _padded(others, _FACTORS), table[:, order].contiguous()


class _MonomialSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weights: Tensor,
        kind: Tensor,
        a: Tensor,
        b: Tensor | None,
        c: Tensor | None,
        table: Tensor,
        components: int | torch.SymInt,
    ) -> Tensor:
        ctx.save_for_backward(weights, kind, table, a, b, c)
        return _sum(weights, kind, a, b, c, table, components)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weights, kind, table, *factors = ctx.saved_tensors
        features = (*_given(factors), gradients[0])
        by_weights = None
        if ctx.needs_input_grad[0]:
            padded = _padded(features, _FACTORS + 1)
            by_weights = _dispatch_weights(kind, *padded, table, weights.shape[0])
        by_factors: list[Tensor | None] = [None] * _FACTORS
        for number, factor in enumerate(features[:-1]):
            if ctx.needs_input_grad[2 + number]:
                others, permuted = _without(features, number, table)
                by_factors[number] = _dispatch_sum(
                    weights, kind, *others, permuted, factor.shape[1]
                )
        return by_weights, None, *by_factors, None, None


class _MonomialWeights(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kind: Tensor,
        a: Tensor,
        b: Tensor | None,
        c: Tensor | None,
        d: Tensor | None,
        table: Tensor,
        kinds: int | torch.SymInt,
    ) -> Tensor:
        ctx.save_for_backward(kind, table, a, b, c, d)
        return _weights(kind, a, b, c, d, table, kinds)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kind, table, *given = ctx.saved_tensors
        features = _given(given)
        by_features: list[Tensor | None] = [None] * (_FACTORS + 1)
        for number, feature in enumerate(features):
            if ctx.needs_input_grad[1 + number]:
                others, permuted = _without(features, number, table)
                by_features[number] = _dispatch_sum(
                    gradients[0], kind, *others, permuted, feature.shape[1]
                )
        return None, *by_features, None, None
