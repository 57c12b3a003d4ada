"""What the native ops compute, in plain operations of torch, where their kernels do not reach.

Kernels know reverse-mode derivatives alone, and none by the points of a grid. These functions know
them all, on the grid of the backend "grid".
"""

import functools
import operator
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from equinet.o3 import constant_table, degree_of, degrees, matmul
from equinet.ops import filter_sum as plain
from equinet.ops.grid import degree_selection, from_grid, slopes_on_grid, to_grid
from equinet.ops.native.forms import Term, parse
from equinet.ops.operands import in_dtype, working_dtype


def sphere_forms(functions: Sequence[Tensor], forms: str, lmax_out: Sequence[int]) -> list[Tensor]:
    """Evaluate sums of products and brackets, see :func:`equinet.ops.native.sphere_forms`."""
    dtype = functions[0].dtype
    operands = [in_dtype(x, working_dtype(dtype)) for x in functions]
    outputs = []
    for terms, lmax in zip(parse(forms), lmax_out, strict=True):
        highest = max(sum(degree_of(operands[i]) for i in term.functions) for term in terms)
        degree = lmax + highest
        values = functools.reduce(operator.add, (_sample(term, operands, degree) for term in terms))
        outputs.append(in_dtype(from_grid(values, degree, lmax), dtype))
    return outputs


def filter_sum(
    filters: Sequence[tuple[Tensor, Tensor]],
    samples: Tensor,
    table: Tensor | None,
    source: Tensor,
    target: Tensor,
    targets: int,
) -> Tensor:
    """Sum filtered samples over edges, see :mod:`equinet.ops.native.filter_sum`.

    Args:
        filters: Harmonics [E, (lmax + 1)²] and weights [E, lmax + 1, C] of one filter or of two.
        samples: Samples of the sources [sources, P, C].
        table: Harmonics at the first half of the points, or None.
        source: Index [E] into ``samples``.
        target: Index [E] into the result.
        targets: Number of rows of the result.
    """
    kernels = torch.cat([_kernel(harmonics, table) for harmonics, _ in filters], dim=2)
    radial = torch.cat([weights for _, weights in filters], dim=1)
    spread = samples.expand(-1, kernels.shape[1], -1)
    summed = plain.filter_sum(kernels, radial, spread, source, target, targets)
    is_contracted = table is None and samples.shape[1] > 1
    return summed.sum(1, keepdim=True) if is_contracted else summed


def filter_correlation(
    harmonics: Tensor | None,
    radial: Tensor | None,
    u: Tensor,
    v: Tensor,
    table: Tensor | None,
    source: Tensor,
    target: Tensor,
) -> tuple[Tensor, Tensor]:
    """Differentiate the form by a filter, see :mod:`equinet.ops.native.filter_sum`."""
    points = max(u.shape[1], v.shape[1])
    kernel = None if harmonics is None else _kernel(harmonics, table)
    by_kernel, by_radial = plain.filter_correlation(
        kernel, radial, u.expand(-1, points, -1), v.expand(-1, points, -1), source, target
    )
    nothing = u.new_empty(0)
    by_harmonics = nothing
    if by_kernel is not None:
        lmax = by_kernel.shape[2] - 1
        by_harmonics = matmul(by_kernel.flatten(1), _zonal(lmax, by_kernel, table).mT)
    return by_harmonics, nothing if by_radial is None else by_radial


def _sample(term: Term, functions: Sequence[Tensor], degree: int) -> Tensor:
    """Return the values [..., P, C] of a term on the points of a quadrature."""
    if term.is_bracket:
        f, g = (slopes_on_grid(functions[i], degree) for i in term.functions)
        value = f[..., 0, :, :] * g[..., 1, :, :] - f[..., 1, :, :] * g[..., 0, :, :]
    else:
        values = {i: to_grid(functions[i], degree) for i in set(term.functions)}
        value = functools.reduce(operator.mul, (values[i] for i in term.functions))
    return value if term.coefficient == 1 else term.coefficient * value


def _kernel(harmonics: Tensor, table: Tensor | None) -> Tensor:
    """Return the filter of each degree at each point, without weights: [E, P, lmax + 1]."""
    lmax = round(int(harmonics.shape[1]) ** 0.5) - 1
    return matmul(harmonics, _zonal(lmax, harmonics, table)).unflatten(1, (-1, lmax + 1))


def _zonal(lmax: int, like: Tensor, table: Tensor | None) -> Tensor:
    """Matrix [lm, (P, l)] from the harmonics of an edge to the kernel."""
    of_degree = degree_selection(lmax, dtype=like.dtype, device=like.device)
    if table is None:
        # "Points" are the components themselves.
        return torch.diag_embed(of_degree.T).permute(1, 2, 0).flatten(1)
    parity = _parity(lmax, dtype=like.dtype, device=like.device)
    at_points = torch.cat([table, table * parity])
    return (at_points.T.unsqueeze(2) * of_degree.unsqueeze(1)).flatten(1)


@constant_table
def _parity(lmax: int) -> np.ndarray:
    """Factor [lm] of each harmonic between opposite points."""
    return (-1.0) ** degrees(lmax)
