"""Wigner D matrices of real spherical harmonics, by the J-matrix method."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3.angles import angle_multiples
from equinet.o3.autodiff import matmul
from equinet.o3.harmonics import spherical_harmonics
from equinet.o3.quadrature import quadrature
from equinet.o3.tables import constant_table

# Largest deviation of R R^T from the identity in a matrix still taken for a rotation.
_ORTHOGONALITY_TOLERANCE = 1e-4


def wigner_d(lmax: int, rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch lm lm"]:
    """Return the block-diagonal matrices by which rotations act on coefficients.

    ``spherical_harmonics(lmax, R n) = wigner_d(lmax, R) @ spherical_harmonics(lmax, n)``, and the
    same matrix takes the coefficients of a function f to those of ``n -> f(R^-1 n)``.
    Differentiable with respect to the rotation, at every rotation. In float32 on CUDA the matrix
    products follow ``torch.set_float32_matmul_precision``: "high" costs half the digits.

    Args:
        lmax: Highest degree, at least 0.
        rotation: Proper rotation matrices acting on column vectors (x, y, z).

    Returns:
        Orthogonal matrices of size ``(lmax + 1)**2`` in the rotations' dtype.

    Raises:
        ValueError: If ``lmax`` is negative or ``rotation`` is not made of proper rotations.

    Source: ``D = Z(alpha) J Z(beta) J Z(gamma)`` with constant J (Pinchon and Hoggan, J. Phys. A 40
    (2007) 1597).

    Example:
        >>> bool(torch.equal(wigner_d(2, torch.eye(3)).round(), torch.eye(9)))
        True
    """
    if (_determinant_sign(rotation) < 0).any():
        raise ValueError("rotation must be proper (determinant +1), found determinant -1")
    size = (lmax + 1) ** 2
    rows = []
    for degree, block in enumerate(wigner_d_blocks(lmax, rotation)):
        padding = (degree**2, size - (degree + 1) ** 2)
        rows.append(torch.nn.functional.pad(block, padding))
    return torch.cat(rows, dim=-2)


def wigner_d_blocks(
    lmax: int, rotation: Float[Tensor, "*batch 3 3"]
) -> list[Float[Tensor, "*batch m m"]]:
    """Return the blocks of :func:`wigner_d`, one per degree, without checking the rotations.

    For inner loops: no synchronization with the device, traceable by compilers.

    Args:
        lmax: Highest degree, at least 0.
        rotation: Proper rotation matrices; anything else gives meaningless numbers.

    Returns:
        For each degree l from 0 to ``lmax`` the matrices [..., 2l+1, 2l+1].

    Raises:
        ValueError: If ``lmax`` is negative or ``rotation`` is not of shape [..., 3, 3].

    Example:
        >>> [tuple(block.shape) for block in wigner_d_blocks(2, torch.eye(3).expand(5, 3, 3))]
        [(5, 1, 1), (5, 3, 3), (5, 5, 5)]
    """
    if lmax < 0:
        raise ValueError(f"lmax must be at least 0, found {lmax}")
    _check_shape(rotation)
    # The Euler angles are singular where R e_y is near the axis y. There, R is multiplied from
    # the right by the cyclic permutation x -> y -> z -> x, which takes e_y far from the axis.
    near_pole = rotation[..., 1:2, 1:2].square() > 0.5
    regular = torch.where(near_pole, rotation.roll(-1, dims=-1), rotation)
    turns = [_turn_factors(lmax, *each) for each in _euler_cosines_and_sines(regular)]
    blocks = []
    for degree in range(lmax + 1):
        j_matrix = _j_matrix(degree, dtype=rotation.dtype, device=rotation.device)
        back = _cycle_matrix(degree, dtype=rotation.dtype, device=rotation.device)
        kept = slice(lmax - degree, lmax + degree + 1)
        (c_alpha, s_alpha), (c_beta, s_beta), (c_gamma, s_gamma) = (
            (cosines[..., kept], sines[..., kept]) for cosines, sines in turns
        )
        block = c_beta[..., None] * j_matrix + s_beta[..., None] * j_matrix.flip(0)
        block = matmul(j_matrix, block)
        block = c_alpha[..., None] * block + s_alpha[..., None] * block.flip(-2)
        block = block * c_gamma[..., None, :] - block.flip(-1) * s_gamma[..., None, :]
        blocks.append(torch.where(near_pole, matmul(block, back), block))
    return blocks


def rotate(
    x: Float[Tensor, "*batch lm channel"],
    rotation: Float[Tensor, "*rotations 3 3"],
    parity: int | None = None,
) -> Float[Tensor, "*out lm channel"]:
    """Rotate (and reflect) functions on the sphere, given by their coefficients.

    Args:
        x: Coefficients [..., (lmax + 1)², channels] of true or pseudo functions.
        rotation: Orthogonal matrices whose batch dimensions broadcast against those of ``x``.
        parity: Effect of an improper matrix beyond its rotation. +1: ``x`` is a true function, of
            natural parity (-1)^l, carried along unchanged: ``f(R^-1 n)``. -1: a pseudo function, of
            parity -(-1)^l, which also changes sign. None (the default): only proper rotations are
            accepted.

    Returns:
        The coefficients of the rotated functions, in the dtype of ``x``.

    Raises:
        ValueError: If the number of coefficients is not a square, ``rotation`` is not orthogonal,
            or it is improper and no parity is given.

    Example:
        >>> half_turn = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
        >>> rotate(torch.ones(4, 1), half_turn).flatten().round()
        tensor([ 1., -1.,  1., -1.])
    """
    size = x.shape[-2]
    lmax = math.isqrt(size) - 1
    if size == 0 or (lmax + 1) ** 2 != size:
        raise ValueError(
            f"x must have (lmax + 1)^2 coefficients in its dimension -2, found {list(x.shape)}"
        )
    if parity not in {None, 1, -1}:
        raise ValueError(f"parity must be +1, -1 or None, found {parity}")
    sign = _determinant_sign(rotation)
    if parity is None and bool((sign < 0).any()):
        raise ValueError(
            "rotation has determinant -1; give parity=+1 (true function) or -1 (pseudo function)"
        )
    blocks = wigner_d_blocks(lmax, rotation * sign[..., None, None])
    parts = []
    for degree, block in enumerate(blocks):
        inversion = (parity or 1) * (-1) ** degree
        matrix = torch.where(sign[..., None, None] < 0, inversion * block, block).to(x.dtype)
        parts.append(matmul(matrix, x[..., degree**2 : (degree + 1) ** 2, :]))
    return torch.cat(parts, dim=-2)


def _check_shape(rotation: Tensor) -> None:
    if rotation.shape[-2:] != (3, 3) or not rotation.is_floating_point():
        raise ValueError(
            "rotation must be floating point of shape [..., 3, 3], found "
            f"{rotation.dtype} {list(rotation.shape)}"
        )


def _determinant_sign(rotation: Tensor) -> Tensor:
    """Return +1 or -1 for orthogonal matrices; raise ValueError for others."""
    _check_shape(rotation)
    with torch.no_grad():
        identity = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
        # Products one by one: TF32 or autocast must not make a rotation look wrong.
        gram = (rotation[..., :, None, :] * rotation[..., None, :, :]).sum(-1)
        deviation = (gram - identity).abs().amax(dim=(-2, -1))
        # Written so that NaN is refused as well.
        if not bool((deviation < _ORTHOGONALITY_TOLERANCE).all()):
            raise ValueError(
                f"rotation must be orthogonal, found max |R R^T - 1| = {float(deviation.max()):.3g}"
            )
        first, second, third = rotation.unbind(-2)
        return (torch.linalg.cross(first, second) * third).sum(-1).sign()


def _euler_cosines_and_sines(rotation: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return cosine and sine of alpha, beta, gamma: R = R_y(alpha) R_x(beta) R_y(gamma).

    Only for rotations whose angle beta is well away from 0 and pi.
    """
    sin_beta = torch.hypot(rotation[..., 0, 1], rotation[..., 2, 1])
    sin_beta_too = torch.hypot(rotation[..., 1, 0], rotation[..., 1, 2])
    return [
        (rotation[..., 2, 1] / sin_beta, rotation[..., 0, 1] / sin_beta),
        (rotation[..., 1, 1], sin_beta),
        (-rotation[..., 1, 2] / sin_beta_too, rotation[..., 1, 0] / sin_beta_too),
    ]


