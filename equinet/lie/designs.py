"""Nodes of product rules: finite rotation groups, and stretches that these groups permute."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.rotations import rotation_exp
from equinet.lie.stretches import BALL_VOLUME, reflection, stretch_density, unit_eigenvalues

_FINE = 64


def rotation_subgroup(n: int, order: int) -> Float[Tensor, "order n n"]:
    """Return a finite group of rotations.

    Args:
        n: Dimension of the space, 2 or 3.
        order: Number of rotations: any in the plane, where the angles are equidistant; 12
            (tetrahedral), 24 (octahedral) or 60 (icosahedral) in space.

    Returns:
        Rotation matrices, float64, the identity first.

    Raises:
        ValueError: If there is no finite group of ``order`` rotations.

    Example:
        >>> rotation_subgroup(3, 24).shape
        torch.Size([24, 3, 3])
    """
    if n == 2:
        if order < 1:
            raise ValueError(f"rotations must be at least 1, found {order}")
        angles = 2 * math.pi / order * torch.arange(order, dtype=torch.float64)
        return rotation_exp(angles.unsqueeze(-1))
    golden = (1 + math.sqrt(5)) / 2
    # The tetrahedral group times the turns about one more axis, of the cube or the icosahedron.
    axes = {12: (1, (0.0, 0.0, 1.0)), 24: (2, (0.0, 0.0, 1.0)), 60: (5, (0.0, 1.0, golden))}
    if order not in axes:
        raise ValueError(f"rotations of space must be 12, 24 or 60, found {order}")
    turns, axis = axes[order]
    step = math.pi / 2 if turns == 2 else 2 * math.pi / 5
    direction = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=-1)
    cosets = rotation_exp(torch.arange(turns, dtype=torch.float64)[:, None] * step * direction)
    return (_tetrahedral_group()[:, None] @ cosets).flatten(0, 1)


def stretch_directions(
    n: int, order: int
) -> tuple[Float[Tensor, "count n n"], Float[Tensor, " count"]]:
    """Return unit traceless symmetric matrices that a rotation group permutes by conjugation.

    With their weights they average polynomials up to degree three over the unit sphere exactly.

    Args:
        n: Dimension of the space, 2 or 3.
        order: Number of rotations in the group, see :func:`rotation_subgroup`.

    Returns:
        The matrices, and weights whose sum is one. In space there are 12, in the plane the least
        multiple of the orbits' length that is at least 4.

    Example:
        >>> len(stretch_directions(2, 8)[0]), len(stretch_directions(3, 60)[0])
        (4, 12)
    """
    if n == 2:
        orbit = order // math.gcd(order, 2)
        count = orbit * math.ceil(4 / orbit)
        angles = 2 * math.pi / count * torch.arange(count, dtype=torch.float64)
        weights = torch.full((count,), 1 / count, dtype=torch.float64)
        return reflection(angles) / math.sqrt(2), weights
    if order == 60:
        golden = (1 + math.sqrt(5)) / 2
        edges = torch.tensor([[0.0, 1.0, golden], [0.0, -1.0, golden]], dtype=torch.float64)
        prolate = _prolate(torch.cat([edges.roll(shift, -1) for shift in range(3)]))
        return torch.cat([prolate, -prolate]), torch.full((12,), 1 / 12, dtype=torch.float64)
    prolate = _prolate(torch.eye(3, dtype=torch.float64))
    shear = torch.zeros(3, 3, 3, dtype=torch.float64)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        shear[k, i, j] = shear[k, j, i] = math.sqrt(0.5)
    # Diagonal and off-diagonal matrices are not mixed, and have two and three dimensions.
    weights = torch.tensor([1 / 15] * 6 + [1 / 10] * 6, dtype=torch.float64)
    return torch.cat([prolate, -prolate, shear, -shear]), weights


def radial_rule(
    n: int, radius: float, shells: int
) -> tuple[Float[Tensor, " nodes"], Float[Tensor, " nodes"]]:
    """Return the Gauss-Radau rule for the Haar measure of stretches exp(X) with norm(X) <= radius.

    Args:
        n: Dimension of the space, 2 or 3.
        radius: Radius of the ball of stretches, the largest norm of X.
        shells: Number of nodes besides the center.

    Returns:
        Norms, zero first, and weights, exact for polynomials in norm(X)² up to degree 2 shells;
        their sum is the measure of the ball.

    Source: Gautschi, Orthogonal Polynomials (2004), §2.2 and §3.1.

    Example:
        >>> norms, weights = radial_rule(2, 1.0, 1)
        >>> bool((weights.sum() - math.pi * (math.cosh(math.sqrt(2)) - 1)).abs() < 1e-13)
        True
    """
    dim = n * (n + 1) // 2 - 1
    nodes, weights = np.polynomial.legendre.leggauss(_FINE)
    norms = radius * (1 + nodes) / 2
    area = dim * BALL_VOLUME[n] * norms ** (dim - 1)
    measure = radius * weights / 2 * area * _mean_density(n, norms)
    squares = norms**2
    # The nodes away from the fixed one, at zero, are Gauss nodes of the measure times its distance.
    inner, inner_weights = _gauss_rule(squares, measure * squares, shells)
    inner_weights = inner_weights / inner
    center = measure.sum() - inner_weights.sum()
    return (
        torch.tensor([0.0, *np.sqrt(inner)], dtype=torch.float64),
        torch.tensor([center, *inner_weights], dtype=torch.float64),
    )


def _mean_density(n: int, norms: np.ndarray) -> np.ndarray:
    """Return the Haar density of stretches, averaged over the spheres of given norms."""
    # On the sphere the cosine of three times the shape's angle is uniform.
    nodes, weights = np.polynomial.legendre.leggauss(_FINE // 2)
    if n == 2:
        shapes = reflection(torch.zeros(1, dtype=torch.float64)) / math.sqrt(2)
        weights = np.array([2.0])
    else:
        shapes = torch.diag_embed(unit_eigenvalues(torch.from_numpy(nodes).acos() / 3))
    density = stretch_density(torch.from_numpy(norms)[:, None, None, None] * shapes)
    return density.numpy() @ weights / 2


def _gauss_rule(
    nodes: np.ndarray, weights: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Gauss rule of a measure given by a much finer rule."""
    jacobi = np.zeros((count, count))
    previous, current, beta = np.zeros_like(nodes), np.full_like(nodes, weights.sum() ** -0.5), 0.0
    for k in range(count):
        jacobi[k, k] = weights @ (nodes * current**2)
        following = (nodes - jacobi[k, k]) * current - beta * previous
        beta = np.sqrt(weights @ following**2)
        if k + 1 < count:
            jacobi[k, k + 1] = jacobi[k + 1, k] = beta
        previous, current = current, following / beta
    values, vectors = np.linalg.eigh(jacobi)
    return values, weights.sum() * vectors[:1].flatten() ** 2


def _tetrahedral_group() -> Tensor:
    """Return the even permutations of the axes with an even number of signs."""
    signs = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
    flips = torch.diag_embed(torch.tensor(signs, dtype=torch.float64))
    identity = torch.eye(3, dtype=torch.float64)
    cycles = torch.stack([identity.roll(shift, 0) for shift in range(3)])
    return (cycles[:, None] @ flips).flatten(0, 1)


def _prolate(axes: Tensor) -> Tensor:
    """Return the unit traceless matrices that are symmetric about given axes."""
    unit = torch.nn.functional.normalize(axes, dim=-1)
    outer = unit[:, :, None] * unit[:, None, :]
    return (3 * outer - torch.eye(3, dtype=axes.dtype)) / math.sqrt(6)
