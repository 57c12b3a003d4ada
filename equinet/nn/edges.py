"""Edges of structures as networks take them: vectors, harmonics, and the stress from the strain."""

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.o3 import contract, spherical_harmonics


def stress_of(
    gradient: Float[Tensor, "graph 3 3"], cell: Float[Tensor, "graph 3 3"]
) -> Float[Tensor, "graph 3 3"]:
    """Divide the symmetric part of the derivative by the strain by the volume.

    Args:
        gradient: Derivative of the energy of each graph by the strain [G, 3, 3], eV.
        cell: Lattice vectors in rows [G, 3, 3], Å.

    Returns:
        Stress [G, 3, 3], eV/Å³; zero where there is no cell.

    Example:
        >>> stress_of(torch.eye(3)[None], 2 * torch.eye(3)[None])[0, 0]
        tensor([0.1250, 0.0000, 0.0000])
    """
    a, b, c = cell.unbind(1)
    volume = torch.linalg.vecdot(a, torch.linalg.cross(b, c)).abs().reshape(-1, 1, 1)
    symmetric = (gradient + gradient.mT) / 2
    return torch.where(volume > 0, symmetric / volume.clamp(min=1e-12), 0.0)


def edge_vectors(
    pos: Tensor,
    cell: Tensor,
    batch: Tensor,
    edge_index: Tensor,
    edge_shift: Tensor,
    strain: Tensor | None = None,
) -> Tensor:
    """Compute the edge vectors from receiver to sender, in the precision of the positions.

    Args:
        pos: Positions [N, 3], Å.
        cell: Lattice vectors in rows [G, 3, 3], Å.
        batch: Index of the graph of each atom [N].
        edge_index: Senders and receivers [2, E].
        edge_shift: Shift of each edge [E, 3], in units of the lattice vectors.
        strain: Strain of each graph [G, 3, 3], whose symmetric part is applied; None for none.

    Returns:
        Edge vectors [E, 3], Å.

    Example:
        >>> pos, cell = torch.tensor([[0.0, 0, 0], [1.0, 0, 0]]), torch.zeros(1, 3, 3)
        >>> edge_vectors(
        ...     pos, cell, torch.zeros(2).long(), torch.tensor([[1], [0]]), torch.zeros(1, 3)
        ... )
        tensor([[1., 0., 0.]])
    """
    sender, receiver = edge_index
    graph_of_edge = batch[receiver]
    shift = contract("ei,eij->ej", edge_shift.to(cell.dtype), cell[graph_of_edge])
    vectors = pos[sender] - pos[receiver] + shift
    if strain is not None:
        symmetric = (strain + strain.mT) / 2
        vectors = vectors + contract("ei,eij->ej", vectors, symmetric[graph_of_edge])
    return vectors


def edge_harmonics(lmax: int, vectors: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge lm"]:
    """Evaluate the spherical harmonics of edges, for vectors of half precision in float32.

    Args:
        lmax: Highest degree of the harmonics.
        vectors: Edge vectors [E, 3].

    Example:
        >>> edge_harmonics(1, torch.tensor([[0.0, 2.0, 0.0]])).shape
        torch.Size([1, 4])
    """
    return spherical_harmonics(lmax, vectors.to(torch.promote_types(vectors.dtype, torch.float32)))
