"""Products of functions on the sphere by the convolution theorem on a torus.

Continued to the polar angles beyond pi, where (beta, alpha) is the point (2 pi - beta,
alpha + pi), a function of degree L is a trigonometric polynomial of degree L in both angles.
Products are convolutions of its coefficients, done by FFTs without wrap-around, and the integral
against a harmonic has a closed form.

Source: S. Luo, T. Chen and A. S. Krishnapriyan, Enabling Efficient Equivariant Operations in the
Fourier Basis via Gaunt Tensor Products, ICLR 2024; the algorithm itself: H. Xin et al., Fast and
Accurate Spherical Harmonics Products, SIGGRAPH Asia 2021.
"""

import math

import numpy as np
import torch
from torch import Tensor

from equinet.o3 import constant_table, degree_of, degrees, matmul, orders, spherical_harmonics
from equinet.ops import reference

_VALUE, _BETA, _ALPHA = 0, 1, 2  # choices of the sampled derivative
# Coefficients on the torus are kept as [..., V, U, C], v >= 0 in front: one small matrix per v.
_AXES = (-2, -3)


def gaunt_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Multiply two functions: three FFTs."""
    if x.numel() == 0 or y.numel() == 0:  # FFT libraries refuse empty batches
        return reference.gaunt_product(x, y, lmax_out)
    band = degree_of(x) + degree_of(y)
    f = _to_torus(x, band, lmax_out, _VALUE)
    return _from_torus(f * _to_torus(y, band, lmax_out, _VALUE), lmax_out, odd=False)


def bracket_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Take the Poisson bracket of two functions by spectral derivatives: five FFTs.

    ``sin(beta) {f, g} = f_beta g_alpha - f_alpha g_beta``: the sine is that of the measure.
    """
    if x.numel() == 0 or y.numel() == 0:
        return reference.bracket_product(x, y, lmax_out)
    band = degree_of(x) + degree_of(y)
    f_beta, f_alpha = (_to_torus(x, band, lmax_out, which) for which in (_BETA, _ALPHA))
    g_beta, g_alpha = (_to_torus(y, band, lmax_out, which) for which in (_BETA, _ALPHA))
    return _from_torus(f_beta * g_alpha - f_alpha * g_beta, lmax_out, odd=True)


