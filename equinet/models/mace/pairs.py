"""Functions of the distance and the elements of two atoms, with fixed constants."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.elements import COVALENT_RADII, symbol
from equinet.nn import polynomial_envelope
from equinet.ops import segment_sum

_COULOMB = 14.3996  # eV Å
_BOHR = 0.529  # Å
_SCREENING = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016))


class AgnesiTransform(nn.Module):
    r"""Map distances to the interval from 0 to 1, most finely near the length of a bond.

    :math:`1 / (1 + a \rho^p / (1 + \rho^{p - q}))` with the distance :math:`\rho` in units of the
    mean of both covalent radii.

    Args:
        elements: Atomic numbers of the species.

    Raises:
        ValueError: An element has no covalent radius.

    Source: Witt et al., ACEpotentials.jl (J. Chem. Phys. 2023), with the constants of mace-torch.

    Example:
        >>> pair = torch.tensor([[0], [1]])
        >>> AgnesiTransform([1])(torch.tensor([0.31]), torch.tensor([0, 0]), pair)
        tensor([0.6492])
    """

    radii: Tensor
    a, p, q = 1.0805, 4.5791, 0.9183

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("radii", _radii(elements), persistent=False)

    def forward(
        self,
        distances: Float[Tensor, " edge"],
        species: Int[Tensor, " node"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, " edge"]:
        """Transform distances.

        Args:
            distances: Lengths [E] of the edges, Å.
            species: Species [N] of each atom.
            edge_index: Senders and receivers [2, E].
        """
        sender, receiver = self.radii.to(distances.dtype)[species[edge_index]]
        ratio = distances / (0.5 * (sender + receiver))
        return 1 / (1 + self.a * ratio**self.p / (1 + ratio ** (self.p - self.q)))


class PairRepulsion(nn.Module):
    r"""Screened Coulomb energy of two nuclei, smoothly zero from the sum of covalent radii on.

    Args:
        elements: Atomic numbers of the species.
        envelope_order: Power p of :func:`equinet.nn.polynomial_envelope`.

    Raises:
        ValueError: An element has no covalent radius.

    Source: Ziegler, Biersack, Littmark, The stopping and range of ions in matter (1985), with the
    constants and the envelope of mace-torch.

    Example:
        >>> pair = torch.tensor([[0, 1], [1, 0]])
        >>> PairRepulsion([1], 5)(torch.tensor([0.1, 0.1]), torch.tensor([0, 0]), pair).shape
        torch.Size([2])
    """

    radii: Tensor
    charges: Tensor
    exponent, prefactor = 0.3, 0.4543

    def __init__(self, elements: Sequence[int], envelope_order: int) -> None:
        super().__init__()
        self.envelope_order = envelope_order
        self.register_buffer("radii", _radii(elements), persistent=False)
        charges = torch.tensor(list(elements), dtype=torch.float64)
        self.register_buffer("charges", charges, persistent=False)

    def forward(
        self,
        distances: Float[Tensor, " edge"],
        species: Int[Tensor, " node"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, " node"]:
        """Return the energy of each atom [N], half of the energy of each of its pairs, eV.

        Args:
            distances: Lengths [E] of the edges, Å.
            species: Species [N] of each atom.
            edge_index: Senders and receivers [2, E].
        """
        ends = species[edge_index]
        z_sender, z_receiver = self.charges.to(distances.dtype)[ends]
        r_sender, r_receiver = self.radii.to(distances.dtype)[ends]
        length = self.prefactor * _BOHR / (z_sender**self.exponent + z_receiver**self.exponent)
        ratio = distances / length
        screening = sum(weight * torch.exp(-rate * ratio) for weight, rate in _SCREENING)
        envelope = polynomial_envelope(
            distances / (r_sender + r_receiver), 1.0, self.envelope_order
        )
        energy = 0.5 * _COULOMB * z_sender * z_receiver / distances * screening * envelope
        return segment_sum(energy, edge_index[1], species.shape[0])


def _radii(elements: Sequence[int]) -> Tensor:
    unknown = [symbol(z) for z in elements if z > len(COVALENT_RADII)]
    if unknown:
        raise ValueError(
            f"elements must have covalent radii, which are known up to {symbol(96)}; found "
            f"{', '.join(unknown)}"
        )
    return torch.tensor([COVALENT_RADII[z - 1] for z in elements], dtype=torch.float64)
