"""Affine groups: translations of space together with a linear group."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.checks import check_shape, refuse
from equinet.lie.group import Decomposition, Group
from equinet.lie.linear import CSO, SO, LinearGroup
from equinet.lie.matrices import exp_slope
from equinet.lie.window import Window


class Affine(Group):
    """The maps x -> h x + t, h of a linear group, as matrices [[h, t], [0, 1]].

    Its left Haar measure is dt dh / det(h); it is also right invariant if the linear group keeps
    volumes. Decompositions are those of the linear group, with t in front of its coordinates.

    Args:
        linear: Group of the linear parts h, on the plane or on space.

    Example:
        >>> from equinet.lie import SL
        >>> Affine(SL(2)).dim
        5
    """

    def __init__(self, linear: LinearGroup) -> None:
        n = linear.n
        translations = torch.zeros(n, n + 1, n + 1, dtype=torch.float64)
        translations[range(n), range(n), n] = 1.0
        rest = torch.nn.functional.pad(linear.basis, (0, 1, 0, 1))
        self.linear = linear
        super().__init__(f"Affine({linear})", n, torch.cat([translations, rest]), linear.haar_unit)

    def exp(self, algebra: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
        """Return the exponentials of elements of the Lie algebra."""
        h, t = split_affine(algebra)
        return join_affine(self.linear.exp(h), exp_slope(h) @ t)

    def log(self, g: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
        """Return the principal logarithms of elements.

        Raises:
            ValueError: If ``g`` is not an element of the group or has no principal logarithm, see
                :meth:`Group.log`.
        """
        self.check(g)
        h, t = split_affine(g)
        x = self.linear.log(h)
        logarithm = join_affine(x, torch.linalg.solve(exp_slope(x), t))
        corner = torch.zeros_like(logarithm)
        corner[..., -1, -1] = 1.0
        return logarithm - corner

    def inverse(self, g: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
        """Return the inverses of elements."""
        h, t = split_affine(g)
        back = self.linear.inverse(h)
        return join_affine(back, -back @ t)

    def act(
        self, g: Float[Tensor, "*#batch size size"], points: Float[Tensor, "*#batch n"]
    ) -> Float[Tensor, "*out n"]:
        """Move points x to h x + t."""
        h, t = split_affine(g)
        return self.linear.act(h, points) + t.squeeze(-1)

    def check(self, g: Float[Tensor, "*batch rows columns"]) -> None:
        """Refuse matrices that are no elements.

        Raises:
            ValueError: If the last row is not (0 … 0 1), or if h is refused, see
                :meth:`LinearGroup.check`.
        """
        check_shape(g, self)
        unit = torch.eye(self.size, dtype=g.dtype, device=g.device)[-1]
        deviation = (g.detach()[..., -1, :] - unit).abs().amax(-1)
        refuse(
            deviation,
            deviation < torch.finfo(g.dtype).eps ** 0.5,
            self,
            "a last row (0 … 0 1), up to rounding",
            "use Projective() for homographies",
        )
        self.linear.check(split_affine(g)[0])

    def modular(self, g: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch"]:
        """Return the modular function 1 / det(h), see :meth:`Group.modular`."""
        return torch.linalg.det(split_affine(g)[0]).reciprocal()

    @property
    def cube_dim(self) -> int:
        """Dimension of the unit cube that :meth:`from_cube` maps onto the window."""
        return self.dim

    def from_cube(
        self, points: Float[Tensor, "*batch cube"], window: Window
    ) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
        """Map the unit cube onto the window, see :meth:`Group.from_cube`."""
        translation = window.translation * (2 * points[..., : self.n] - 1)
        coordinates, weights = self.linear.from_cube(points[..., self.n :], window)
        h = self.linear.decompose("cartan").compose(coordinates)
        volume = (2 * window.translation) ** self.n
        return torch.cat([translation, coordinates], -1), weights * volume / torch.linalg.det(h)

    def largest_weight(self, window: Window) -> float:
        """Return a bound on the weights of :meth:`from_cube`."""
        growth = math.exp(self.n * window.scale) if self.linear.scales else 1.0
        volume = (2 * window.translation) ** self.n
        return self.linear.largest_weight(window) * volume * growth

    def decompositions(self) -> Mapping[str, Decomposition]:
        """Return the decompositions by name, those of the linear group."""
        return {
            name: AffineDecomposition(self, linear)
            for name, linear in self.linear.decompositions().items()
        }


class SE(Affine):
    """Rotations and translations.

    Args:
        n: Dimension of the space, 2 or 3.

    Raises:
        ValueError: If ``n`` is neither 2 nor 3.

    Example:
        >>> SE(3).dim
        6
    """

    def __init__(self, n: int) -> None:
        super().__init__(SO(n))
        self.name = f"SE({n})"


class Sim(Affine):
    """Rotations, translations and positive scalings: the similarities that keep orientation.

    Args:
        n: Dimension of the space, 2 or 3.

    Raises:
        ValueError: If ``n`` is neither 2 nor 3.

    Example:
        >>> Sim(2).modular(torch.diag(torch.tensor([2.0, 2.0, 1.0])))
        tensor(0.2500)
    """

    def __init__(self, n: int) -> None:
        super().__init__(CSO(n))
        self.name = f"Sim({n})"


class AffineDecomposition(Decomposition):
    """Coordinates t, then those of h.

    Args:
        group: The affine group.
        linear: Decomposition that gives the coordinates of the linear part h.

    Example:
        >>> from equinet.lie import SE
        >>> SE(2).decompose("cartan").coordinates(torch.eye(3))
        tensor([0., 0., 0.])
    """

    def __init__(self, group: Group, linear: Decomposition) -> None:
        super().__init__(group, group.dim)
        self.linear = linear

    def _coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
        h, t = split_affine(g)
        return torch.cat([t.squeeze(-1), self.linear.coordinates(h)], dim=-1)

    def compose(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch n n"]:
        """Return the elements of given coordinates."""
        t, rest = coordinates.tensor_split([self.group.n], dim=-1)
        return join_affine(self.linear.compose(rest), t.unsqueeze(-1))

    def haar_density(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return the density of the left Haar measure, that of h over its determinant."""
        rest = coordinates[..., self.group.n :]
        return self.linear.haar_density(rest) / torch.linalg.det(self.linear.compose(rest))


def split_affine(
    g: Float[Tensor, "*batch size size"],
) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch n 1"]]:
    """Return the upper left block and the column beside it.

    Args:
        g: Matrices [..., n + 1, n + 1] of the form [[h, t], [·, ·]].

    Returns:
        h and t.
    """
    return g[..., :-1, :-1], g[..., :-1, -1:]


def join_affine(
    h: Float[Tensor, "*batch n n"], t: Float[Tensor, "*batch n 1"]
) -> Float[Tensor, "*batch size size"]:
    """Return the matrices [[h, t], [0, 1]].

    Args:
        h: Linear maps [..., n, n].
        t: Translations [..., n, 1], as columns.

    Returns:
        Affine maps.
    """
    top = torch.cat([h, t], dim=-1)
    last = torch.zeros_like(top[..., :1, :])
    last[..., -1] = 1.0
    return torch.cat([top, last], dim=-2)
