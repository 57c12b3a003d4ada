"""Zonal polynomials: functions of a vector that are symmetric about an axis."""

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3.angles import angle_multiples


def zonal_polynomials(
    lmax: int, vectors: Float[Tensor, "*batch xyz"], axes: Float[Tensor, "*axis_batch xyz_axis"]
) -> Float[Tensor, "*out_batch zonal"]:
    r"""Evaluate the solid harmonics of vectors that rotations about an axis leave unchanged.

    In space these are the solid Legendre polynomials :math:`|v|^l P_l(o \cdot \hat v)`, one a
    degree, even under reflections. In the plane there are no such rotations, and every degree has
    two: :math:`|v|^l \cos l\theta` and :math:`|v|^l \sin l\theta` with the signed angle
    :math:`\theta` from axis to vector, ordered 1, cos θ, sin θ, cos 2θ, …

    They are polynomials of the vector, hence smooth everywhere, also at zero; at unit vectors they
    are Legendre polynomials, or cosines and sines.

    Args:
        lmax: Highest degree, at least 0.
        vectors: Vectors [..., 3] or [..., 2], of any length and unit.
        axes: Unit vectors of the same dimension; batch shapes are broadcast.

    Returns:
        [..., lmax + 1] in space, [..., 2 lmax + 1] in the plane.

    Raises:
        ValueError: If ``lmax`` is negative or the dimension is neither 2 nor 3.

    Source: Bonnet's recurrence, made homogeneous.

    Example:
        >>> zonal_polynomials(2, torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
        tensor([1., 2., 4.])
    """
    if lmax < 0:
        raise ValueError(f"lmax must be at least 0, found {lmax}")
    dimensions = vectors.shape[-1:], axes.shape[-1:]
    if dimensions not in (((2,), (2,)), ((3,), (3,))):
        raise ValueError(
            "vectors and axes must both have 2 or both 3 components, found shapes "
            f"{list(vectors.shape)} and {list(axes.shape)}"
        )
    along = (vectors * axes).sum(-1)
    if vectors.shape[-1] == 2:
        across = axes[..., 0] * vectors[..., 1] - axes[..., 1] * vectors[..., 0]
        return _circular(lmax, along, across)
    return _legendre(lmax, along, vectors.square().sum(-1))


def _legendre(lmax: int, along: Tensor, square: Tensor) -> Tensor:
    polynomials = [torch.ones_like(along), along]
    for degree in range(1, lmax):
        ahead, below = polynomials[-1], polynomials[-2]
        following = (2 * degree + 1) * along * ahead - degree * square * below
        polynomials.append(following / (degree + 1))
    return torch.stack(polynomials[: lmax + 1], dim=-1)


def _circular(lmax: int, along: Tensor, across: Tensor) -> Tensor:
    polynomials = [torch.ones_like(along)]
    if lmax > 0:
        cosines, sines = angle_multiples(lmax, along.unsqueeze(0), across.unsqueeze(0))
        for cosine, sine in zip(cosines, sines, strict=True):
            polynomials += [cosine, sine]
    return torch.stack(polynomials, dim=-1)
