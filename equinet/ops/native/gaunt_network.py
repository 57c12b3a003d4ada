"""A network of layers at fixed weights by the native op: autograd does not see it."""

from collections.abc import Sequence

import torch
from torch import Tensor


def evaluate(
    geometry: Sequence[Tensor],
    species: Tensor,
    embedding: Tensor,
    weights: Sequence[Tensor],
    readouts: Sequence[Tensor],
    cutoff: float,
    *,
    gradient: bool,
) -> list[Tensor]:
    """Evaluate a network from positions.

    Args:
        geometry: Positions [N, 3] and lattice vectors in rows [G, 3, 3], Å; graph of each atom [N];
            sender and receiver of each edge [E]; and shifts of the edges [E, 3] in units of the
            lattice vectors. Numbers are float64.
        species: Species [N] of the atoms.
        embedding: First features [species, C].
        weights: Weights of all layers one after the other, see
            :mod:`equinet.ops.native.interaction`.
        readouts: Three tensors for each layer: matrix [H, C] of a hidden layer, the same
            transposed, and the weights [1, H] of the energy; where there is no hidden layer, H is 0
            and the weights are [1, C].
        cutoff: Cutoff radius, Å.
        gradient: Whether forces and virial are computed.

    Returns:
        Energies [N] of the atoms and, if asked for, the forces [N, 3] and the sum [G, 3, 3] over
        the edges of vector times slope, all float64.
    """
    found: list[Tensor] = torch.ops.equinet.gaunt_network.default(
        *geometry, species, embedding, weights, readouts, cutoff, gradient
    )
    return found


def register() -> None:
    """Tell torch the shapes of the op; once, after its library is loaded."""
    torch.library.register_fake("equinet::gaunt_network", _allocate)


def _allocate(
    positions: Tensor,
    cells: Tensor,
    batch: Tensor,
    sender: Tensor,
    receiver: Tensor,
    shifts: Tensor,
    species: Tensor,
    embedding: Tensor,
    weights: Sequence[Tensor],
    readouts: Sequence[Tensor],
    cutoff: float,
    gradient: bool,
) -> list[Tensor]:
    energies = positions.new_empty(positions.shape[0])
    return [energies, torch.empty_like(positions), torch.empty_like(cells)][: 3 if gradient else 1]
