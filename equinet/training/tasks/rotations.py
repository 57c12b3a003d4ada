"""Random rotations of the graphs in a batch."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_TURNING = ("pos", "vec", "future_pos", "forces")
"""Fields of the nodes that hold vectors, in the last dimension."""


def random_rotations(
    count: int, dimension: int = 3, *, generator: torch.Generator | None = None
) -> Float[Tensor, "count n n"]:
    """Draw proper rotations uniformly (Haar measure), in float64 on the CPU.

    Args:
        count: Number of rotations.
        dimension: Dimension of space.
        generator: Source of randomness; None for torch's global one.

    Source: Mezzadri, How to generate random matrices from the classical compact groups (2007).

    Example:
        >>> random_rotations(4, 2).det().round()
        tensor([1., 1., 1., 1.], dtype=torch.float64)
    """
    gauss = torch.randn(count, dimension, dimension, generator=generator, dtype=torch.float64)
    orthogonal, triangle = torch.linalg.qr(gauss)
    orthogonal = orthogonal * triangle.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    # One column carries the sign: in even dimensions a change of all would not show.
    signs = torch.ones_like(orthogonal)
    signs[..., 0] = torch.linalg.det(orthogonal).sign().unsqueeze(-1)
    rotations: Tensor = orthogonal * signs
    return rotations


def turn_graphs(graph: Any, rotations: Float[Tensor, "graph n n"]) -> Any:
    """Copy a batch with the vectors of each graph rotated; all other fields are shared.

    Args:
        graph: Batch with ``batch`` and, as far as they are there, ``pos`` [N, n],
            ``vec`` [N, V, n], ``future_pos`` [N, n], ``forces`` [N, n], ``cell`` [G, n, n] of
            lattice vectors in rows and ``stress`` [G, n, n].
        rotations: Rotation of each graph.
    """
    result = copy.copy(graph)
    of_node = rotations.to(graph.pos)[graph.batch]
    for name in _TURNING:
        if graph.get(name) is not None:
            result[name] = torch.einsum("nij,n...j->n...i", of_node, graph[name])
    rotations = rotations.to(graph.pos)
    if graph.get("cell") is not None:
        result["cell"] = graph["cell"] @ rotations.mT
    if graph.get("stress") is not None:
        result["stress"] = rotations @ graph["stress"] @ rotations.mT
    return result


def turn_back(
    vectors: Float[Tensor, "node n"], graph: Any, rotations: Float[Tensor, "graph n n"]
) -> Float[Tensor, "node n"]:
    """Undo the rotation of each graph on one vector per node."""
    turned: Tensor = torch.einsum("nij,ni->nj", rotations.to(vectors)[graph.batch], vectors)
    return turned
