"""Lengths and harmonics of edges by the native ops, for trained models: autograd does not see them.

:func:`gradient` is the derivative of :func:`evaluate`. A vector shorter than the square root of the
smallest normal number counts as zero, as in :func:`equinet.o3.spherical_harmonics`.
"""

import torch
from torch import Tensor


def evaluate(vectors: Tensor, lmax: int) -> tuple[Tensor, Tensor]:
    """Return the lengths [E] and the harmonics [E, (lmax + 1)²] of vectors [E, 3]."""
    found: tuple[Tensor, Tensor] = torch.ops.equinet.edge_harmonics.default(vectors, lmax)
    return found


def gradient(vectors: Tensor, by_length: Tensor, by_harmonics: Tensor) -> Tensor:
    """Return the gradient by vectors [E, 3] from those by lengths [E] and harmonics [E, lm]."""
    found: Tensor = torch.ops.equinet.edge_gradient.default(vectors, by_length, by_harmonics)
    return found


def register() -> None:
    """Tell torch the shapes of both ops; once, after their library is loaded."""
    torch.library.register_fake("equinet::edge_harmonics", _allocate_harmonics)
    torch.library.register_fake("equinet::edge_gradient", _allocate_gradient)


def _allocate_harmonics(vectors: Tensor, lmax: int) -> tuple[Tensor, Tensor]:
    edges = vectors.shape[0]
    return vectors.new_empty(edges), vectors.new_empty(edges, (lmax + 1) ** 2)


def _allocate_gradient(vectors: Tensor, by_length: Tensor, by_harmonics: Tensor) -> Tensor:
    return torch.empty_like(vectors)
