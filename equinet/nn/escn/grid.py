"""Samples of features on the sphere, for activations that act point by point."""

import math

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.escn.frames import frame_components
from equinet.o3 import (
    Table,
    constant_table,
    degrees,
    matmul,
    normalized_legendre,
    quadrature,
    spherical_harmonics,
)
from equinet.ops import working_dtype


class SphereGrid(nn.Module):
    r"""Take features to samples of functions on the sphere, and samples back to features.

    Every degree is divided by :math:`\sqrt{(2l+1)(L+1)/4\pi}` on the way, so that features of unit
    variance have samples of unit variance to which all degrees contribute equally; on the way back
    it is multiplied. Both are matrix products, in float32 at least.

    Back from the samples of f the features are those of f, exactly. Back from those of a non-linear
    :math:`\sigma(f)` they are as exact as it is a polynomial: the quadrature integrates its product
    with a harmonic up to a total degree of ``degree``, and what lies beyond breaks equivariance.

    Args:
        lmax: Highest degree of the features.
        degree: Polynomial degree that is integrated exactly, at least 2 lmax; by default the larger
            of 23 and 4 lmax. At 3 lmax, which squares need, SiLU breaks equivariance by some per
            cent; by default by less than one part in a thousand.

    Raises:
        ValueError: ``degree`` is below 2 lmax.

    Source: Cohen et al., Spherical CNNs (ICLR 2018); the scale is e3nn's ``component``.

    Example:
        >>> grid = SphereGrid(2)
        >>> x = torch.randn(5, 9, 8)
        >>> bool((grid.back(grid.sample(x)) - x).abs().max() < 1e-5)
        True
    """

    def __init__(self, lmax: int, degree: int | None = None) -> None:
        super().__init__()
        degree = max(23, 4 * lmax) if degree is None else degree
        if degree < 2 * lmax:
            raise ValueError(f"degree must be at least 2 lmax = {2 * lmax}, found {degree}")
        self.sizes = (lmax, degree)
        self.evaluation, self.projection = _sphere_evaluation, _sphere_projection

    def sample(
        self, x: Float[Tensor, "*batch row channel"]
    ) -> Float[Tensor, "*batch point channel"]:
        """Evaluate features at the points."""
        return self._product(self.evaluation, x)

    def back(
        self, values: Float[Tensor, "*batch point channel"]
    ) -> Float[Tensor, "*batch row channel"]:
        """Project samples on features."""
        return self._product(self.projection, values)

    def _product(self, table: Table, x: Tensor) -> Tensor:
        dtype = working_dtype(x.dtype)
        matrix = table(*self.sizes, dtype=dtype, device=x.device)
        return matmul(matrix, x.to(dtype))


class EdgeGrid(SphereGrid):
    """The samples of features in the frame of an edge; components as in :class:`EdgeFrames`.

    The angle about the edge is arbitrary, so equivariance depends on the number of azimuths alone.
    There are 8 mmax + 5 of them: with SiLU, rotations about the edge change features of unit
    variance by less than one part in a thousand at worst, in a million on average. Polar angles
    only need to tell degrees apart, for which lmax + 1 suffice.

    Args:
        lmax: Highest degree of the features.
        mmax: Highest order of the features, at most ``lmax``.

    Raises:
        ValueError: ``mmax`` is negative or above ``lmax``.

    Example:
        >>> EdgeGrid(6, 2).sample(torch.randn(5, 29, 8)).shape
        torch.Size([5, 147, 8])
    """

    def __init__(self, lmax: int, mmax: int) -> None:
        super().__init__(lmax)
        frame_components(lmax, mmax)  # says so if there are none
        self.sizes = (lmax, mmax)
        self.evaluation, self.projection = _edge_evaluation, _edge_projection


def _scale(lmax: int, degree: np.ndarray) -> np.ndarray:
    return np.sqrt(4 * math.pi / ((2 * degree + 1) * (lmax + 1)))


def _sphere(lmax: int, degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return harmonics at the points [P, row], weights [P] and scales [row] of a sphere grid."""
    points, weights = quadrature(degree)
    harmonics = spherical_harmonics(lmax, points).numpy()
    return harmonics, weights.numpy(), _scale(lmax, degrees(lmax))


def _edge(lmax: int, mmax: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return harmonics, weights and scales of the grid in an edge frame."""
    azimuths = 8 * mmax + 5
    cos_beta, weights = np.polynomial.legendre.leggauss(lmax + 1)
    polar = normalized_legendre(lmax, cos_beta)
    alpha = 2 * math.pi / azimuths * np.arange(azimuths)
    columns, of_column = [], []
    for degree, order in frame_components(lmax, mmax):
        wave = np.sqrt(2) * (np.sin if order < 0 else np.cos)(abs(order) * alpha)
        wave = wave if order else np.ones_like(alpha)
        columns.append(np.outer(polar[degree, abs(order)], wave).ravel())
        of_column.append(degree)
    weights = np.repeat(weights * (2 * math.pi / azimuths), azimuths)
    return np.stack(columns, axis=1), weights, _scale(lmax, np.array(of_column))


@constant_table
def _sphere_evaluation(lmax: int, degree: int) -> np.ndarray:
    harmonics, _, scale = _sphere(lmax, degree)
    return harmonics * scale


@constant_table
def _sphere_projection(lmax: int, degree: int) -> np.ndarray:
    harmonics, weights, scale = _sphere(lmax, degree)
    return np.ascontiguousarray((harmonics * weights[:, None] / scale).T)


@constant_table
def _edge_evaluation(lmax: int, mmax: int) -> np.ndarray:
    harmonics, _, scale = _edge(lmax, mmax)
    return harmonics * scale


@constant_table
def _edge_projection(lmax: int, mmax: int) -> np.ndarray:
    harmonics, weights, scale = _edge(lmax, mmax)
    return np.ascontiguousarray((harmonics * weights[:, None] / scale).T)
