"""Rotations of the plane and of space by rotation vectors: exp, log, Haar density, uniform draws.

A rotation vector has one component in the plane, the angle, and three in space, axis times angle;
the angle is at most pi. Lengths are radians.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.analytic import artanh_sqrt, sinhc_sqrt


def skew_matrix(vector: Float[Tensor, "*batch vector"]) -> Float[Tensor, "*batch n n"]:
    """Return the generators of rotations by given rotation vectors.

    Args:
        vector: Rotation vectors: one component for the plane, three for space.

    Returns:
        Skew matrices [..., 2, 2] or [..., 3, 3].

    Example:
        >>> skew_matrix(torch.tensor([1.0]))
        tensor([[ 0., -1.],
                [ 1.,  0.]])
    """
    zero = torch.zeros_like(vector[..., 0])
    if vector.shape[-1] == 1:
        entries = [zero, -vector[..., 0], vector[..., 0], zero]
        return torch.stack(entries, dim=-1).unflatten(-1, (2, 2))
    x, y, z = vector.unbind(-1)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def skew_vector(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch vector"]:
    """Return the rotation vectors of the skew parts of matrices; undoes :func:`skew_matrix`.

    Args:
        matrix: Matrices [..., 2, 2] or [..., 3, 3].

    Returns:
        One component for the plane, three for space.

    Example:
        >>> skew_vector(skew_matrix(torch.tensor([1.0, 2.0, 3.0])))
        tensor([1., 2., 3.])
    """
    difference = (matrix - matrix.mT) / 2
    if matrix.shape[-1] == 2:
        return difference[..., 1, :1]
    return torch.stack([difference[..., 2, 1], difference[..., 0, 2], difference[..., 1, 0]], -1)


def rotation_exp(vector: Float[Tensor, "*batch vector"]) -> Float[Tensor, "*batch n n"]:
    """Return the rotation matrices of rotation vectors of any length.

    Args:
        vector: Rotation vectors in radians: one component for the plane, three for space.

    Returns:
        Rotation matrices [..., 2, 2] or [..., 3, 3].

    Source: Rodrigues' formula.

    Example:
        >>> rotation_exp(torch.tensor([0.0, 0.0, math.pi / 2])).round().abs()
        tensor([[0., 1., 0.],
                [1., 0., 0.],
                [0., 0., 1.]])
    """
    if vector.shape[-1] == 1:
        cosine, sine = vector[..., 0].cos(), vector[..., 0].sin()
        entries = [cosine, -sine, sine, cosine]
        return torch.stack(entries, dim=-1).unflatten(-1, (2, 2))
    q = -vector.square().sum(-1)[..., None, None]
    skew = skew_matrix(vector)
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return identity + sinhc_sqrt(q) * skew + sinhc_sqrt(q / 4).square() / 2 * skew @ skew


def rotation_log(rotation: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch vector"]:
    """Return the rotation vectors, of length at most pi, of rotation matrices.

    Args:
        rotation: Proper rotations [..., 2, 2] or [..., 3, 3], which is not checked.

    Returns:
        One component for the plane, in (-pi, pi], three for space; at rotations by 180 degrees in
        space one of the two opposite vectors.

    Source: In space through the unit quaternion, exact at every angle (Shepperd, J. Guidance and
    Control 1, 1978).

    Example:
        >>> rotation_log(torch.diag(torch.tensor([-1.0, 1.0, -1.0])))
        tensor([0.0000, 3.1416, 0.0000])
    """
    if rotation.shape[-1] == 2:
        sine = rotation[..., 1, 0] - rotation[..., 0, 1]
        cosine = rotation[..., 0, 0] + rotation[..., 1, 1]
        return torch.atan2(sine, cosine).unsqueeze(-1)
    return _quaternion_log(_quaternion(rotation))


def rotation_density(vector: Float[Tensor, "*batch vector"]) -> Float[Tensor, "*batch"]:
    """Return the Haar density, of total mass one, in rotation vectors of length at most pi.

    Args:
        vector: Rotation vectors in radians: one component for the plane, three for space.

    Returns:
        1 / (2 pi) in the plane, (1 - cos(angle)) / (4 pi² angle²) in space.

    Example:
        >>> rotation_density(torch.zeros(1)) * 2 * math.pi
        tensor(1.)
    """
    if vector.shape[-1] == 1:
        return torch.full_like(vector[..., 0], 1 / (2 * math.pi))
    return sinhc_sqrt(-vector.square().sum(-1) / 4).square() / (8 * math.pi**2)


def uniform_rotation(points: Float[Tensor, "*batch vector"]) -> Float[Tensor, "*batch vector"]:
    """Map the unit cube onto the rotations so that its volume becomes the Haar measure.

    Args:
        points: Points in [0, 1): one component for the plane, three for space.

    Returns:
        Rotation vectors.

    Source: Shoemake, Uniform random rotations (Graphics Gems III, 1992).

    Example:
        >>> uniform_rotation(torch.tensor([0.75]))
        tensor([1.5708])
    """
    if points.shape[-1] == 1:
        return 2 * math.pi * (points - 0.5)
    height, first, second = points.unbind(-1)
    first, second = 2 * math.pi * first, 2 * math.pi * second
    low, high = (1 - height).sqrt(), height.sqrt()
    quaternion = [high * second.cos(), low * first.sin(), low * first.cos(), high * second.sin()]
    return _quaternion_log(torch.stack(quaternion, dim=-1))


def random_rotations(
    count: int, n: int = 3, *, generator: torch.Generator | None = None
) -> Float[Tensor, "count n n"]:
    """Draw proper rotations uniformly, from the Haar measure.

    Args:
        count: Number of rotations.
        n: Dimension of the space, 3 by default.
        generator: Source of random numbers, torch's global one by default.

    Returns:
        Rotation matrices [count, n, n], float64 on the CPU.

    Source: Mezzadri, How to generate random matrices from the classical compact groups (2007).

    Example:
        >>> random_rotations(4, 2).det().round()
        tensor([1., 1., 1., 1.], dtype=torch.float64)
    """
    gauss = torch.randn(count, n, n, generator=generator, dtype=torch.float64)
    orthogonal, triangle = torch.linalg.qr(gauss)
    orthogonal = orthogonal * triangle.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    # One column carries the sign: in even dimensions a change of all would not show.
    signs = torch.ones_like(orthogonal)
    signs[..., 0] = torch.linalg.det(orthogonal).sign().unsqueeze(-1)
    rotations: Tensor = orthogonal * signs
    return rotations


def _quaternion(rotation: Tensor) -> Tensor:
    """Return unit quaternions (w, x, y, z) of either sign."""
    r = rotation
    xx, yy, zz = r.diagonal(dim1=-2, dim2=-1).unbind(-1)
    wx, wy, wz = (2 * skew_vector(r)).unbind(-1)
    xy, xz, yz = (r[..., i, j] + r[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    # 4 q qᵀ: each row is a multiple of q, the one with the largest diagonal safe to divide by.
    outer = torch.stack(
        [
            *(1 + xx + yy + zz, wx, wy, wz),
            *(wx, 1 + xx - yy - zz, xy, xz),
            *(wy, xy, 1 - xx + yy - zz, yz),
            *(wz, xz, yz, 1 - xx - yy + zz),
        ],
        dim=-1,
    ).unflatten(-1, (4, 4))
    best = outer.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    row = outer.gather(-2, best.expand(*best.shape[:-1], 4)).squeeze(-2)
    return row / row.norm(dim=-1, keepdim=True)


def _quaternion_log(quaternion: Tensor) -> Tensor:
    """Return rotation vectors of unit quaternions of either sign."""
    upper = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    axis = upper[..., 1:]
    return 2 * artanh_sqrt(upper[..., :1], -axis.square().sum(-1, keepdim=True)) * axis
