"""The Cartan or polar decomposition g = exp(X) k, symmetric times rotation."""

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.group import Decomposition, Group
from equinet.lie.matrices import matrix_exp, matrix_log, orthogonal_factor
from equinet.lie.rotations import rotation_density, rotation_exp, rotation_log
from equinet.lie.stretches import stretch_density


class CartanDecomposition(Decomposition):
    """Coordinates of X in an orthonormal basis, then the rotation vector of k.

    They are defined, unique and smooth on the whole group, except where k is a half turn.

    Args:
        group: A linear group.
        symmetric_basis: Orthonormal basis [p, n, n] of the X in the group's Lie algebra.
        rotates: Whether the group has rotations.

    Source: Helgason, Differential Geometry, Lie Groups, and Symmetric Spaces (1978), §VI.1;
    Mironenco, Forré (ICLR 2024) for its use in convolutions.

    Example:
        >>> from equinet.lie import SL
        >>> cartan = SL(2).decompose("cartan")
        >>> cartan.coordinates(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        tensor([0.0000, 0.0000, 1.5708])
    """

    def __init__(
        self, group: Group, symmetric_basis: Float[Tensor, "dim n n"], *, rotates: bool
    ) -> None:
        super().__init__(group, group.dim)
        self.symmetric_basis = symmetric_basis
        self.rotates = rotates

    def coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
        """Return the coordinates of elements.

        Raises:
            ValueError: see :meth:`Group.check`.
        """
        self.group.check(g)
        rotation = orthogonal_factor(g)
        positive = g @ rotation.mT
        x = matrix_log((positive + positive.mT) / 2)
        stretch = torch.einsum("...ab,iab->...i", x, self.symmetric_basis.to(x))
        return torch.cat([stretch, rotation_log(rotation)], -1) if self.rotates else stretch

    def compose(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch n n"]:
        """Return the elements of given coordinates."""
        x, turn = self._factors(coordinates)
        return matrix_exp(x) @ rotation_exp(turn) if self.rotates else matrix_exp(x)

    def haar_density(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return the density of the Haar measure: of exp(X) times that of the rotation."""
        x, turn = self._factors(coordinates)
        if not self.rotates:
            return torch.ones_like(coordinates[..., 0])
        return stretch_density(x) * rotation_density(turn)

    def _factors(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Return X and the rotation vector."""
        stretch, turn = coordinates.tensor_split([len(self.symmetric_basis)], dim=-1)
        return torch.einsum("...i,iab->...ab", stretch, self.symmetric_basis.to(stretch)), turn
