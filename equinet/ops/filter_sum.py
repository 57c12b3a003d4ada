"""The sum over edges at the heart of the grid convolution, without edge-sized intermediates.

With samples ``u[node, p, c]`` on the grid's points p and a filter ``sum_l k[e, p, l] r[e, l, c]``
on each edge, everything that the convolution and its derivatives of any order need is one
multilinear form in k, r, u (at the source of an edge) and v (at its target):

    T(k, r, u, v) = sum over e, p, c, l of
        k[e, p, l] * r[e, l, c] * u[source(e), p, c] * v[target(e), p, c]

:func:`filter_sum` is its derivative by v, :func:`filter_correlation` those by k and r. Each is
differentiated by the two of them, so that autograd closes at every order. Both pass over the
edges in pieces that stay in cache: the [E, P, C] products never reach memory, and nothing of that
size is kept for the backward pass.
"""

from typing import Any

import torch
from torch import Tensor

from equinet.o3 import is_transformed, matmul

# Elements of the [edges, P, C] pieces: 2 MB in float32, the size of a core's cache (measured
# flat from 1 to 4 MB); on accelerators large enough to fill the device.
_PIECE_ON_CPU = 2**19
_PIECE_ELSEWHERE = 2**26


def filter_sum(
    k: Tensor, r: Tensor, u: Tensor, source: Tensor, target: Tensor, targets: int
) -> Tensor:
    """Return ``out[i] = sum over edges e with target i of (k[e] @ r[e]) * u[source(e)]``.

    Args:
        k: Matrices [E, P, K].
        r: Weights [E, K, C].
        u: Samples [sources, P, C].
        source: Index [E] into ``u``.
        target: Index [E] into the result; edges in any order.
        targets: Number of rows of the result.

    Returns:
        Samples [targets, P, C].
    """
    if _is_traced(k.shape[0]):
        h = matmul(k, r) * u.index_select(0, source)
        return u.new_zeros(targets, *u.shape[1:]).index_add(0, target, h)
    return _FilterSum.apply(k, r, u, source, target, targets)


def filter_correlation(
    k: Tensor | None, r: Tensor | None, u: Tensor, v: Tensor, source: Tensor, target: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return ``h[e] @ r[e].T`` and ``k[e].T @ h[e]`` with ``h[e] = u[source(e)] * v[target(e)]``.

    Args:
        k: Matrices [E, P, K], or None where the second result is not wanted.
        r: Weights [E, K, C], or None where the first result is not wanted.
        u: Samples [sources, P, C].
        v: Samples [targets, P, C].
        source: Index [E] into ``u``.
        target: Index [E] into ``v``.

    Returns:
        [E, P, K] and [E, K, C], or None.
    """
    if _is_traced(source.shape[0]):
        h = u.index_select(0, source) * v.index_select(0, target)
        by_r = None if r is None else matmul(h, r.mT)
        return by_r, None if k is None else matmul(k.mT, h)
    return _FilterCorrelation.apply(k, r, u, v, source, target)


def _is_traced(edges: int | torch.SymInt) -> bool:
    """Tell whether a compiler or a transform traces the call and needs plain operations.

    To compilers, a loop over pieces would settle the number of edges once and for all.
    """
    return torch.compiler.is_compiling() or isinstance(edges, torch.SymInt) or is_transformed()


class _FilterSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, k: Tensor, r: Tensor, u: Tensor, source: Tensor, target: Tensor, targets: int
    ) -> Tensor:
        ctx.save_for_backward(k, r, u, source, target)
        points, channels = u.shape[1:]
        out = u.new_zeros(targets, points * channels)
        piece, filtered, gathered = _pieces(u)
        for start in range(0, len(k), piece):
            edges = slice(start, min(start + piece, len(k)))
            count = edges.stop - start
            h = torch.bmm(k[edges], r[edges], out=filtered[:count])
            h *= torch.index_select(u, 0, source[edges], out=gathered[:count])
            out.index_add_(0, target[edges], h.view(count, -1))
        return out.view(targets, points, channels)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (v,) = gradients
        k, r, u, source, target = ctx.saved_tensors
        needs_k, needs_r, needs_u, *_ = ctx.needs_input_grad
        k_gradient = r_gradient = u_gradient = None
        if needs_k or needs_r:
            k_gradient, r_gradient = filter_correlation(
                k if needs_r else None, r if needs_k else None, u, v, source, target
            )
        if needs_u:
            u_gradient = filter_sum(k, r, v, target, source, len(u))
        return k_gradient, r_gradient, u_gradient, None, None, None


class _FilterCorrelation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        k: Tensor | None,
        r: Tensor | None,
        u: Tensor,
        v: Tensor,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(k, r, u, v, source, target)
        points, channels = u.shape[1:]
        by_r = None if r is None else u.new_empty(len(source), points, r.shape[1])
        by_k = None if k is None else u.new_empty(len(source), k.shape[2], channels)
        piece, first, second = _pieces(u)
        for start in range(0, len(source), piece):
            edges = slice(start, min(start + piece, len(source)))
            count = edges.stop - start
            h = torch.index_select(u, 0, source[edges], out=first[:count])
            h *= torch.index_select(v, 0, target[edges], out=second[:count])
            if by_r is not None and r is not None:
                torch.bmm(h, r[edges].mT, out=by_r[edges])
            if by_k is not None and k is not None:
                torch.bmm(k[edges].mT, h, out=by_k[edges])
        return by_r, by_k

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        # The form differentiated here is <a, h r.T> + <b, k.T h>.
        a, b = gradients
        k, r, u, v, source, target = ctx.saved_tensors
        if r is None:
            a = None
        if k is None:
            b = None
        needs_k, needs_r, needs_u, needs_v, *_ = ctx.needs_input_grad
        k_gradient = r_gradient = u_gradient = v_gradient = None
        wants_k, wants_r = needs_k and b is not None, needs_r and a is not None
        if wants_k or wants_r:
            k_gradient, r_gradient = filter_correlation(
                a if wants_r else None, b if wants_k else None, u, v, source, target
            )
        pairs = [
            (left, right)
            for left, right in ((a, r), (k, b))
            if left is not None and right is not None
        ]
        if pairs:
            both_k = torch.cat([left for left, _ in pairs], dim=2)
            both_r = torch.cat([right for _, right in pairs], dim=1)
            if needs_u:
                u_gradient = filter_sum(both_k, both_r, v, target, source, len(u))
            if needs_v:
                v_gradient = filter_sum(both_k, both_r, u, source, target, len(v))
        return k_gradient, r_gradient, u_gradient, v_gradient, None, None


def _pieces(u: Tensor) -> tuple[int, Tensor, Tensor]:
    """Return the number of edges in a piece and two buffers for its samples."""
    elements = _PIECE_ON_CPU if u.device.type == "cpu" else _PIECE_ELSEWHERE
    points, channels = u.shape[1:]
    piece = max(1, elements // max(1, points * channels))
    return piece, u.new_empty(piece, points, channels), u.new_empty(piece, points, channels)
