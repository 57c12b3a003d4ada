"""Solid harmonics ``r^l Y_lm``, and their derivatives of any order in closed form.

To differentiate the recurrence would be right too, but takes many more operations, each of them a
launch on a GPU.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from equinet.o3.angles import angle_multiples
from equinet.o3.gaunt import gaunt_tensor
from equinet.o3.layout import degrees
from equinet.o3.legendre import legendre_recurrence
from equinet.o3.tables import constant_table


def solid_harmonics(lmax: int, vectors: Tensor, *, on_sphere: bool) -> Tensor:
    """Evaluate ``r^l Y_lm`` of vectors [3, N] as [lm, N].

    Args:
        lmax: Highest degree, at least 0.
        vectors: Vectors [3, N], components first.
        on_sphere: Whether all vectors are taken to have length one, which saves a few operations.
            Then only derivatives along the sphere have a meaning.
    """
    # Compilers fuse operations, and the forward mode could not differentiate what it differentiates
    # here a second time: both get the recurrence.
    if torch.compiler.is_compiling() or forward_ad._current_level >= 0:
        return _recur(lmax, vectors, on_sphere=on_sphere)
    harmonics: Tensor = _SolidHarmonics.apply(vectors, lmax, on_sphere)
    return harmonics


class _SolidHarmonics(torch.autograd.Function):
    """The recurrence; the slopes of harmonics of degree l are such of degree l - 1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(vectors: Tensor, lmax: int, on_sphere: bool) -> Tensor:
        return _recur(lmax, vectors, on_sphere=on_sphere)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.lmax = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (harmonics,) = ctx.saved_tensors
        slopes = _Slopes.apply(harmonics, ctx.lmax, False).unflatten(0, (3, -1))
        return (gradients[0] * slopes).sum(1), None, None


class _Slopes(torch.autograd.Function):
    """Derivatives [3 lm, N] along x, y and z of harmonics [lm, N], or the transpose of that map.

    On a GPU they have the precision of its matrix products.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, lmax: int, is_transposed: bool) -> Tensor:
        matrix = _slope_matrix(lmax, dtype=rows.dtype, device=rows.device)
        # Forces are derivatives that models take within a caller's autocast.
        with torch.autocast(rows.device.type, enabled=False):
            return (matrix.T if is_transposed else matrix) @ rows

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004 - the signature is fixed
        _, ctx.lmax, ctx.is_transposed = inputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Slopes.apply(gradients[0], ctx.lmax, not ctx.is_transposed), None, None


@constant_table
def _slope_matrix(lmax: int) -> np.ndarray:
    """Map [3 lm, lm] from harmonics to their derivatives along x, y and z.

    Of x times a harmonic polynomial of degree l, the part of degree l - 1 is its derivative along
    x, up to a factor of the degree.
    """
    degree = degrees(lmax)
    couplings = gaunt_tensor(lmax, 1, lmax).numpy()[:, 1:].transpose(1, 0, 2)
    is_below = degree[:, None] == degree + 1
    slopes = couplings * is_below * (2 * degree[:, None] + 1) * math.sqrt(4 * math.pi / 3)
    return slopes.reshape(-1, len(degree))


def _recur(lmax: int, vectors: Tensor, *, on_sphere: bool) -> Tensor:
    """Go from degree to degree.

    One block of ``2 lmax + 1`` rows (order m from -lmax to lmax) is carried from degree to degree,
    each with a few fused operations: elementwise arithmetic only, because a matrix product would
    lose digits under TF32 or autocast.
    """
    steps = _row_recurrence(lmax, dtype=vectors.dtype, device=vectors.device)
    square = None if on_sphere else vectors.square().sum(0)
    x, y, z = vectors.split(1)
    sectoral = torch.ones_like(y)
    if lmax > 0:
        cosines, sines = angle_multiples(lmax, z, x)
        sectoral = torch.cat([sines.flip(0), sectoral, cosines])
    previous, row = None, steps[0, 0] * sectoral
    rows = [row[lmax : lmax + 1]]
    for degree in range(1, lmax + 1):
        start, ahead, back = steps[degree]
        following = torch.addcmul(start * sectoral, ahead * row, y)
        if previous is not None:
            below = previous if square is None else previous * square
            following = torch.addcmul(following, back, below)
        previous, row = row, following
        rows.append(row[lmax - degree : lmax + degree + 1])
    return torch.cat(rows)


@constant_table
def _row_recurrence(lmax: int) -> np.ndarray:
    """Return coefficients [degree, 3, order, 1] of the sectoral term and of the two rows below."""
    steps = np.zeros((lmax + 1, 3, 2 * lmax + 1))
    sectoral = 1 / math.sqrt(4 * math.pi)
    for degree in range(lmax + 1):
        if degree > 0:
            sectoral *= math.sqrt((2 * degree + 1) / (2 * degree))
        for order in (-degree, degree):
            steps[degree, 0, lmax + order] = sectoral * (math.sqrt(2) if order else 1)
        for order in range(-degree + 1, degree):
            a, b = legendre_recurrence(degree, order)
            steps[degree, 1, lmax + order] = a
            steps[degree, 2, lmax + order] = -a * b
    return steps[..., None]
