"""The convolution over positions and orientations, edge by edge, orientation by orientation."""

import torch
from torch import Tensor

from equinet.o3 import contract, zonal_polynomials


def orientation_convolution(
    x: Tensor, vectors: Tensor, radial: Tensor, edge_index: Tensor, points: Tensor, lmax: int
) -> Tensor:
    """Evaluate the kernel of every edge, orientation and channel; an orientation is one point.

    Example:
        >>> x, points = torch.ones(2, 4, 1), torch.eye(4, 3)
        >>> vectors, radial = torch.ones(1, 3), torch.ones(1, 2, 1)
        >>> orientation_convolution(x, vectors, radial, torch.tensor([[0], [1]]), points, 1).shape
        torch.Size([2, 4, 1])
    """
    sender, receiver = edge_index
    zonal = zonal_polynomials(lmax, vectors.unsqueeze(1), points)
    messages = contract("eok,ekc,eoc->eoc", zonal, radial, x[sender])
    return torch.zeros_like(x).index_add(0, receiver, messages)
