"""The space of positions whose center is at the origin.

A density of molecules that does not change under translations cannot be normalized. Positions,
noise and denoised positions are therefore taken relative to the center of each molecule, where all
atoms weigh the same.

Source: Köhler, Klein, Noé, Equivariant flows (ICML 2020); Hoogeboom et al. (ICML 2022), §3.1.
"""

from jaxtyping import Float, Int
from torch import Tensor

from equinet.ops import segment_mean


def center(
    positions: Float[Tensor, "node xyz"], batch: Int[Tensor, " node"], graphs: int
) -> Float[Tensor, "node xyz"]:
    r"""Subtract from every position the mean over its graph.

    :math:`x_i - \frac1n \sum_j x_j`: the projection on the space with the center at the origin.

    Args:
        positions: Positions [N, n].
        batch: Number of the graph of each node [N].
        graphs: Number of graphs.

    Example:
        >>> import torch
        >>> center(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]), 1).tolist()
        [[-1.0], [1.0]]
    """
    return positions - segment_mean(positions, batch, graphs).index_select(0, batch)
