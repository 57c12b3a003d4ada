"""The convolution over positions and orientations, edge by edge, orientation by orientation."""

import torch
from torch import Tensor

from equinet.o3 import contract, zonal_polynomials


def orientation_convolution(
    x: Tensor, vectors: Tensor, radial: Tensor, edge_index: Tensor, points: Tensor, lmax: int
) -> Tensor:
    """Write out the kernel of every edge, orientation and channel; one point an orientation."""
    sender, receiver = edge_index
    zonal = zonal_polynomials(lmax, vectors.unsqueeze(1), points)
    messages = contract("eok,ekc,eoc->eoc", zonal, radial, x[sender])
    return torch.zeros_like(x).index_add(0, receiver, messages)
