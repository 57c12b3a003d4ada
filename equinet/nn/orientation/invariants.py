"""Numbers that tell pairs of positions and orientations apart, up to a common motion.

A message between two points may depend on what no rotation and translation of both changes, and on
nothing else. Invariants are complete if they differ whenever no motion takes one pair to the other.
All vectors point from receiver to sender, as everywhere in the package, and all directions are
seen from the receiver.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3 import matmul


def edge_lengths(vectors: Float[Tensor, "*batch xyz"]) -> Float[Tensor, "*batch"]:
    """Return the lengths of vectors: the invariant of two positions, complete in any dimension.

    At a zero vector, where a length has no derivative, derivatives of every order are zero.

    Args:
        vectors: Vectors [..., n] of any unit.

    Example:
        >>> edge_lengths(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([5., 0.])
    """
    square = vectors.square().sum(-1)
    at_zero = square == 0
    # Both branches stay finite, so that no derivative of any order is NaN.
    return torch.where(at_zero, 0.0, torch.where(at_zero, 1.0, square).sqrt())


def axial_invariants(
    vectors: Float[Tensor, "*batch xyz"], orientations: Float[Tensor, "*axis_batch xyz_axis"]
) -> Float[Tensor, "*out_batch invariant"]:
    r"""Return the invariants of two positions and the receiver's orientation.

    In space :math:`\alpha = o \cdot r` and :math:`q = |r|^2 - \alpha^2`, the square of the distance
    from the axis: the distance itself has a kink on the axis, where forces would jump. They are
    complete, under reflections too. In the plane :math:`\alpha` and the signed
    :math:`\beta = o \wedge r`, complete for rotations; a reflection changes the sign of β.

    Args:
        vectors: Vectors [..., 3] or [..., 2] from receiver to sender.
        orientations: Unit vectors of the same dimension; batch shapes are broadcast.

    Returns:
        [..., 2], in the unit of the vectors and, in space, its square.

    Raises:
        ValueError: If the dimension is neither 2 nor 3.

    Source: Bekkers et al. (ICLR 2024), theorem 1, with q in place of its root.

    Example:
        >>> axial_invariants(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([0.0, 0.0, 1.0]))
        tensor([2., 5.])
    """
    _check(vectors, orientations)
    along = (vectors * orientations).sum(-1)
    if vectors.shape[-1] == 2:
        return torch.stack([along, _wedge(orientations, vectors)], dim=-1)
    return torch.stack([along, vectors.square().sum(-1) - along.square()], dim=-1)


def angle_invariants(
    receiver: Float[Tensor, "*batch xyz"], sender: Float[Tensor, "*other_batch xyz_other"]
) -> Float[Tensor, "*out_batch invariant"]:
    """Return the invariants of two orientations: complete.

    In space the cosine of the angle between them, [..., 1]. In the plane cosine and sine of the
    signed angle from receiver to sender, [..., 2]; the cosine alone would confuse left and right.

    Args:
        receiver: Unit vectors [..., 3] or [..., 2].
        sender: Unit vectors of the same dimension; batch shapes are broadcast.

    Raises:
        ValueError: If the dimension is neither 2 nor 3.

    Example:
        >>> angle_invariants(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    _check(receiver, sender)
    cosine = (receiver * sender).sum(-1)
    if receiver.shape[-1] == 3:
        return cosine.unsqueeze(-1)
    return torch.stack([cosine, _wedge(receiver, sender)], dim=-1)


def pair_invariants(
    vectors: Float[Tensor, "*batch xyz"],
    receiver: Float[Tensor, "*batch xyz"],
    sender: Float[Tensor, "*batch xyz"],
    *,
    fourth: bool = False,
    chirality: bool = False,
) -> Float[Tensor, "*batch invariant"]:
    r"""Return the invariants of two positions, each with an orientation.

    In the plane :math:`\alpha, \beta, \cos, \sin`: complete for rotations. In space, where pairs
    have four degrees of freedom, :math:`\alpha, q, o_i \cdot o_j` are not complete: they miss the
    angle about the receiver's axis between vector and sender's orientation. With ``fourth``, that
    is :math:`r \cdot o_j`, they are complete up to reflection. With ``chirality`` as well, that is
    the pseudoscalar :math:`o_i \cdot (r \times o_j)`, they tell mirror images apart and are
    complete for rotations.

    Args:
        vectors: Vectors [..., 3] or [..., 2] from receiver to sender.
        receiver: Orientations of the receivers, unit vectors of the same shape.
        sender: Orientations of the senders, unit vectors of the same shape.
        fourth: Whether the fourth invariant is added; space only.
        chirality: Whether the pseudoscalar is added; space only.

    Returns:
        [..., 3 to 5] in space, [..., 4] in the plane.

    Raises:
        ValueError: If the dimension is neither 2 nor 3, or an option is asked for in the plane.

    Source: Bekkers et al. (ICLR 2024), theorem 1, whose three invariants of space are completed
    here.

    Example:
        >>> x, y, z = torch.eye(3)
        >>> pair_invariants(x, y, z, fourth=True, chirality=True)
        tensor([ 0.,  1.,  0.,  0., -1.])
    """
    known = [axial_invariants(vectors, receiver), angle_invariants(receiver, sender)]
    if vectors.shape[-1] == 2 and (fourth or chirality):
        raise ValueError(
            "fourth and chirality are invariants of space; in the plane leave them out: the four "
            "others are complete"
        )
    if fourth:
        known.append((vectors * sender).sum(-1, keepdim=True))
    if chirality:
        normal = torch.linalg.cross(vectors, sender)
        known.append((receiver * normal).sum(-1, keepdim=True))
    return torch.cat(known, dim=-1)


def pose_invariants(
    vectors: Float[Tensor, "*batch n"],
    receiver: Float[Tensor, "*batch n n"],
    sender: Float[Tensor, "*batch n n"],
) -> Float[Tensor, "*batch invariant"]:
    r"""Return the relative pose of two frames, :math:`R_i^T r` and :math:`R_i^T R_j`: complete.

    Args:
        vectors: Vectors [..., n] from receiver to sender.
        receiver: Rotation matrices [..., n, n] whose columns are the receiver's axes.
        sender: Rotation matrices [..., n, n] whose columns are the sender's axes.

    Returns:
        [..., n + n²], position first.

    Example:
        >>> pose_invariants(torch.tensor([1.0, 2.0]), torch.eye(2), torch.eye(2))
        tensor([1., 2., 1., 0., 0., 1.])
    """
    position = matmul(receiver.mT, vectors.unsqueeze(-1)).squeeze(-1)
    return torch.cat([position, matmul(receiver.mT, sender).flatten(-2)], dim=-1)


def _wedge(first: Tensor, second: Tensor) -> Tensor:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]


def _check(first: Tensor, second: Tensor) -> None:
    if first.shape[-1] not in (2, 3) or first.shape[-1:] != second.shape[-1:]:
        raise ValueError(
            "vectors and orientations must both have 2 or both 3 components, found shapes "
            f"{list(first.shape)} and {list(second.shape)}"
        )
