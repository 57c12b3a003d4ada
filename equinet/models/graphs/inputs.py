"""Inputs of networks on graphs whose nodes have scalars and vectors."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equinet.ops import segment_sum


class Inputs(NamedTuple):
    """Inputs of a network, in the precision of its parameters.

    Attributes:
        scalars: Scalars [N, in_scalars] of the nodes.
        vectors: Vectors [N, in_vectors, n] of the nodes.
        edge_index: Senders and receivers [2, E].
        edge_vectors: Vectors [E, n] from receiver to sender.
        edge_scalars: Scalars [E, in_edge_scalars] of the edges.

    Example:
        >>> inputs = Inputs(torch.ones(2, 1), torch.zeros(2, 0, 3), torch.tensor([[1], [0]]),
        ...                 torch.zeros(1, 3), torch.zeros(1, 0))
        >>> inputs.moved(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])).edge_vectors
        tensor([[1., 0., 0.]])
    """

    scalars: Tensor
    vectors: Tensor
    edge_index: Tensor
    edge_vectors: Tensor
    edge_scalars: Tensor

    def moved(self, displacements: Tensor) -> "Inputs":
        """Return the inputs with displaced nodes.

        Args:
            displacements: Displacements of the nodes [N, n].
        """
        sender, receiver = self.edge_index
        change = displacements.index_select(0, sender) - displacements.index_select(0, receiver)
        return self._replace(edge_vectors=self.edge_vectors + change)


def read_inputs(
    graph: Any,
    *,
    in_scalars: int,
    in_vectors: int,
    in_edge_scalars: int,
    dimension: int | None,
    dtype: torch.dtype,
) -> Inputs:
    """Check the fields of a graph and cast them.

    Args:
        graph: Graph with the fields that :meth:`equinet.models.graphs.GraphModel.forward` names.
        in_scalars: Number of scalars of each node.
        in_vectors: Number of vectors of each node.
        in_edge_scalars: Number of scalars of each edge.
        dimension: Number of coordinates of a position; None for any number.
        dtype: Precision of the result.

    Raises:
        ValueError: A field is missing or has another shape.

    Example:
        >>> from torch_geometric.data import Data
        >>> graph = Data(x=torch.ones(2, 1), pos=torch.zeros(2, 3),
        ...              edge_index=torch.tensor([[1], [0]]))
        >>> sizes = {"in_scalars": 1, "in_vectors": 0, "in_edge_scalars": 0, "dimension": 3}
        >>> read_inputs(graph, **sizes, dtype=torch.float32).edge_vectors
        tensor([[0., 0., 0.]])
    """
    pos, edge_index = graph.pos, graph.edge_index
    dimension = dimension or pos.shape[-1]
    nodes, edges = pos.shape[0], edge_index.shape[-1]
    _check_shape("pos", pos, (nodes, dimension))
    _check_shape("edge_index", edge_index, (2, edges))
    sender, receiver = edge_index
    return Inputs(
        _field(graph, "x", (nodes, in_scalars), pos).to(dtype),
        _field(graph, "vec", (nodes, in_vectors, dimension), pos).to(dtype),
        edge_index,
        # Subtracted before the cast, which would round large positions.
        (pos.index_select(0, sender) - pos.index_select(0, receiver)).to(dtype),
        _field(graph, "edge_scalars", (edges, in_edge_scalars), pos).to(dtype),
    )


def total_weights(
    weights: Float[Tensor, " row"], index: Int[Tensor, " row"], count: int
) -> Float[Tensor, " node"]:
    """Return the sums of weights by which weighted sums are divided to be averages.

    A sum below one is replaced by a number that stays positive, with a transition that is twice
    differentiable: an average over few and light rows then tends to zero with their weights.

    Args:
        weights: Weights [E], from 0 to 1.
        index: Index [E] of the node that each row belongs to.
        count: Number of nodes.

    Example:
        >>> total_weights(torch.tensor([1.0, 1.0]), torch.tensor([0, 0]), 2)
        tensor([2., 1.])
    """
    total = segment_sum(weights, index, count)
    return total + (1 - total).clamp(min=0) ** 3


def _field(graph: Any, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return a field of the graph, or an empty tensor if the model expects no numbers in it."""
    if 0 in shape[1:]:
        return like.new_empty(shape)
    value = getattr(graph, name, None)
    if value is None:
        raise ValueError(f"the graph lacks {name}; it must have shape {list(shape)}")
    _check_shape(name, value, shape)
    return value


def _check_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != shape:
        raise ValueError(
            f"{name} of the graph must have shape {list(shape)}, found {list(value.shape)}"
        )
