"""Grids of orientations on the circle and the sphere, with weights and symmetries."""

import functools
import itertools
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.names import nearest
from equinet.o3.angles import angle_multiples
from equinet.o3.harmonics import spherical_harmonics

_GOLDEN = (1 + math.sqrt(5)) / 2
# Rounding of coordinates computed in float64, with room for a few operations.
_ROUNDING = 1e-10


class OrientationGrid(NamedTuple):
    """Orientations whose weighted mean stands for the mean over the circle or the sphere.

    Attributes:
        points: [O, n] unit vectors, float64. Where the grid holds the opposite of every point,
            ``points[O // 2 + p] == -points[p]``.
        weights: [O] positive weights, float64; their sum is 1.
        symmetry: [G, n, n] all orthogonal matrices that permute the points, float64: proper
            rotations, and the improper ones (inversion, reflections) where there are such.

    Example:
        >>> grid = orientation_grid("octahedron6")
        >>> grid.degree, grid.antipodal, bool((grid.weights.sum() - 1).abs() < 1e-14)
        (3, True, True)
    """

    points: Float[Tensor, "O n"]
    weights: Float[Tensor, " O"]
    symmetry: Float[Tensor, "G n n"]

    @property
    def degree(self) -> int:
        """Design strength, the degree up to which means of polynomials are exact."""
        degree = 0
        while _mean_of_degree(degree + 1, self.points, self.weights) < _ROUNDING:
            degree += 1
        return degree

    @property
    def antipodal(self) -> bool:
        """True if the grid holds the opposite of every point."""
        first, second = self.points.tensor_split(2)
        return torch.equal(first, -second)

    @property
    def frame(self) -> Float[Tensor, "O n"]:
        """Dual frame [O, n], which reads a vector out of a signal, ``v = sum_o frame[o] f(o)``.

        A vector v lifted to the signal ``v . o`` is read out as v, and a constant signal as zero,
        on every grid.
        """
        centered = self.points - self.weights @ self.points
        moment = (centered * self.weights.unsqueeze(-1)).T @ centered
        return self.weights.unsqueeze(-1) * torch.linalg.solve(moment, centered.T).T


def orientation_grid(name: str) -> OrientationGrid:
    """Return a named grid of orientations, the same in every call.

    ======================  ===================================  ======  ========
    name                    points                               degree  symmetry
    ======================  ===================================  ======  ========
    ``circleN``, N >= 3     N equidistant on the circle          N - 1   2 N
    ``octahedron6``         vertices                             3       48
    ``icosahedron12``       vertices                             5       120
    ``dodecahedron20``      vertices                             5       120
    ``union32``             icosahedron and dodecahedron         9       120
    ``repulsionN``, N >= 4  least Coulomb energy from one start  varies  varies
    ``fibonacciN``, N >= 4  golden spiral                        varies  2
    ======================  ===================================  ======  ========

    Weights are equal on the first four. On the others they are those nearest to equal that are
    positive and exact to the highest degree possible.

    Args:
        name: Name of the table with N replaced by a number of points, such as ``"circle16"``.

    Returns:
        Points, weights and symmetry; ``degree`` is the design strength.

    Raises:
        ValueError: If there is no such grid; the message offers the nearest names.

    Source: Delsarte, Goethals, Seidel, Spherical codes and designs, Geom. Dedicata 6 (1977).

    Example:
        >>> grid = orientation_grid("icosahedron12")
        >>> grid.points.shape, grid.degree, len(grid.symmetry), grid.antipodal
        (torch.Size([12, 3]), 5, 120, True)
    """
    # The caller may change what it gets.
    return OrientationGrid(*(torch.from_numpy(array.copy()) for array in _grid(name)))


