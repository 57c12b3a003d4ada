"""Radial functions of edges, alone and times the scalars of the edge."""

import torch
from torch import Tensor, nn

from equinet.nn import BesselBasis, LogarithmicBasis, edge_lengths


class RadialFunctions(nn.Module):
    """Radial functions, and their products with the scalars of the edge; all vanish at the cutoff.

    Args:
        cutoff: Distance at which the functions vanish; None for functions of all distances.
        edge_scalars: Number of scalars of each edge.

    Example:
        >>> RadialFunctions(5.0, edge_scalars=1)(torch.ones(2, 3), torch.ones(2, 1)).shape
        torch.Size([2, 16])
    """

    def __init__(self, cutoff: float | None, edge_scalars: int) -> None:
        super().__init__()
        self.functions = LogarithmicBasis() if cutoff is None else BesselBasis(cutoff)
        self.size = self.functions.size * (1 + edge_scalars)

    def forward(self, edge_vectors: Tensor, edge_scalars: Tensor) -> Tensor:
        """Evaluate the functions at edges.

        Args:
            edge_vectors: Vectors of the edges [E, n].
            edge_scalars: Scalars of the edges [E, in_edge_scalars].

        Returns:
            Values [E, size].
        """
        radial = self.functions(edge_lengths(edge_vectors)).unsqueeze(1)
        products = radial * edge_scalars.unsqueeze(-1)
        return torch.cat([radial, products], dim=1).flatten(1)