def _turn_factors(lmax: int, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """Return the diagonal and the antidiagonal of the rotation Z about y, m from -lmax to lmax.

    ``(Z M)[m] = diagonal[m] M[m] + antidiagonal[m] M[-m]``.
    """
    diagonal, antidiagonal = torch.ones_like(cosine)[None], torch.zeros_like(cosine)[None]
    if lmax > 0:
        cosines, sines = angle_multiples(lmax, cosine[None], sine[None])
        diagonal = torch.cat([cosines.flip(0), diagonal, cosines])
        antidiagonal = torch.cat([sines.flip(0), antidiagonal, -sines])
    return diagonal.movedim(0, -1), antidiagonal.movedim(0, -1)


def _constant_block(degree: int, matrix: list[list[int]]) -> np.ndarray:
    """Return D^l of one rotation by projection, which is exact and stable for any degree."""
    points, weights = quadrature(2 * degree)
    turned = points @ torch.tensor(matrix, dtype=torch.float64).T
    before, after = (
        spherical_harmonics(degree, each)[:, degree**2 :].numpy() for each in (points, turned)
    )
    return after.T @ (weights.numpy()[:, None] * before)


@constant_table
def _j_matrix(degree: int) -> np.ndarray:
    """J = D of the rotation by pi that swaps the axes x and y: R_x(beta) = K R_y(beta) K."""
    return _constant_block(degree, [[0, 1, 0], [1, 0, 0], [0, 0, -1]])


@constant_table
def _cycle_matrix(degree: int) -> np.ndarray:
    """D of the inverse of the rotation x -> y -> z -> x."""
    return _constant_block(degree, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
