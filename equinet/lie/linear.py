"""The linear groups: rotations, scalings, both, and matrices of determinant one or positive."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.checks import check_dimension, check_shape, refuse
from equinet.lie.decompositions import (
    CartanDecomposition,
    IwasawaDecomposition,
    KAKDecomposition,
    LDLDecomposition,
    ScaleDecomposition,
)
from equinet.lie.group import Decomposition, Group
from equinet.lie.matrices import matrix_exp, matrix_log
from equinet.lie.rotations import (
    rotation_exp,
    rotation_log,
    skew_matrix,
    skew_vector,
    uniform_rotation,
)
from equinet.lie.stretches import (
    BALL_VOLUME,
    diagonal_basis,
    stretch_density,
    traceless_basis,
    uniform_stretch,
)
from equinet.lie.window import Window

# Volumes of the rotation groups in orthonormal coordinates, where a rotation vector w has the norm
# sqrt(2) |w|.
_ROTATION_VOLUME = {2: 2 * math.pi * math.sqrt(2), 3: 8 * math.pi**2 * math.sqrt(8)}


class LinearGroup(Group):
    """A group of matrices made of stretches, scalings and rotations, or of some of the three.

    Use :class:`SO`, :class:`Scale`, :class:`CSO`, :class:`SL` or :class:`GL`.

    Args:
        name: Name in messages, for example ``SL(2)``.
        n: Number of rows of the matrices.
        stretches: Whether the group contains the volume-preserving stretches.
        scales: Whether the group contains the positive scalings.
        rotates: Whether the group contains the rotations.

    Example:
        >>> shears = LinearGroup("S(2)", 2, stretches=False, scales=True, rotates=False)
        >>> shears.dim
        1
    """

    def __init__(self, name: str, n: int, *, stretches: bool, scales: bool, rotates: bool) -> None:
        traceless = traceless_basis(n) if stretches else torch.zeros(0, n, n, dtype=torch.float64)
        trace = torch.eye(n, dtype=torch.float64)[None] / math.sqrt(n)
        count = n * (n - 1) // 2 if rotates else 0
        skew = torch.zeros(0, n, n, dtype=torch.float64)
        if rotates:
            skew = skew_matrix(torch.eye(count, dtype=torch.float64)) / math.sqrt(2)
        self.stretches = stretches
        self.scales = scales
        self.rotates = rotates
        self.symmetric_basis = torch.cat([traceless, trace[: int(scales)]])
        unit = _ROTATION_VOLUME[n] if rotates else 1.0
        super().__init__(name, n, torch.cat([self.symmetric_basis, skew]), unit)

    def exp(self, algebra: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """Return the exponentials of elements of the Lie algebra."""
        if self.stretches:
            return matrix_exp(algebra)
        scale = algebra.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].exp()
        return scale * self._rotation(algebra)

    def log(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """Return the principal logarithms of elements.

        Raises:
            ValueError: If ``g`` is not an element of the group or has no principal logarithm, see
                :meth:`Group.log`.
        """
        self.check(g)
        if self.stretches:
            return matrix_log(g)
        scale = torch.linalg.det(g).pow(1 / self.n)[..., None, None]
        identity = torch.eye(self.n, dtype=g.dtype, device=g.device)
        if not self.rotates:
            return scale.log() * identity
        return scale.log() * identity + skew_matrix(rotation_log(g / scale))

    def inverse(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """Return the inverses of elements."""
        return torch.linalg.inv(g) if self.scales or self.stretches else g.mT

    def act(
        self, g: Float[Tensor, "*#batch n n"], points: Float[Tensor, "*#batch n"]
    ) -> Float[Tensor, "*out n"]:
        """Multiply points, as column vectors, by elements."""
        return (g @ points.unsqueeze(-1)).squeeze(-1)

    def check(self, g: Float[Tensor, "*batch rows columns"]) -> None:
        """Refuse matrices that are no elements.

        Raises:
            ValueError: If a shape is wrong, or if a determinant is not positive or not one, or a
                matrix is no rotation, where the group demands it; the message names value, place
                and fix.
        """
        check_shape(g, self)
        determinant = torch.linalg.det(g.detach())
        size = torch.linalg.matrix_norm(g.detach())
        tolerance = torch.finfo(g.dtype).eps
        refuse(
            determinant,
            determinant > tolerance * _determinant_size(g.detach()),
            self,
            "a determinant above zero by more than rounding",
            "swap two columns of a reflection, drop a singular matrix",
        )
        if not self.scales:
            refuse(
                determinant,
                (determinant - 1).abs() < tolerance**0.5 * size**self.n,
                self,
                "determinant 1",
                f"divide it by its determinant to the power 1/{self.n}",
            )
        if not self.stretches:
            unit = g.detach() / determinant.pow(1 / self.n)[..., None, None]
            gram = unit @ unit.mT if self.rotates else unit
            identity = torch.eye(self.n, dtype=g.dtype, device=g.device)
            deviation = (gram - identity).abs().amax((-2, -1))
            what = "g gᵀ" if self.rotates else "g"
            refuse(
                deviation,
                deviation < tolerance**0.5,
                self,
                f"{what} a multiple of the identity, up to rounding",
                f"use GL({self.n}) for stretches",
            )

    @property
    def cube_dim(self) -> int:
        """Dimension of the unit cube that :meth:`from_cube` maps onto the window."""
        return self.dim

    def from_cube(
        self, points: Float[Tensor, "*batch cube"], window: Window
    ) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
        """Map the unit cube onto the window, see :meth:`Group.from_cube`."""
        weights = torch.ones_like(points[..., 0])
        turns = self.dim - len(self.symmetric_basis)
        strains = len(self.symmetric_basis) - int(self.scales)
        stretch, scale, turn = points.split([strains, int(self.scales), turns], dim=-1)
        parts = []
        if self.stretches:
            x = window.stretch * uniform_stretch(stretch)
            weights = BALL_VOLUME[self.n] * window.stretch**strains * stretch_density(x)
            parts.append(torch.einsum("...ab,iab->...i", x, self.symmetric_basis[:strains].to(x)))
        if self.scales:
            half_width = math.sqrt(self.n) * window.scale
            parts.append(half_width * (2 * scale - 1))
            weights = weights * 2 * half_width
        if self.rotates:
            parts.append(uniform_rotation(turn))
        return torch.cat(parts, dim=-1), weights

    def largest_weight(self, window: Window) -> float:
        """Return a bound on the weights of :meth:`from_cube`."""
        bound = 2 * math.sqrt(self.n) * window.scale if self.scales else 1.0
        if self.stretches:
            # No two eigenvalues of a matrix of norm r differ by more than sqrt(2) r.
            gap = math.sqrt(2) * window.stretch
            strains = len(self.symmetric_basis) - int(self.scales)
            pairs = self.n * (self.n - 1) // 2
            bound *= BALL_VOLUME[self.n] * window.stretch**strains * (math.sinh(gap) / gap) ** pairs
        return bound

    def _rotation(self, algebra: Tensor) -> Tensor:
        if self.rotates:
            return rotation_exp(skew_vector(algebra))
        return torch.eye(self.n, dtype=algebra.dtype, device=algebra.device)

    def decompositions(self) -> Mapping[str, Decomposition]:
        """Return the decompositions by name."""
        available: dict[str, Decomposition] = {
            "cartan": CartanDecomposition(self, self.symmetric_basis, rotates=self.rotates)
        }
        if self.stretches:
            diagonal = diagonal_basis(self.n)[: self.n if self.scales else -1]
            available["iwasawa"] = IwasawaDecomposition(self, diagonal)
            available["kak"] = KAKDecomposition(self, diagonal)
            available["ldl"] = LDLDecomposition(self, diagonal)
        if self.scales and self.rotates:
            rest = SL(self.n) if self.stretches else SO(self.n)
            available["scale"] = ScaleDecomposition(self, rest.decompose("cartan"))
        return available


def _determinant_size(g: Tensor) -> Tensor:
    """Return the change of the determinant if entries change by the norm of the matrix.

    In space that is the norm of the matrix times that of its cofactors: stretches by different
    factors have a small determinant beside the third power of their norm, and a sound one.
    """
    size = torch.linalg.matrix_norm(g)
    n = g.shape[-1]
    if n != 3:
        return (size / math.sqrt(n)) ** n
    first, second, third = g.unbind(-2)
    cofactors = torch.stack(
        [
            torch.linalg.cross(second, third),
            torch.linalg.cross(third, first),
            torch.linalg.cross(first, second),
        ],
        dim=-2,
    )
    return size * torch.linalg.matrix_norm(cofactors) / n


class SO(LinearGroup):
    """Rotations of the plane or of space.

    Args:
        n: Dimension of the space, 2 or 3.

    Raises:
        ValueError: If ``n`` is neither 2 nor 3.

    Example:
        >>> SO(3).dim
        3
    """

    def __init__(self, n: int) -> None:
        check_dimension(n, "SO")
        super().__init__(f"SO({n})", n, stretches=False, scales=False, rotates=True)


class Scale(LinearGroup):
    """Positive scalings, the positive multiples of the identity.

    Args:
        n: Dimension of the space that is scaled, 1 by default.

    Example:
        >>> Scale().log(torch.tensor([[2.0]]))
        tensor([[0.6931]])
    """

    def __init__(self, n: int = 1) -> None:
        super().__init__(f"Scale({n})", n, stretches=False, scales=True, rotates=False)


class CSO(LinearGroup):
    """Rotations times positive scalings: the linear maps that keep angles and orientation.

    Args:
        n: Dimension of the space, 2 or 3.

    Raises:
        ValueError: If ``n`` is neither 2 nor 3.

    Example:
        >>> CSO(2).dim
        2
    """

    def __init__(self, n: int) -> None:
        check_dimension(n, "CSO")
        super().__init__(f"CSO({n})", n, stretches=False, scales=True, rotates=True)


class SL(LinearGroup):
    """Matrices of determinant one: the linear maps that keep volume and orientation.

    Args:
        n: Dimension of the space, 2 or 3.

    Raises:
        ValueError: If ``n`` is neither 2 nor 3.

    Example:
        >>> SL(2).log(torch.tensor([[1.0, 3.0], [0.0, 1.0]]))
        tensor([[0., 3.],
                [0., 0.]])
    """

    def __init__(self, n: int) -> None:
        check_dimension(n, "SL")
        super().__init__(f"SL({n})", n, stretches=True, scales=False, rotates=True)


class GL(LinearGroup):
    """Matrices of positive determinant: the linear maps that keep orientation.

    Args:
        n: Dimension of the space, 2 or 3.

    Raises:
        ValueError: If ``n`` is neither 2 nor 3.

    Example:
        >>> GL(2).act(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([1.0, 1.0]))
        tensor([3., 3.])
    """

    def __init__(self, n: int) -> None:
        check_dimension(n, "GL")
        super().__init__(f"GL({n})", n, stretches=True, scales=True, rotates=True)
