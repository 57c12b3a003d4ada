"""Rotations that align the edges of a graph with the polar axis."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3.harmonics import without_overflow


def rotation_to_pole(directions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return rotations that take each direction to the polar axis y, smooth in each hemisphere.

    Each is the shortest such rotation. Where a direction points down, which is singular for it, a
    rotation by 180 degrees about x comes first. Functions that are symmetric about the axis do not
    depend on this choice.

    Args:
        directions: Vectors [..., 3] of any length but zero.

    Example:
        >>> rotation_to_pole(torch.tensor([0.0, 0.0, 2.0])) @ torch.tensor([0.0, 0.0, 1.0])
        tensor([0., 1., 0.])
    """
    directions = _without_underflow(without_overflow(directions, dim=-1))
    unit = directions / torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
    down = unit[..., 1:2] < 0
    half_turn = unit.new_tensor([1.0, -1.0, -1.0])
    x, y, z = torch.where(down, unit * half_turn, unit).unbind(-1)
    bend = 1 / (1 + y)
    rows = [
        torch.stack([1 - x * x * bend, -x, -x * z * bend], dim=-1),
        torch.stack([x, y, z], dim=-1),
        torch.stack([-x * z * bend, -z, 1 - z * z * bend], dim=-1),
    ]
    rotation = torch.stack(rows, dim=-2)
    return torch.where(down.unsqueeze(-1), rotation * half_turn, rotation)


def _without_underflow(vectors: Tensor) -> Tensor:
    """Lengthen vectors [..., 3] whose squares would lose digits, by a power of two."""
    exponent = math.frexp(torch.finfo(vectors.dtype).max)[1] // 2
    is_short = vectors.detach().abs().amax(-1, keepdim=True) < 2.0 ** -(exponent // 2)
    return torch.where(is_short, vectors * 2.0 ** (exponent + exponent // 4), vectors)