@functools.lru_cache
def _grid(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if name in _POLYHEDRA:
        points = _POLYHEDRA[name]()
    else:
        match = re.fullmatch(r"([a-z]+)(\d{1,4})", name)
        if match is None or match[1] not in _FAMILIES:
            raise ValueError(_unknown(name))
        fewest, build = _FAMILIES[match[1]]
        count = int(match[2])
        if count < fewest:
            raise ValueError(
                f"grid {name!r} has too few points to tell vectors apart; "
                f"{match[1]}{fewest} is the smallest"
            )
        points = build(count)
    return points, _weights(points), _symmetry(points)


def _unknown(name: str) -> str:
    known = [*_POLYHEDRA, *(f"{family}16" for family in _FAMILIES)]
    near = nearest(name, known, most=3, likeness=0.3) or known
    return (
        f"there is no orientation grid {name!r}; the nearest names are {', '.join(near)}, "
        "where 16 may be another number of points"
    )


def _weights(points: np.ndarray) -> np.ndarray:
    """Solve for the mean of all harmonics up to the highest degree that weights > 0 can have."""
    count, dimension = points.shape
    equal = np.full(count, 1 / count)
    # A rule of degree t on the sphere needs (t // 2 + 1)² points; equidistant ones need no help.
    degree = 2 * math.isqrt(count) - 1 if dimension == 3 else 0
    while degree > 0:
        harmonics = spherical_harmonics(degree, torch.from_numpy(points)).numpy().T[1:]
        weights = equal - np.linalg.lstsq(harmonics, harmonics @ equal, rcond=_ROUNDING)[0]
        weights /= weights.sum()
        if weights.min() > 0 and np.abs(harmonics @ weights).max() < _ROUNDING:
            return weights
        degree -= 1
    return equal


def _mean_of_degree(degree: int, points: Tensor, weights: Tensor) -> float:
    """Return the largest mean over the grid of a harmonic of one degree; the truth is zero."""
    if points.shape[1] == 2:
        cosine, sine = points.T.unsqueeze(1)
        harmonics = torch.cat([each[-1:] for each in angle_multiples(degree, cosine, sine)]).T
    else:
        harmonics = spherical_harmonics(degree, points)[:, degree**2 :]
    return (weights @ harmonics).abs().max().item()


def _symmetry(points: np.ndarray) -> np.ndarray:
    """Find all orthogonal matrices that permute the points.

    Such a matrix is known by the images of a basis among the points, which have the same inner
    products as the basis.
    """
    gram = points @ points.T
    basis = _basis(points)
    images = np.arange(len(points))[:, None]
    for place in range(1, len(basis)):
        fits = np.ones((len(images), len(points)), dtype=bool)
        for earlier in range(place):
            wanted = gram[basis[earlier], basis[place]]
            fits &= np.abs(gram[images[:, earlier]] - wanted) < _ROUNDING
        rows, following = fits.nonzero()
        images = np.concatenate([images[rows], following[:, None]], axis=1)
    matrices = np.linalg.solve(points[basis], points[images]).transpose(0, 2, 1)
    permutes = [
        (np.abs(points @ matrix.T @ points.T - 1) < _ROUNDING).any(1).all() for matrix in matrices
    ]
    return np.ascontiguousarray(matrices[permutes])


def _basis(points: np.ndarray) -> list[int]:
    """Return the indices of the first points that are linearly independent."""
    basis = [0]
    for candidate in range(1, len(points)):
        extended = [*basis, candidate]
        if np.linalg.svd(points[extended], compute_uv=False).min() > 0.1:
            basis = extended
        if len(basis) == points.shape[1]:
            break
    return basis


def _circle(count: int) -> np.ndarray:
    if count % 2 == 0:
        half = _unit_circle(count, count // 2)
        return np.concatenate([half, -half])
    return _unit_circle(count, count)


def _unit_circle(count: int, first: int) -> np.ndarray:
    angles = 2 * math.pi / count * np.arange(first)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _octahedron() -> np.ndarray:
    return np.concatenate([np.eye(3), -np.eye(3)])


def _icosahedron() -> np.ndarray:
    return _with_opposites(_cyclic(1.0, _GOLDEN))


def _dodecahedron() -> np.ndarray:
    cube = [(1.0, *signs) for signs in itertools.product((1.0, -1.0), repeat=2)]
    # The vertices above the centers of the icosahedron's faces.
    return _with_opposites(cube + _cyclic(_GOLDEN, 1 / _GOLDEN))


def _union() -> np.ndarray:
    first, second = _icosahedron(), _dodecahedron()
    half = np.concatenate([first[:6], second[:10]])
    return np.concatenate([half, -half])


def _cyclic(second: float, third: float) -> list[tuple[float, ...]]:
    """Cyclic permutations of (0, second, ± third): one of each pair of opposites."""
    rows = [(0.0, second, third), (0.0, second, -third)]
    return [(*row[-shift:], *row[:-shift]) for row in rows for shift in range(3)]


def _with_opposites(half: list[tuple[float, ...]]) -> np.ndarray:
    points = np.array(half)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return np.concatenate([points, -points])


def _fibonacci(count: int) -> np.ndarray:
    index = np.arange(count)
    height = 1 - 2 * (index + 0.5) / count
    azimuth = 2 * math.pi * index * _GOLDEN
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), height], axis=-1)


