"""Decompositions of linear groups: Cartan, Iwasawa, KAK, LDLᵀ and scale, with Haar densities.

All densities refer to the measure of :class:`equinet.lie.Group`, constants included.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.group import Decomposition, Group
from equinet.lie.matrices import matrix_exp, matrix_log, matrix_sqrt, orthogonal_factor
from equinet.lie.rotations import rotation_density, rotation_exp, rotation_log
from equinet.lie.stretches import stretch_density


class CartanDecomposition(Decomposition):
    """Coordinates of X in an orthonormal basis, then the rotation vector of k.

    They are defined, unique and smooth on the whole group, except where k rotates by 180 degrees.

    Args:
        group: Linear group that is decomposed.
        symmetric_basis: Orthonormal basis [p, n, n] of the symmetric X in the Lie algebra of the
            group.
        rotates: Whether the group contains rotations; otherwise k is the identity.

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

    def _coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
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


class IwasawaDecomposition(Decomposition):
    r"""g = k a n: rotation, positive diagonal, unit upper triangular; unique and smooth.

    Coordinates are the rotation vector of k, log a in an orthonormal basis, and the entries of n
    above the diagonal by rows. The density is :math:`\prod_{i<j} a_i/a_j` times constants.

    Args:
        group: Group SL(n) or GL(n) that is decomposed.
        diagonal_basis: Orthonormal basis [r, n] of log a.

    Source: Helgason, Groups and Geometric Analysis (1984), §I.5.1.

    Example:
        >>> from equinet.lie import SL
        >>> SL(2).decompose("iwasawa").coordinates(torch.tensor([[1.0, 5.0], [0.0, 1.0]])).abs()
        tensor([0., 0., 5.])
    """

    def __init__(self, group: Group, diagonal_basis: Float[Tensor, "rank n"]) -> None:
        super().__init__(group, group.dim)
        self.diagonal_basis = diagonal_basis

    def _coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
        rotation, upper = _positive_qr(g)
        diagonal = upper.diagonal(dim1=-2, dim2=-1)
        shear = _above(upper / diagonal.unsqueeze(-1))
        stretch = diagonal.log() @ self.diagonal_basis.to(g).T
        return torch.cat([rotation_log(rotation), stretch, shear], dim=-1)

    def compose(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch n n"]:
        """Return the elements of given coordinates."""
        turn, logarithm, shear = self._factors(coordinates)
        return rotation_exp(turn) * logarithm.exp().unsqueeze(-2) @ _unit_upper(shear)

    def haar_density(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return the density of the Haar measure."""
        turn, logarithm, shear = self._factors(coordinates)
        constant = 2 ** (-shear.shape[-1] / 2)
        return constant * _gaps(logarithm).sum(-1).exp() * rotation_density(turn)

    def _factors(self, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rotation vector, log a and the entries of n."""
        rank = len(self.diagonal_basis)
        pairs = (self.dim - rank) // 2
        turn, stretch, shear = coordinates.split([pairs, rank, pairs], dim=-1)
        return turn, stretch @ self.diagonal_basis.to(stretch), shear


class KAKDecomposition(Decomposition):
    r"""g = k exp(diag t) h: rotation, stretch along the axes with t falling, rotation.

    Coordinates are the rotation vector of k, t in an orthonormal basis, and the rotation vector
    of h. Where two of t meet they are neither unique nor smooth. Over all rotations k and h the
    composition covers the group 2^(n-1) times. The density is :math:`\prod_{i<j}
    \sinh(t_i - t_j)` times constants.

    Args:
        group: Group SL(n) or GL(n) that is decomposed.
        diagonal_basis: Orthonormal basis [r, n] of t.

    Source: Helgason, Groups and Geometric Analysis (1984), §I.5.2.

    Example:
        >>> from equinet.lie import GL
        >>> GL(2).decompose("kak").coordinates(torch.tensor([[2.0, 0.0], [0.0, 0.5]])).shape
        torch.Size([4])
    """

    def __init__(self, group: Group, diagonal_basis: Float[Tensor, "rank n"]) -> None:
        super().__init__(group, group.dim)
        self.diagonal_basis = diagonal_basis

    def _coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
        left, values, right = torch.linalg.svd(g)
        # The determinants are both 1 or both -1; one pair of singular vectors may change sign.
        sign = torch.linalg.det(left.detach()).sign()[..., None]
        left = torch.cat([left[..., :-1], left[..., -1:] * sign[..., None]], dim=-1)
        right = torch.cat([right[..., :-1, :], right[..., -1:, :] * sign[..., None]], dim=-2)
        stretch = values.log() @ self.diagonal_basis.to(g).T
        return torch.cat([rotation_log(left), stretch, rotation_log(right)], dim=-1)

    def compose(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch n n"]:
        """Return the elements of given coordinates."""
        left, logarithm, right = self._factors(coordinates)
        return rotation_exp(left) * logarithm.exp().unsqueeze(-2) @ rotation_exp(right)

    def haar_density(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return the density of the Haar measure, that of one of the sheets."""
        left, logarithm, right = self._factors(coordinates)
        volume = 2 * math.pi if left.shape[-1] == 1 else 8 * math.pi**2
        constant = 2 ** (left.shape[-1] / 2) * volume
        turns = rotation_density(left) * rotation_density(right)
        return constant * _gaps(logarithm).sinh().abs().prod(-1) * turns

    def _factors(self, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return both rotation vectors, with t between."""
        rank = len(self.diagonal_basis)
        pairs = (self.dim - rank) // 2
        left, stretch, right = coordinates.split([pairs, rank, pairs], dim=-1)
        return left, stretch @ self.diagonal_basis.to(stretch), right


class LDLDecomposition(Decomposition):
    r"""g = sqrt(S) k with S = L D Lᵀ: unit lower triangular, positive diagonal, rotation.

    Coordinates are the entries of L below the diagonal by columns, log D in an orthonormal basis,
    and the rotation vector of k; unconstrained, unique and smooth except where k rotates by 180
    degrees. The density is :math:`\prod_i d_i^{(n+1)/2-i}` times constants.

    Args:
        group: Group SL(n) or GL(n) that is decomposed.
        diagonal_basis: Orthonormal basis [r, n] of log D.

    Source: Muirhead, Aspects of Multivariate Statistical Theory (1982), theorem 2.1.9, for the
    Jacobian of the Cholesky factors.

    Example:
        >>> from equinet.lie import GL
        >>> GL(2).decompose("ldl").compose(torch.zeros(4))
        tensor([[1., 0.],
                [0., 1.]])
    """

    def __init__(self, group: Group, diagonal_basis: Float[Tensor, "rank n"]) -> None:
        super().__init__(group, group.dim)
        self.diagonal_basis = diagonal_basis

    def _coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
        # gᵀ = q r gives g gᵀ = rᵀ r without squaring the condition number.
        upper = _positive_qr(g.mT)[1]
        diagonal = upper.diagonal(dim1=-2, dim2=-1)
        shear = _above(upper / diagonal.unsqueeze(-1))
        stretch = 2 * diagonal.log() @ self.diagonal_basis.to(g).T
        return torch.cat([shear, stretch, rotation_log(orthogonal_factor(g))], dim=-1)

    def compose(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch n n"]:
        """Return the elements of given coordinates."""
        shear, logarithm, turn = self._factors(coordinates)
        upper = _unit_upper(shear)
        return matrix_sqrt(upper.mT * logarithm.exp().unsqueeze(-2) @ upper) @ rotation_exp(turn)

    def haar_density(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return the density of the Haar measure."""
        shear, logarithm, turn = self._factors(coordinates)
        # Jacobians of sqrt(S) by S at the identity, and of S by its orthonormal coordinates.
        constant = 2 ** (shear.shape[-1] / 2 - shear.shape[-1] - len(self.diagonal_basis))
        # The exponent of d_i is half of those of the gaps log d_j - log d_k in which i takes part.
        return constant * (_gaps(logarithm).sum(-1) / 2).exp() * rotation_density(turn)

    def _factors(self, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the entries of L, log D and the rotation vector."""
        rank = len(self.diagonal_basis)
        pairs = (self.dim - rank) // 2
        shear, stretch, turn = coordinates.split([pairs, rank, pairs], dim=-1)
        return shear, stretch @ self.diagonal_basis.to(stretch), turn


class ScaleDecomposition(Decomposition):
    """g = s h: scaling s = det(g)^(1/n) times an element of determinant one.

    Coordinates are log s, then those of h.

    Args:
        group: Group CSO(n) or GL(n) that is decomposed.
        rest: Coordinates of the elements of determinant one.

    Example:
        >>> from equinet.lie import GL
        >>> GL(2).decompose("scale").coordinates(torch.eye(2) * 2)
        tensor([0.6931, 0.0000, 0.0000, 0.0000])
    """

    def __init__(self, group: Group, rest: Decomposition) -> None:
        super().__init__(group, group.dim)
        self.rest = rest

    def _coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
        logarithm = torch.linalg.det(g).log().unsqueeze(-1) / self.group.n
        unit = g / logarithm.exp().unsqueeze(-1)
        return torch.cat([logarithm, self.rest.coordinates(unit)], dim=-1)

    def compose(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch n n"]:
        """Return the elements of given coordinates."""
        return coordinates[..., :1, None].exp() * self.rest.compose(coordinates[..., 1:])

    def haar_density(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return the density of the Haar measure, constant in log s."""
        return math.sqrt(self.group.n) * self.rest.haar_density(coordinates[..., 1:])


def _positive_qr(g: Tensor) -> tuple[Tensor, Tensor]:
    """Return the QR decomposition with positive diagonal."""
    orthogonal, upper = torch.linalg.qr(g)
    sign = upper.detach().diagonal(dim1=-2, dim2=-1).sign()
    return orthogonal * sign.unsqueeze(-2), upper * sign.unsqueeze(-1)


def _above(upper: Tensor) -> Tensor:
    """Return the entries above the diagonal, by rows."""
    rows, columns = torch.triu_indices(upper.shape[-2], upper.shape[-1], offset=1).tolist()
    return upper[..., rows, columns]


def _unit_upper(entries: Tensor) -> Tensor:
    """Return unit upper triangular matrices of given entries, by rows."""
    n = 2 if entries.shape[-1] == 1 else 3
    positions = torch.zeros(entries.shape[-1], n, n, dtype=entries.dtype, device=entries.device)
    rows, columns = torch.triu_indices(n, n, offset=1)
    positions[torch.arange(len(rows)), rows, columns] = 1.0
    identity = torch.eye(n, dtype=entries.dtype, device=entries.device)
    return identity + torch.einsum("...i,iab->...ab", entries, positions)


def _gaps(values: Tensor) -> Tensor:
    """Return the differences v_i - v_j over all pairs i < j."""
    first, second = torch.triu_indices(values.shape[-1], values.shape[-1], offset=1)
    return values[..., first] - values[..., second]
