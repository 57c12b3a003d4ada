"""Sizes of molecules: a histogram to draw numbers of atoms from, and graphs of given sizes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from equinet.errors import ConfigError


class Sizes:
    """Histogram of the numbers of atoms of molecules.

    Args:
        fractions: Fractions of molecules with 0, 1, 2, … atoms, in any unit.

    Raises:
        ConfigError: A fraction is negative or not finite, all are zero, or molecules have no atoms.

    Source: Hoogeboom et al. (ICML 2022), §3.2, "The number of atoms".

    Example:
        >>> Sizes([0, 0, 3, 1]).draw(torch.tensor([0.1, 0.9]))
        tensor([2, 3])
    """

    def __init__(self, fractions: Sequence[float]) -> None:
        found = torch.tensor(list(fractions), dtype=torch.float64)
        if not (found.numel() and found.isfinite().all() and (found >= 0).all() and found.sum()):
            raise ConfigError(
                "fractions of sizes must be finite, at least 0 and not all 0, got "
                f"{[float(x) for x in fractions]}"
            )
        if found[0]:
            raise ConfigError(f"molecules without atoms cannot be drawn, got a fraction {found[0]}")
        self.fractions = found / found.sum()

    def draw(self, quantiles: Float[Tensor, " sample"]) -> Int64[Tensor, " sample"]:
        """Return the numbers of atoms at quantiles of the histogram.

        Args:
            quantiles: Numbers from 0 to below 1, uniform for sizes with the distribution of the
                histogram.
        """
        largest = int(self.fractions.nonzero().max())
        bounds = self.fractions.cumsum(0)
        return torch.searchsorted(bounds, quantiles.double(), right=True).clamp(max=largest)


def fully_connected(
    sizes: Int64[Tensor, " graph"],
) -> tuple[Int64[Tensor, "2 edge"], Int64[Tensor, " node"]]:
    """Join all nodes of each graph with each other, without loops.

    Args:
        sizes: Number of nodes of each graph.

    Returns:
        Senders and receivers [2, E], sorted by receiver, and the number of the graph of each node
        [N].

    Example:
        >>> fully_connected(torch.tensor([2, 1]))
        (tensor([[1, 0],
                [0, 1]]), tensor([0, 0, 1]))
    """
    batch = torch.repeat_interleave(sizes)
    first = (sizes.cumsum(0) - sizes)[batch]
    of_node = sizes[batch]
    receiver = torch.repeat_interleave(of_node)
    within = torch.arange(receiver.shape[0]) - (of_node.cumsum(0) - of_node)[receiver]
    sender = first[receiver] + within
    kept = sender != receiver
    return torch.stack([sender[kept], receiver[kept]]), batch
