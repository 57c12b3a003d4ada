"""Quadratures on linear groups: elements with weights against the Haar measure of a window."""

import dataclasses
import functools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.cube_points import PointRule, lattice_points, random_points, sobol_points
from equinet.lie.designs import radial_rule, rotation_subgroup, stretch_directions
from equinet.lie.group import Group
from equinet.lie.linear import SO, LinearGroup
from equinet.lie.rotations import rotation_log
from equinet.lie.window import Window
from equinet.names import named


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class GroupQuadrature:
    """Elements and weights: ``integral of f = sum_k weights[k] f(elements[k])`` over a window.

    Two quadratures are equal only if they are the same object. Layers that are built with one also
    take features on its elements moved from the right, see :meth:`moved`.

    Args:
        group: Group of the elements.
        window: Bounds of the part of the group that is integrated over.
        elements: Group elements [K, n, n], float64.
        inverses: Inverses [K, n, n] of the elements.
        coordinates: Cartan coordinates [K, dim] of the elements.
        weights: Positive weights [K] against the Haar measure of :class:`equinet.lie.Group`.
        base: Quadrature whose elements were moved to make this one; None if it was not made so.

    Example:
        >>> from equinet.lie import SO, group_quadrature
        >>> rule = group_quadrature(SO(2), rotations=4)
        >>> len(rule), float(rule.weights.sum())
        (4, 1.0)
    """

    group: LinearGroup
    window: Window
    elements: Float[Tensor, "K n n"]
    inverses: Float[Tensor, "K n n"]
    coordinates: Float[Tensor, "K dim"]
    weights: Float[Tensor, " K"]
    base: "GroupQuadrature | None" = None

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        return f"GroupQuadrature({self.group}, {len(self)} elements)"

    @functools.cached_property
    def relative_coordinates(self) -> Float[Tensor, "K K dim"]:
        """Cartan coordinates of inverses[i] @ elements[j] at [i, j], computed once."""
        pairs = self.inverses[:, None] @ self.elements[None]
        return self.group.decompose("cartan").coordinates(pairs)

    @functools.cached_property
    def determinants(self) -> Float[Tensor, " K"]:
        """Determinants of the elements, which are positive."""
        return torch.linalg.slogdet(self.elements).logabsdet.exp()

    def moved(self, g: Float[Tensor, "n n"]) -> "GroupQuadrature":
        """Return the quadrature of the elements h_k g.

        The group is unimodular, so the weights stay. A set of elements that is closed under
        multiplication from the left by rotations is so afterwards.

        Args:
            g: Element of the group [n, n].

        Raises:
            ValueError: If ``g`` is not an element of the group.

        Example:
            >>> from equinet.lie import SL
            >>> rule = group_quadrature(SL(2), rotations=4, stretches=1)
            >>> moved = rule.moved(torch.tensor([[2.0, 0.0], [0.0, 0.5]]))
            >>> moved.elements[0]
            tensor([[2.0000, 0.0000],
                    [0.0000, 0.5000]], dtype=torch.float64)
        """
        self.group.check(g)
        g = g.to(self.elements)
        elements = self.elements @ g
        coordinates = self.group.decompose("cartan").coordinates(elements)
        inverses = self.group.inverse(g) @ self.inverses
        base = self if self.base is None else self.base
        return dataclasses.replace(
            self, elements=elements, inverses=inverses, coordinates=coordinates, base=base
        )


