"""The sum over edges of the convolution by the native ops, and its derivatives of any order.

Everything is a derivative of one form in the harmonics Y of the edges, their radial weights r and
the samples u and v at both ends,

    T(Y, r, u, v) = sum over e, p, l, c of
        (sum_m Y[e, lm] H[p, lm]) r[e, l, c] u[source(e), p, c] v[target(e), p, c],

with the harmonics H at points p that are opposite to one another two by two. ``filter_sum`` is its
derivative by v, ``filter_correlation`` those by Y and r. Each is differentiated by the two of them,
at second order with two filters at once, so that autograd closes at every order.
"""

from typing import Any

import torch
from torch import Tensor

from equinet.o3 import is_transformed
from equinet.ops.native import portable
from equinet.ops.native.recording import is_recorded


def filter_sum(
    harmonics: Tensor,
    radial: Tensor,
    samples: Tensor,
    table: Tensor | None,
    source: Tensor,
    target: Tensor,
    targets: int,
    other: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Sum filtered samples of the sources over the edges of each target.

    Args:
        harmonics: Harmonics [E, (lmax + 1)²] of the edges.
        radial: Weights [E, lmax + 1, C].
        samples: [sources, P, C].
        table: Harmonics at the first half of the points [P / 2, (lmax + 1)^2]; point P / 2 + p is
            opposite to point p. None where "points" are the filter's components, P = (lmax + 1)^2
            or, one sample for all of them, P = 1.
        source: Index [E] into ``samples``.
        target: Index [E] into the result.
        targets: Rows of the result.
        other: Harmonics and weights of a second filter, which is added to the first.

    Returns:
        [targets, P, C]; without table [targets, (lmax + 1)^2, C] from one sample and vice versa.
    """
    both = (harmonics, radial, *(other or (None, None)))
    return _dispatch_sum(*both, samples, table, source, target, targets)


def filter_correlation(
    harmonics: Tensor | None,
    radial: Tensor | None,
    u: Tensor,
    v: Tensor,
    table: Tensor | None,
    source: Tensor,
    target: Tensor,
) -> tuple[Tensor, Tensor]:
    """Differentiate the form of the module by the harmonics and by the radial weights.

    Args:
        harmonics: Harmonics [E, (lmax + 1)²], or None where the second result is not wanted.
        radial: Weights [E, lmax + 1, C], or None where the first result is not wanted.
        u: Samples at the sources, as in :func:`filter_sum`.
        v: Samples at the targets, of the shape of its result.
        table: Harmonics at the first half of the points, or None, as in :func:`filter_sum`.
        source: Index [E] into ``u``.
        target: Index [E] into ``v``.

    Returns:
        [E, (lmax + 1)²] and [E, lmax + 1, C]; a result that is not wanted is empty.
    """
    return _dispatch_correlation(harmonics, radial, u, v, table, source, target)


def register() -> None:
    """Tell torch shapes and derivatives of both ops; once, after their library is loaded."""
    torch.library.register_fake("equinet::filter_sum", _allocate_sum)
    torch.library.register_fake("equinet::filter_correlation", _allocate_correlation)
    # torch.library.register_autograd costs several times as much a call.
    _LIBRARY.impl("filter_sum", _sum_with_gradient, "Autograd")
    _LIBRARY.impl("filter_correlation", _correlation_with_gradient, "Autograd")


# The kernels of the op for the Autograd key live as long as this object.
_LIBRARY = torch.library.Library("equinet", "IMPL")


def _allocate_sum(
    harmonics: Tensor,
    radial: Tensor,
    other_harmonics: Tensor | None,
    other_radial: Tensor | None,
    samples: Tensor,
    table: Tensor | None,
    source: Tensor,
    target: Tensor,
    targets: int | torch.SymInt,
) -> Tensor:
    points = samples.shape[1]
    if table is None:
        points = harmonics.shape[1] if points == 1 else 1
    return samples.new_empty(targets, points, samples.shape[2])


def _allocate_correlation(
    harmonics: Tensor | None,
    radial: Tensor | None,
    u: Tensor,
    v: Tensor,
    table: Tensor | None,
    source: Tensor,
    target: Tensor,
) -> tuple[Tensor, Tensor]:
    edges = source.shape[0]
    by_harmonics = u.new_empty(0 if radial is None else (edges, radial.shape[1] ** 2))
    if harmonics is None:
        return by_harmonics, u.new_empty(0)
    degrees = round(int(harmonics.shape[1]) ** 0.5)
    return by_harmonics, u.new_empty(edges, degrees, u.shape[2])


def _dispatch_sum(*arguments: Any) -> Tensor:
    if _is_portable(arguments[5]):
        return _portable_sum(*arguments)
    return torch.ops.equinet.filter_sum.default(*arguments)


def _dispatch_correlation(*arguments: Any) -> tuple[Tensor, Tensor]:
    if _is_portable(arguments[4]):
        return portable.filter_correlation(*arguments)
    return torch.ops.equinet.filter_correlation.default(*arguments)


def _is_portable(table: Tensor | None) -> bool:
    """Tell whether a derivative is needed that the kernels lack: they would leave it at zero."""
    return is_transformed() or (
        table is not None and table.requires_grad and torch.is_grad_enabled()
    )


def _portable_sum(
    harmonics: Tensor,
    radial: Tensor,
    other_harmonics: Tensor | None,
    other_radial: Tensor | None,
    *arguments: Any,
) -> Tensor:
    filters = [(harmonics, radial)]
    if other_harmonics is not None and other_radial is not None:
        filters.append((other_harmonics, other_radial))
    return portable.filter_sum(filters, *arguments)


def _sum_with_gradient(*arguments: Any) -> Tensor:
    if _is_portable(arguments[5]):
        return _portable_sum(*arguments)
    if is_recorded(arguments):
        return _FilterSum.apply(*arguments)
    return _sum(*arguments)


def _correlation_with_gradient(*arguments: Any) -> tuple[Tensor, Tensor]:
    if _is_portable(arguments[4]):
        return portable.filter_correlation(*arguments)
    if is_recorded(arguments):
        return _FilterCorrelation.apply(*arguments)
    return _correlation(*arguments)


def _sum(*arguments: Any) -> Tensor:
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.equinet.filter_sum.default(*arguments)


def _correlation(*arguments: Any) -> tuple[Tensor, Tensor]:
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.equinet.filter_correlation.default(*arguments)


class _FilterSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        harmonics: Tensor,
        radial: Tensor,
        other_harmonics: Tensor | None,
        other_radial: Tensor | None,
        samples: Tensor,
        table: Tensor | None,
        source: Tensor,
        target: Tensor,
        targets: int | torch.SymInt,
    ) -> Tensor:
        filters = (harmonics, radial, other_harmonics, other_radial)
        ctx.save_for_backward(*filters, samples, table, source, target)
        return _sum(*filters, samples, table, source, target, targets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (v,) = gradients
        *filters, samples, table, source, target = ctx.saved_tensors
        needs = ctx.needs_input_grad
        result: list[Tensor | None] = [None] * len(needs)
        for q in (0, 2):
            if needs[q] or needs[q + 1]:
                by_harmonics, by_radial = _dispatch_correlation(
                    filters[q] if needs[q + 1] else None,
                    filters[q + 1] if needs[q] else None,
                    samples,
                    v,
                    table,
                    source,
                    target,
                )
                result[q] = by_harmonics if needs[q] else None
                result[q + 1] = by_radial if needs[q + 1] else None
        if needs[4]:
            result[4] = _dispatch_sum(*filters, v, table, target, source, samples.shape[0])
        return tuple(result)


class _FilterCorrelation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        harmonics: Tensor | None,
        radial: Tensor | None,
        u: Tensor,
        v: Tensor,
        table: Tensor | None,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(harmonics, radial, u, v, table, source, target)
        return _correlation(harmonics, radial, u, v, table, source, target)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        # The form differentiated here is T(a, r, u, v) + T(Y, b, u, v).
        a, b = gradients
        harmonics, radial, u, v, table, source, target = ctx.saved_tensors
        if radial is None:
            a = None
        if harmonics is None:
            b = None
        needs_harmonics, needs_radial, needs_u, needs_v, *_ = ctx.needs_input_grad
        needs_harmonics = needs_harmonics and b is not None
        needs_radial = needs_radial and a is not None
        result: list[Tensor | None] = [None] * len(ctx.needs_input_grad)
        if needs_harmonics or needs_radial:
            by_harmonics, by_radial = _dispatch_correlation(
                a if needs_radial else None,
                b if needs_harmonics else None,
                u,
                v,
                table,
                source,
                target,
            )
            result[0] = by_harmonics if needs_harmonics else None
            result[1] = by_radial if needs_radial else None
        filters = [
            pair
            for pair in ((a, radial), (harmonics, b))
            if pair[0] is not None and pair[1] is not None
        ]
        if filters:
            both = [*filters, (None, None)][:2]
            arguments = [tensor for pair in both for tensor in pair]
            if needs_u:
                result[2] = _dispatch_sum(*arguments, v, table, target, source, u.shape[0])
            if needs_v:
                result[3] = _dispatch_sum(*arguments, u, table, source, target, v.shape[0])
        return tuple(result)
