"""Random rotations of the graphs in a batch."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_VECTORS = ("pos", "vec", "future_pos", "forces")
"""Fields of the nodes that hold vectors in the last dimension."""


def rotate_graphs(graph: Any, rotations: Float[Tensor, "graph n n"]) -> Any:
    """Copy a batch with the vectors of each graph rotated; all other fields are shared.

    Args:
        graph: Batch with ``batch`` [N] and optionally ``pos`` [N, n], ``vec`` [N, V, n],
            ``future_pos`` [N, n], ``forces`` [N, n], ``cell`` [G, n, n] of lattice vectors in rows
            and ``stress`` [G, n, n].
        rotations: Rotation of each graph [G, n, n].
    """
    result = copy.copy(graph)
    of_node = rotations.to(graph.pos)[graph.batch]
    for name in _VECTORS:
        if graph.get(name) is not None:
            result[name] = torch.einsum("nij,n...j->n...i", of_node, graph[name])
    rotations = rotations.to(graph.pos)
    if graph.get("cell") is not None:
        result["cell"] = graph["cell"] @ rotations.mT
    if graph.get("stress") is not None:
        result["stress"] = rotations @ graph["stress"] @ rotations.mT
    return result


def rotate_back(
    vectors: Float[Tensor, "node n"], graph: Any, rotations: Float[Tensor, "graph n n"]
) -> Float[Tensor, "node n"]:
    """Undo the rotation of each graph on one vector per node.

    Args:
        vectors: Vectors of the nodes of rotated graphs [N, n].
        graph: Batch with ``batch`` [N].
        rotations: Rotation of each graph [G, n, n], which is undone.
    """
    result: Tensor = torch.einsum("nij,ni->nj", rotations.to(vectors)[graph.batch], vectors)
    return result
