"""Homographies of the plane, by the cell of affine maps times elations."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.affine import join_affine, split_affine
from equinet.lie.checks import check_shape, refuse
from equinet.lie.group import Decomposition, Group
from equinet.lie.linear import GL, SL
from equinet.lie.window import Window


class Projective(Group):
    """The homographies of the plane, as 3 × 3 matrices of determinant one.

    A matrix [[A, t], [v, 1]] moves x to (A x + t) / (v·x + 1). Coordinates cover the cell in
    which the last entry and the determinant of the affine part are positive. It contains the
    identity and all homographies that are finite at the origin and keep orientation there; the
    logarithm covers more.

    Decompositions are those of GL(2): H = s T(t) A E(v), translation, linear map and elation, with
    coordinates t, those of A, and v. Haar measure is dt dA dv / det(A), left and right invariant.

    Source: H is the product of closed subgroups up to a set of measure zero; Knapp, Lie Groups
    Beyond an Introduction (2002), theorem 8.32, then gives the measure.

    Example:
        >>> Projective().act(torch.eye(3), torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    def __init__(self) -> None:
        self.linear = GL(2)
        self.unimodular = SL(3)
        # A scaling of A has sqrt(3) times the coordinate that it has as a matrix without trace.
        unit = self.linear.haar_unit / math.sqrt(3)
        super().__init__("Projective()", 2, self.unimodular.basis, unit)

    def exp(self, algebra: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
        """Return the exponentials of matrices without trace."""
        return self.unimodular.exp(algebra)

    def log(self, g: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
        """Return the principal logarithms of elements.

        Raises:
            ValueError: If ``g`` is not an element of the group or has no principal logarithm, see
                :meth:`Group.log`.
        """
        self.check(g)
        return self.unimodular.log(g)

    def inverse(self, g: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
        """Return the inverses of elements."""
        return torch.linalg.inv(g)

    def act(
        self, g: Float[Tensor, "*#batch size size"], points: Float[Tensor, "*#batch n"]
    ) -> Float[Tensor, "*out n"]:
        """Move points; those on the line that goes to infinity are not finite."""
        homogeneous = torch.nn.functional.pad(points, (0, 1), value=1.0)
        moved = (g @ homogeneous.unsqueeze(-1)).squeeze(-1)
        return moved[..., :-1] / moved[..., -1:]

    def check(self, g: Float[Tensor, "*batch rows columns"]) -> None:
        """Refuse matrices that are no elements.

        Raises:
            ValueError: If a shape is wrong or a determinant is not one; the message names value,
                place and fix.
        """
        check_shape(g, self)
        self.unimodular.check(g)

    @property
    def cube_dim(self) -> int:
        """Dimension of the unit cube that :meth:`from_cube` maps onto the window."""
        return self.dim

    def from_cube(
        self, points: Float[Tensor, "*batch cube"], window: Window
    ) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
        """Map the unit cube onto the window, see :meth:`Group.from_cube`."""
        first, middle, last = points.split([2, self.linear.dim, 2], dim=-1)
        coordinates, weights = self.linear.from_cube(middle, window)
        a = self.linear.decompose("cartan").compose(coordinates)
        translation = window.translation * (2 * first - 1)
        elation = window.perspective * (2 * last - 1)
        volume = (4 * window.translation * window.perspective) ** 2
        weights = weights * volume / torch.linalg.det(a)
        return torch.cat([translation, coordinates, elation], dim=-1), weights

    def largest_weight(self, window: Window) -> float:
        """Return a bound on the weights of :meth:`from_cube`."""
        volume = (4 * window.translation * window.perspective) ** 2
        return self.linear.largest_weight(window) * volume * math.exp(2 * window.scale)

    def decompositions(self) -> Mapping[str, Decomposition]:
        """Return the decompositions by name, those of GL(2)."""
        return {
            name: ProjectiveDecomposition(self, linear)
            for name, linear in self.linear.decompositions().items()
        }


class ProjectiveDecomposition(Decomposition):
    """Coordinates t, those of A, and v, of the homography s [[A + t v, t], [v, 1]].

    Args:
        group: Group of the homographies.
        linear: Coordinates of the linear part A.

    Example:
        >>> Projective().decompose("iwasawa").compose(torch.zeros(8)).diagonal()
        tensor([1., 1., 1.])
    """

    def __init__(self, group: Group, linear: Decomposition) -> None:
        super().__init__(group, group.dim)
        self.linear = linear

    def _coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
        """Return the coordinates of elements.

        Raises:
            ValueError: If an element lies outside the cell.
        """
        last = g[..., -1, -1]
        refuse(
            last,
            last > torch.finfo(g.dtype).eps,
            self.group,
            "a last entry above zero to have these coordinates",
            "move the origin away from the line that goes to infinity",
        )
        h, t = split_affine(g / last[..., None, None])
        v = g[..., -1, :-1] / last.unsqueeze(-1)
        a = self.linear.coordinates(h - t * v.unsqueeze(-2))
        return torch.cat([t.squeeze(-1), a, v], dim=-1)

    def compose(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch n n"]:
        """Return the elements of given coordinates."""
        t, a, v = coordinates.split([2, self.linear.dim, 2], dim=-1)
        linear = self.linear.compose(a)
        elation = join_affine(torch.eye(2).to(v).expand_as(linear), v.unsqueeze(-1)).mT
        scale = torch.linalg.det(linear).pow(-1 / 3)[..., None, None]
        return scale * join_affine(linear, t.unsqueeze(-1)) @ elation

    def haar_density(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return the density of the Haar measure, that of A over its determinant."""
        a = coordinates[..., 2:-2]
        return self.linear.haar_density(a) / torch.linalg.det(self.linear.compose(a))
