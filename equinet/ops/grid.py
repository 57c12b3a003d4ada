"""Products of functions on the sphere as matrix products with an exact quadrature.

A function of degree L is sampled with one constant matrix, samples are multiplied point by point,
and the product is projected with a second matrix. The result is exact where the rule integrates
polynomials of the summed degree of all factors, the output's included.
"""

import math

import numpy as np
import torch
from torch import Tensor

from equinet.o3 import (
    bracket_tensor,
    constant_table,
    degree_of,
    degrees,
    matmul,
    quadrature,
    spherical_harmonics,
)


def gaunt_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Multiply two functions: three matrix products."""
    degree = degree_of(x) + degree_of(y) + lmax_out
    return from_grid(to_grid(x, degree) * to_grid(y, degree), degree, lmax_out)


def bracket_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Take the Poisson bracket of two functions: as the product, from two slopes of each.

    The bracket lowers the degree by one, so a rule of one degree less is exact.
    """
    degree = max(degree_of(x) + degree_of(y) + lmax_out - 1, 0)
    f, g = slopes_on_grid(x, degree), slopes_on_grid(y, degree)
    bracket = f[..., 0, :, :] * g[..., 1, :, :] - f[..., 1, :, :] * g[..., 0, :, :]
    return from_grid(bracket, degree, lmax_out)


def gaunt_powers(x: Tensor, order: int, lmax_out: int) -> Tensor:
    """Return the powers 2 to ``order``, projected, stacked in front: a running product."""
    degree = order * degree_of(x) + lmax_out
    values = to_grid(x, degree)
    powers = [values * values]
    while len(powers) < order - 1:
        powers.append(powers[-1] * values)
    return from_grid(torch.stack(powers), degree, lmax_out)


def to_grid(x: Tensor, degree: int) -> Tensor:
    """Sample functions [..., lm, C] on the points of ``quadrature(degree)``: [..., P, C]."""
    return matmul(_evaluation(degree_of(x), degree, dtype=x.dtype, device=x.device), x)


def from_grid(values: Tensor, degree: int, lmax: int) -> Tensor:
    """Integrate samples [..., P, C] against the harmonics up to ``lmax``: [..., lm, C]."""
    return matmul(_projection(lmax, degree, dtype=values.dtype, device=values.device), values)


def slopes_on_grid(x: Tensor, degree: int) -> Tensor:
    """Sample two tangential derivatives of functions [..., lm, C]: [..., 2, P, C]."""
    slopes = _slopes(degree_of(x), degree, dtype=x.dtype, device=x.device)
    return matmul(slopes, x).unflatten(-2, (2, -1))


def harmonics_on_grid(lmax: int, degree: int) -> np.ndarray:
    """Evaluate the harmonics on the points of ``quadrature(degree)``: [P, lm]."""
    return spherical_harmonics(lmax, quadrature(degree).points).numpy()


def of_degree(lmax: int) -> np.ndarray:
    """Matrix [lm, l], one where the harmonic is of the degree, else zero."""
    return (degrees(lmax)[:, None] == np.arange(lmax + 1)).astype(float)


degree_selection = constant_table(of_degree)
_evaluation = constant_table(harmonics_on_grid)


@constant_table
def _projection(lmax: int, degree: int) -> np.ndarray:
    weights = quadrature(degree).weights.numpy()
    return np.ascontiguousarray((harmonics_on_grid(lmax, degree) * weights[:, None]).T)


@constant_table
def _slopes(lmax: int, degree: int) -> np.ndarray:
    """Two components of ``n x grad Y`` in a tangential frame at each point: [2 P, lm].

    The frame (a, b, n) is right-handed, so the bracket ``n . (grad f x grad g)`` is
    ``f_a g_b - f_b g_a``; a rotation of both gradients by 90 degrees about n leaves it as it is.
    """
    points = quadrature(degree).points.numpy()
    # The axis furthest from each point keeps the frame well conditioned.
    axes = np.eye(3)[np.abs(points).argmin(1)]
    first = np.cross(axes, points)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    frames = np.stack([first, np.cross(points, first)])
    # {n_k, f} = -(n x grad f)_k and n_k = sqrt(4 pi / 3) Y_1k: one row of the bracket's table
    # is the generator of the rotations about axis k.
    generators = -math.sqrt(4 * math.pi / 3) * bracket_tensor(1, lmax, lmax).numpy()[1:]
    turned = np.einsum("kji,pi->kpj", generators, harmonics_on_grid(lmax, degree))
    return np.einsum("apk,kpj->apj", frames, turned).reshape(2 * len(points), -1)
