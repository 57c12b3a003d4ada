"""Stochastic depth: some graphs skip a layer while it is trained."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class DropPath(nn.Module):
    """Set the update of a layer to zero for a random fraction of the graphs, in training only.

    The other updates are divided by the fraction that is kept. All atoms of a graph are treated
    alike, so that energies of graphs stay independent of one another.

    Args:
        rate: Fraction of the graphs that skip the layer, at least 0 and below 1.

    Raises:
        ValueError: If ``rate`` is out of range.

    Source: Huang et al., Deep networks with stochastic depth (ECCV 2016).

    Example:
        >>> DropPath(0.5).eval()(torch.ones(3, 1), torch.tensor([0, 0, 1]), 2).flatten()
        tensor([1., 1., 1.])
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, found {rate}")
        self.rate = rate

    def forward(
        self, x: Float[Tensor, "node *feature"], batch: Int[Tensor, " node"], num_graphs: int
    ) -> Float[Tensor, "node *feature"]:
        """Drop the rows of ``x`` graph by graph.

        Args:
            x: Update [N, ...] of each node.
            batch: Index [N] of the graph of each node.
            num_graphs: Number of graphs.
        """
        if not self.training or self.rate == 0:
            return x
        kept = 1 - self.rate
        mask = torch.empty(num_graphs, dtype=x.dtype, device=x.device).bernoulli_(kept) / kept
        return x * mask[batch].reshape(-1, *(1,) * (x.ndim - 1))
