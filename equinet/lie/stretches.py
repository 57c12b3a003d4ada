"""Symmetric matrices as logarithms of stretches: bases, invariant measure, uniform draws."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.matrices import matrix_sinhc_sqrt
from equinet.lie.rotations import rotation_exp, skew_matrix, uniform_rotation

# Volumes of the unit balls in two and five dimensions, those of the traceless symmetric matrices.
BALL_VOLUME = {2: math.pi, 3: 8 * math.pi**2 / 15}


def diagonal_basis(n: int) -> Float[Tensor, "n n"]:
    """Return an orthonormal basis of the diagonals, the multiple of the identity last.

    Args:
        n: Length of the diagonals.

    Returns:
        Rows, float64.

    Example:
        >>> diagonal_basis(2)
        tensor([[ 0.7071, -0.7071],
                [ 0.7071,  0.7071]], dtype=torch.float64)
    """
    rows = torch.zeros(n, n, dtype=torch.float64)
    for k in range(1, n):
        rows[k - 1, :k] = 1.0
        rows[k - 1, k] = -float(k)
    rows[n - 1] = 1.0
    return torch.nn.functional.normalize(rows, dim=-1)


def traceless_basis(n: int) -> Float[Tensor, "dim n n"]:
    """Return an orthonormal basis of the traceless symmetric matrices, diagonal ones first.

    Args:
        n: Number of rows of the matrices.

    Returns:
        Matrices B with tr(B_i B_j) = 1 for i = j, else 0; float64.

    Example:
        >>> len(traceless_basis(3))
        5
    """
    matrices = [torch.diag(row) for row in diagonal_basis(n)[:-1]]
    for i in range(n):
        for j in range(i + 1, n):
            matrix = torch.zeros(n, n, dtype=torch.float64)
            matrix[i, j] = matrix[j, i] = math.sqrt(0.5)
            matrices.append(matrix)
    return torch.stack(matrices) if matrices else torch.zeros(0, n, n, dtype=torch.float64)


def stretch_density(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    r"""Return the Haar density of exp(X) k with respect to dX dk.

    It is the product of :math:`\sinh(x_i - x_j)/(x_i - x_j)` over pairs of eigenvalues of X. It is
    computed without them, as the determinant of sinh(ad X) / ad X on the skew matrices.

    Args:
        x: Symmetric matrices, 2 × 2 or 3 × 3.

    Returns:
        Densities, at least 1, and 1 at X = 0.

    Source: Helgason, Groups and Geometric Analysis (1984), §I.5.2.

    Example:
        >>> stretch_density(torch.diag(torch.tensor([0.5, -0.5])))
        tensor(1.1752)
    """
    count = x.shape[-1] * (x.shape[-1] - 1) // 2
    skew = skew_matrix(torch.eye(count, dtype=x.dtype, device=x.device)) / math.sqrt(2)
    wide = x.unsqueeze(-3)
    bracket = wide @ skew - skew @ wide
    squares = torch.einsum("...iab,...jab->...ij", bracket, bracket)
    return torch.linalg.det(matrix_sinhc_sqrt(squares))


def uniform_stretch(points: Float[Tensor, "*batch cube"]) -> Float[Tensor, "*batch n n"]:
    """Map the unit cube onto the unit ball of traceless symmetric matrices, uniformly.

    Args:
        points: Points in [0, 1): two components for 2 × 2 matrices, five for 3 × 3.

    Returns:
        Matrices of Frobenius norm at most one; the volume of the cube becomes Lebesgue's measure.

    Example:
        >>> uniform_stretch(torch.tensor([0.5, 0.0]))
        tensor([[ 0.5000,  0.0000],
                [ 0.0000, -0.5000]])
    """
    if points.shape[-1] == 2:
        radius = (points[..., 0] / 2).sqrt()[..., None, None]
        return radius * reflection(2 * math.pi * points[..., 1])
    # In eigenvalues r (cos(a), cos(a - 2 pi/3), cos(a + 2 pi/3)) the measure is r⁴ dr sin(3a) da.
    radius = points[..., 0] ** (1 / 5)
    angle = (1 - 2 * points[..., 1]).acos() / 3
    frame = rotation_exp(uniform_rotation(points[..., 2:]))
    return frame * (radius.unsqueeze(-1) * unit_eigenvalues(angle)).unsqueeze(-2) @ frame.mT


def reflection(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 2 2"]:
    """Return the traceless symmetric matrices [[cos, sin], [sin, -cos]].

    Args:
        angle: Angles in radians; the axis of the matrix lies at half the angle.

    Returns:
        Matrices of Frobenius norm sqrt(2).

    Example:
        >>> reflection(torch.tensor(0.0))
        tensor([[ 1.,  0.],
                [ 0., -1.]])
    """
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([cosine, sine, sine, -cosine], dim=-1).unflatten(-1, (2, 2))


def unit_eigenvalues(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3"]:
    """Return the eigenvalues of a traceless symmetric 3 × 3 matrix of unit norm, largest first.

    Args:
        angle: Angles in radians that describe the shape, from 0 (prolate) to pi / 3 (oblate).

    Returns:
        The eigenvalues.

    Example:
        >>> unit_eigenvalues(torch.tensor(0.0))
        tensor([ 0.8165, -0.4082, -0.4082])
    """
    turns = torch.tensor([0.0, -1.0, 1.0], dtype=angle.dtype, device=angle.device)
    return math.sqrt(2 / 3) * (angle.unsqueeze(-1) + 2 * math.pi / 3 * turns).cos()