def gaunt_powers(x: Tensor, order: int, lmax_out: int) -> Tensor:
    """Return the powers 2 to ``order``, projected, stacked in front: divide and conquer."""
    if x.numel() == 0:
        return reference.gaunt_powers(x, order, lmax_out)
    values = {1: _to_torus(x, order * degree_of(x), lmax_out, _VALUE)}
    for power in range(2, order + 1):
        values[power] = values[power // 2] * values[power - power // 2]
    stacked = torch.stack([values[power] for power in range(2, order + 1)])
    return _from_torus(stacked, lmax_out, odd=False)


def _to_torus(x: Tensor, band: int, lmax_out: int, which: int) -> Tensor:
    """Sample functions [..., lm, C] or a derivative on the torus: [..., N_alpha, N_beta, C].

    The polar axis takes all of the product's 2 band + 1 frequencies, for the projection uses
    them; on the azimuthal axis aliases may fall on orders above ``lmax_out``.
    """
    lmax = degree_of(x)
    index = _gather(lmax, dtype=torch.int64, device=x.device)
    matrices = _synthesis(lmax, which, dtype=x.dtype, device=x.device)
    blocks = x.index_select(-2, index.flatten()).unflatten(-2, tuple(index.shape))
    real, imaginary = matmul(matrices, blocks).chunk(2, dim=-2)
    coefficients = torch.complex(real, imaginary)
    # Frequencies 0 ... L, -L ... -1: the room for the product's own is in the middle.
    low, high = coefficients.split([lmax + 1, lmax], dim=-2)
    gap = low.new_zeros((*low.shape[:-2], 2 * (band - lmax), low.shape[-1]))
    return torch.fft.irfft2(
        torch.cat([low, gap, high], dim=-2),
        s=(2 * band + 1, band + lmax_out + 1),
        dim=_AXES,
        norm="forward",
    )


def _from_torus(values: Tensor, lmax_out: int, *, odd: bool) -> Tensor:
    """Integrate samples on the torus against the harmonics: [..., lm, C]."""
    coefficients = torch.fft.rfft2(values, dim=_AXES, norm="forward")[..., : lmax_out + 1, :, :]
    parts = torch.cat([coefficients.real, coefficients.imag], dim=-2)
    band = (values.shape[-2] - 1) // 2
    matrices = _analysis(lmax_out, band, odd, dtype=values.dtype, device=values.device)
    index = _scatter(lmax_out, dtype=torch.int64, device=values.device)
    return matmul(matrices, parts).flatten(-3, -2).index_select(-2, index)


def _harmonics_on_torus(lmax: int) -> np.ndarray:
    """Return torus Fourier coefficients [lm, u, v] of the harmonics, complex, v >= 0 only.

    Only v = |m| and u = l mod 2 occur; round-off elsewhere is set to zero.
    """
    size = 2 * lmax + 1
    angle = 2 * math.pi / size * np.arange(size)
    beta, alpha = angle[:, None], angle[None, :]
    # Beyond beta = pi the sine is negative: the opposite azimuth, as the continuation wants it.
    points = np.stack(
        np.broadcast_arrays(
            np.sin(beta) * np.sin(alpha), np.cos(beta), np.sin(beta) * np.cos(alpha)
        ),
        axis=-1,
    )
    values = spherical_harmonics(lmax, torch.from_numpy(points), normalize=False).numpy()
    coefficients = np.fft.rfft2(np.moveaxis(values, -1, 0), norm="forward")
    degree, order = degrees(lmax), orders(lmax)
    u, v = _frequencies(lmax)[:, None], np.arange(lmax + 1)
    degree, order = degree[:, None, None], order[:, None, None]
    allowed = (v == abs(order)) & ((u - degree) % 2 == 0) & (abs(u) <= degree)
    return np.where(allowed, coefficients, 0)


@constant_table
def _synthesis(lmax: int, which: int) -> np.ndarray:
    """Return matrices [v, (Re, Im) u, (m >= 0, m < 0) l] from harmonics to torus coefficients."""
    blocks = _harmonics_by_order(lmax)
    u, v = _frequencies(lmax)[:, None], np.arange(lmax + 1)[:, None, None]
    blocks = blocks * (1, 1j * u, 1j * v)[which]
    return np.concatenate([blocks.real, blocks.imag], axis=1)


@constant_table
def _analysis(lmax: int, band: int, odd: int) -> np.ndarray:
    """Return matrices [v, (m >= 0, m < 0) l, (Re, Im) u] from torus coefficients to integrals.

    The integral over beta of ``exp(i k beta)``, between 0 and pi, times the sine for products:
    2 / (1 - k^2) for even k, and 2 i / k for odd k in brackets. What remains cancels by the
    symmetry of the continued functions.
    """
    k = _frequencies(band)[:, None] - _frequencies(lmax)
    is_odd = k % 2 == 1
    if odd:
        integral = np.where(is_odd, 2j / np.where(is_odd, k, 1), 0)
    else:
        integral = np.where(is_odd, 0, 2 / (1 - np.where(is_odd, 0, k) ** 2))
    both_signs_of_v = np.where(np.arange(lmax + 1) > 0, 2, 1)[:, None, None]
    blocks = _harmonics_by_order(lmax).conj().transpose(0, 2, 1)
    blocks = 2 * math.pi * both_signs_of_v * (blocks @ integral.T)
    # Re(a h) = Re a Re h - Im a Im h
    return np.concatenate([blocks.real, -blocks.imag], axis=2)


def _harmonics_by_order(lmax: int) -> np.ndarray:
    """Return torus coefficients as [v, u, (m >= 0, m < 0) l], zero if l < |m|."""
    coefficients = _harmonics_on_torus(lmax)
    index, v = _orders_first(lmax), np.arange(lmax + 1)
    blocks = coefficients[index, :, v[:, None]]
    return np.where(_exists(lmax)[:, :, None], blocks, 0).transpose(0, 2, 1)


def _orders_first(lmax: int) -> np.ndarray:
    """Position lm of each (v, (m >= 0, m < 0) l), 0 where there is none: [v, 2 (lmax + 1)]."""
    degree, order = np.arange(lmax + 1), np.arange(lmax + 1)[:, None]
    centre = degree * degree + degree
    return np.where(_exists(lmax), np.concatenate([centre + order, centre - order], axis=1), 0)


_gather = constant_table(_orders_first)


def _exists(lmax: int) -> np.ndarray:
    degree, order = np.arange(lmax + 1), np.arange(lmax + 1)[:, None]
    return np.concatenate([order <= degree, (order <= degree) & (order > 0)], axis=1)


@constant_table
def _scatter(lmax: int) -> np.ndarray:
    """Position of each lm among the flattened (v, (m >= 0, m < 0) l)."""
    degree, order = degrees(lmax), orders(lmax)
    return abs(order) * 2 * (lmax + 1) + (order < 0) * (lmax + 1) + degree


def _frequencies(lmax: int) -> np.ndarray:
    """Return the frequencies 0 ... lmax, -lmax ... -1 in the order of the FFT."""
    return np.concatenate([np.arange(lmax + 1), np.arange(-lmax, 0)])