def _repulsion(count: int) -> np.ndarray:
    """Find points of least Coulomb energy from a fixed random start."""
    from scipy.optimize import minimize

    def energy_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        length = np.linalg.norm(flat.reshape(-1, 3), axis=1, keepdims=True)
        points = flat.reshape(-1, 3) / length
        _, inverse = _separations(points)
        return inverse.sum() / 2, (_slope(points) / length).ravel()

    start = np.random.default_rng(count).standard_normal((count, 3))
    points = minimize(energy_and_slope, start.ravel(), jac=True, method="BFGS").x.reshape(-1, 3)
    # The energy's rounding hides the last eight digits of a minimum; Newton's steps find them.
    for _ in range(4):
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
        # Turning all points changes nothing, and is left alone by the pseudo-inverse.
        inverse_curvature = np.linalg.pinv(_curvature(points), rcond=1e-6, hermitian=True)
        points = points - (inverse_curvature @ _slope(points).ravel()).reshape(-1, 3)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _separations(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return differences [O, O, 3] of points and their inverse lengths, zero on the diagonal."""
    differences = points[:, None] - points
    distances = np.linalg.norm(differences, axis=-1)
    np.fill_diagonal(distances, np.inf)
    return differences, 1 / distances


def _slope(points: np.ndarray) -> np.ndarray:
    """Gradient [O, 3] of the Coulomb energy along the sphere."""
    differences, inverse = _separations(points)
    slope = -(differences * inverse[..., None] ** 3).sum(1)
    return slope - (slope * points).sum(1, keepdims=True) * points


def _curvature(points: np.ndarray) -> np.ndarray:
    """Hessian [3 O, 3 O] of the Coulomb energy along the sphere."""
    differences, inverse = _separations(points)
    outer = differences[..., :, None] * differences[..., None, :]
    tensors = 3 * outer * inverse[..., None, None] ** 5 - np.eye(3) * inverse[..., None, None] ** 3
    outward = (differences * inverse[..., None] ** 3).sum(1)
    place = np.arange(len(points))
    hessian = -tensors
    hessian[place, place] = tensors.sum(1)
    hessian[place, place] += (outward * points).sum(1)[:, None, None] * np.eye(3)
    tangent = np.eye(3) - points[:, :, None] * points[:, None, :]
    return np.einsum("iab,ijbc,jcd->iajd", tangent, hessian, tangent).reshape(2 * (points.size,))


_POLYHEDRA: dict[str, Callable[[], np.ndarray]] = {
    "octahedron6": _octahedron,
    "icosahedron12": _icosahedron,
    "dodecahedron20": _dodecahedron,
    "union32": _union,
}

# The smallest number of points that spans a space, with the points of any number.
_FAMILIES: dict[str, tuple[int, Callable[[int], np.ndarray]]] = {
    "circle": (3, _circle),
    "repulsion": (4, _repulsion),
    "fibonacci": (4, _fibonacci),
}
