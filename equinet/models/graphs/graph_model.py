"""Base class of networks on graphs: scalars and vectors of nodes in, scalars and vectors out."""

from abc import abstractmethod
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equinet.arguments import WholeNumber
from equinet.models.base import Model
from equinet.models.graphs.inputs import Inputs, read_inputs
from equinet.ops import segment_sum


class GraphModel(Model):
    """Base of networks that map scalars and vectors of nodes to scalars and vectors.

    A subclass implements :meth:`node_outputs`, for tensors in the precision of its parameters.

    Args:
        in_scalars: Number of scalars of each node.
        in_vectors: Number of vectors of each node.
        out_scalars: Number of scalars that are returned.
        out_vectors: Number of vectors that are returned.
        in_edge_scalars: Number of scalars of each edge.
        level: Level of the outputs: one for each ``node``, or their sums over each ``graph``.

    Attributes:
        dimension: Number of coordinates of a position; None for any number.

    Raises:
        ValueError: There are no inputs or no outputs.

    Example:
        >>> from equinet.models import Ponita, SEGNN
        >>> issubclass(Ponita, GraphModel), issubclass(SEGNN, GraphModel)
        (True, True)
    """

    dimension: int | None = 3

    def __init__(
        self,
        *,
        in_scalars: WholeNumber,
        in_vectors: WholeNumber,
        out_scalars: WholeNumber,
        out_vectors: WholeNumber,
        in_edge_scalars: WholeNumber,
        level: Literal["node", "graph"],
    ) -> None:
        super().__init__()
        for name, total in (("in", in_scalars + in_vectors), ("out", out_scalars + out_vectors)):
            if total == 0:
                raise ValueError(f"{name}_scalars and {name}_vectors must not both be 0")
        self.in_scalars, self.in_vectors = in_scalars, in_vectors
        self.out_scalars, self.out_vectors = out_scalars, out_vectors
        self.in_edge_scalars = in_edge_scalars
        self.level = level

    def forward(self, graph: Any) -> dict[str, Tensor]:
        """Apply the network.

        Args:
            graph: A torch_geometric ``Data`` or ``Batch``, or any object with the fields ``x``
                [N, in_scalars], ``pos`` [N, n], ``edge_index`` [2, E] and optionally
                ``vec`` [N, in_vectors, n], ``edge_scalars`` [E, in_edge_scalars], ``batch`` [N] and
                ``num_graphs``. Edges may be in any order; an edge that occurs twice counts twice,
                and an edge of length zero has no direction.

        Returns:
            Mapping of ``scalars`` [N, out_scalars] and ``vectors`` [N, out_vectors, n]; at the
            level of graphs their sums [G, ...].

        Raises:
            ValueError: A field is missing or has another shape.
        """
        inputs = self._inputs(graph)
        scalars, vectors = self.node_outputs(*inputs)
        if self.level == "graph":
            batch = getattr(graph, "batch", None)
            if batch is None:
                batch = inputs.edge_index.new_zeros(scalars.shape[0])
            graphs = _number_of_graphs(graph, batch)
            scalars = segment_sum(scalars, batch, graphs)
            vectors = segment_sum(vectors, batch, graphs)
        return {"scalars": scalars, "vectors": vectors}

    @abstractmethod
    def node_outputs(
        self,
        scalars: Float[Tensor, "node in_scalar"],
        vectors: Float[Tensor, "node in_vector xyz"],
        edge_index: Int[Tensor, "2 edge"],
        edge_vectors: Float[Tensor, "edge xyz"],
        edge_scalars: Float[Tensor, "edge in_edge_scalar"],
    ) -> tuple[Float[Tensor, "node out_scalar"], Float[Tensor, "node out_vector xyz"]]:
        """Apply the network to plain tensors, in the precision of the parameters.

        Args:
            scalars: Scalars [N, in_scalars] of the nodes.
            vectors: Vectors [N, in_vectors, n] of the nodes.
            edge_index: Senders and receivers [2, E].
            edge_vectors: Vectors [E, n] from receiver to sender.
            edge_scalars: Scalars [E, in_edge_scalars] of the edges.

        Returns:
            Scalars [N, out_scalars] and vectors [N, out_vectors, n] of the nodes.
        """

    def _inputs(self, graph: Any) -> Inputs:
        """Check the fields of a graph and cast them to the precision of the parameters."""
        return read_inputs(
            graph,
            in_scalars=self.in_scalars,
            in_vectors=self.in_vectors,
            in_edge_scalars=self.in_edge_scalars,
            dimension=self.dimension,
            dtype=self._dtype(),
        )

    def _dtype(self) -> torch.dtype:
        return next(iter(self.parameters())).dtype


def _number_of_graphs(graph: Any, batch: Tensor) -> int:
    """Return the number of graphs: that of a batch, or a count, which waits for the device."""
    known = getattr(graph, "num_graphs", None)
    return int(batch.max()) + 1 if known is None else known