def group_quadrature(
    group: Group,
    rotations: int = 8,
    stretches: int = 5,
    rule: str = "product",
    *,
    scales: int = 3,
    window: Window | None = None,
    generator: torch.Generator | None = None,
) -> GroupQuadrature:
    """Return a quadrature for the Haar measure of a group, restricted to a window.

    Without a generator the same call gives the same quadrature.

    Args:
        group: Linear group: SO(n), Scale(n), CSO(n), SL(n) or GL(n).
        rotations: Number of rotations, where the group has any. For the product rule in space 12,
            24 or 60.
        stretches: Number of volume-preserving stretches, where the group has any. For the product
            rule these are the identity and shells around it: 1 + 4 k in the plane with 8 rotations,
            1 + 12 k in space.
        rule: Name of the rule. ``product``: scales times stretches times a finite group of
            rotations; the elements are closed under multiplication from the left by these
            rotations. ``lattice``, ``sobol`` and ``mc``: as many elements, spread over all factors
            at once by a rank-1 lattice, by Sobol's sequence or at random.
        scales: Number of scalings, where the group has any; Gauss-Legendre nodes in the logarithm
            for the product rule.
        window: Bounds of the part of the group that is integrated over, ``Window()`` by default.
        generator: Source of random numbers that makes the quadrature random, with sums that are
            unbiased over rotations (product rule: one random rotation from the right) or over the
            whole window (other rules: one shift of the lattice or sequence, or fresh draws). None
            gives the same quadrature in every call.

    Returns:
        The quadrature, of rotations · stretches · scales elements. Weights of the product rule add
        up to the measure of the window, and polynomials up to degree 3 in the logarithm of the
        stretch are integrated exactly over it; weights of the other rules are Haar densities, exact
        in the mean.

    Raises:
        TypeError: If the group has translations, which are sampled by pixels or points.
        ValueError: If a number does not fit the rule, or if the rule is unknown; the message offers
            the nearest one.

    Example:
        >>> from equinet.lie import SL
        >>> group_quadrature(SL(2)).elements.shape
        torch.Size([40, 2, 2])
    """
    if not isinstance(group, LinearGroup):
        raise TypeError(
            f"group must be linear for a quadrature, found {group}: use its linear part, group"
            ".linear, and sample translations by pixels or points"
        )
    rules: dict[str, PointRule | None] = {
        "product": None,
        "lattice": lattice_points,
        "sobol": sobol_points,
        "mc": random_points,
    }
    points = named(rule, rules, "rule")
    window = Window() if window is None else window
    sizes = _Sizes(
        rotations if group.rotates else 1,
        stretches if group.stretches else 1,
        scales if group.scales else 1,
    )
    if points is None:
        coordinates, weights = _product_rule(group, sizes, window, generator)
    else:
        count = sizes.rotations * sizes.stretches * sizes.scales
        coordinates, weights = group.from_cube(points(count, group.cube_dim, generator), window)
        weights = weights / count
    elements = group.decompose("cartan").compose(coordinates)
    return GroupQuadrature(group, window, elements, group.inverse(elements), coordinates, weights)


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """Number of nodes for each factor, 1 for those that the group lacks."""

    rotations: int
    stretches: int
    scales: int

    def __post_init__(self) -> None:
        for name, size in dataclasses.asdict(self).items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, found {size}")


def _product_rule(
    group: LinearGroup, sizes: _Sizes, window: Window, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return Cartan coordinates and weights; scales outermost, rotations innermost."""
    scale, scale_weights = _scale_nodes(group, sizes, window)
    stretch, stretch_weights = _stretch_nodes(group, sizes, window)
    turn = _rotation_nodes(group, sizes, generator)
    shape = (len(scale), len(stretch), len(turn))
    factors = (stretch[None, :, None], scale[:, None, None], turn[None, None])
    coordinates = torch.cat([each.expand(*shape, -1) for each in factors], dim=-1)
    weights = scale_weights[:, None, None] * stretch_weights[:, None] / len(turn)
    return coordinates.flatten(0, 2), weights.expand(shape).flatten()


def _rotation_nodes(group: LinearGroup, sizes: _Sizes, generator: torch.Generator | None) -> Tensor:
    """Return rotation vectors [R, vector] of a finite group, or of one of its cosets."""
    if not group.rotates:
        return torch.zeros(1, 0, dtype=torch.float64)
    rotations = rotation_subgroup(group.n, sizes.rotations)
    if generator is not None:
        rotations = rotations @ SO(group.n).sample_haar(1, generator=generator)
    return rotation_log(rotations)


def _stretch_nodes(group: LinearGroup, sizes: _Sizes, window: Window) -> tuple[Tensor, Tensor]:
    """Return coordinates [S, strain] of the logarithms of stretches, and weights."""
    if not group.stretches:
        return torch.zeros(1, 0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    directions, shares = stretch_directions(group.n, sizes.rotations)
    shells, rest = divmod(sizes.stretches - 1, len(directions))
    if rest:
        below = 1 + shells * len(directions)
        raise ValueError(
            f"stretches of the product rule for {group} with {sizes.rotations} rotations must be "
            f"1 + {len(directions)} k, found {sizes.stretches}: use {below} or "
            f"{below + len(directions)}, or another rule"
        )
    norms, weights = radial_rule(group.n, window.stretch, shells)
    basis = group.symmetric_basis[: len(group.symmetric_basis) - int(group.scales)]
    unit = torch.einsum("sab,iab->si", directions, basis)
    around = norms[1:, None, None] * unit
    return (
        torch.cat([torch.zeros_like(unit[:1]), around.flatten(0, 1)]),
        torch.cat([weights[:1], (weights[1:, None] * shares).flatten()]),
    )


def _scale_nodes(group: LinearGroup, sizes: _Sizes, window: Window) -> tuple[Tensor, Tensor]:
    """Return coordinates [C, 1] of scalings, sqrt(n) times their logarithms, and weights."""
    if not group.scales:
        return torch.zeros(1, 0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    nodes, weights = np.polynomial.legendre.leggauss(sizes.scales)
    half_width = math.sqrt(group.n) * window.scale
    return half_width * torch.tensor(nodes).unsqueeze(-1), half_width * torch.tensor(weights)
