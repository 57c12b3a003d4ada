import math

import pytest
import torch

from equinet.lie import (
    CSO,
    GL,
    SE,
    SL,
    SO,
    Group,
    GroupQuadrature,
    Scale,
    Window,
    group_quadrature,
    named_group,
)
from equinet.lie.designs import rotation_subgroup

PRODUCTS = [
    *((group, 8, 5) for group in (SO(2), Scale(2), CSO(2), SL(2), GL(2))),
    *((SL(2), 6, 7), (SL(2), 4, 9), (SL(2), 5, 6), (SL(3), 24, 13), (GL(3), 12, 13)),
    (SO(3), 60, 1),
]
RULES = ["product", "lattice", "sobol", "mc"]


def measure(group: Group, window: Window) -> float:
    """Haar measure of a window of the plane's groups, in closed form."""
    scales = 2 * math.sqrt(2) * window.scale if group.scales else 1.0
    disc = math.pi * (math.cosh(math.sqrt(2) * window.stretch) - 1) if group.stretches else 1.0
    return scales * disc


@pytest.mark.parametrize(("group", "rotations", "stretches"), PRODUCTS, ids=str)
def test_fields_belong_together(group: Group, rotations: int, stretches: int) -> None:
    rule = group_quadrature(group, rotations, stretches)
    identity = torch.eye(group.size, dtype=torch.float64).expand_as(rule.elements)
    torch.testing.assert_close(rule.elements @ rule.inverses, identity, rtol=0, atol=1e-13)
    cartan = group.decompose("cartan")
    again = cartan.compose(rule.coordinates)
    torch.testing.assert_close(again, rule.elements, rtol=0, atol=1e-13)
    assert rule.coordinates.shape == (len(rule), group.dim)
    assert (rule.weights > 0).all()
    distance = (rule.elements[:, None] - rule.elements[None]).abs().amax((-2, -1))
    assert ((distance < 1e-9).sum(1) == 1).all(), "an element is there twice"


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(
    ("group", "rotations", "stretches"), [each for each in PRODUCTS if each[0].rotates], ids=str
)
def test_rotations_permute_the_product_rule(
    group: Group, rotations: int, stretches: int, seed: int | None
) -> None:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    rule = group_quadrature(group, rotations, stretches, generator=generator)
    for rotation in rotation_subgroup(group.n, rotations):
        moved = rotation @ rule.elements
        distance = (moved[:, None] - rule.elements[None]).abs().amax((-2, -1))
        nearest = distance.argmin(1)
        assert distance.amin(1).max() < 1e-12
        assert len(nearest.unique()) == len(rule)
        torch.testing.assert_close(rule.weights[nearest], rule.weights, rtol=1e-13, atol=0)


@pytest.mark.parametrize("group", [SO(2), Scale(2), CSO(2), SL(2), GL(2)], ids=str)
@pytest.mark.parametrize("radius", [0.3, 2.0])
def test_weights_add_up_to_the_measure_of_the_window(group: Group, radius: float) -> None:
    window = Window(stretch=radius, scale=radius)
    exact = measure(group, window)
    product = group_quadrature(group, 8, 5, window=window)
    assert float(product.weights.sum()) == pytest.approx(exact, rel=1e-12)
    even = group_quadrature(group, 32, 32, "lattice", window=window, scales=1)
    assert float(even.weights.sum()) == pytest.approx(exact, rel=1e-3)


def test_weights_of_space_agree_between_rules() -> None:
    product = group_quadrature(SL(3), 24, 13).weights.sum()
    even = group_quadrature(SL(3), 64, 64, "sobol").weights.sum()
    assert float(product) == pytest.approx(float(even), rel=1e-3)


@pytest.mark.parametrize("order", [8, 16])
def test_circular_harmonics_below_the_order_are_exact(order: int) -> None:
    angles = group_quadrature(SO(2), order).coordinates[:, 0]
    for k in range(1, order):
        assert (k * angles).cos().mean().abs() < 1e-14
    assert (order * angles).cos().mean() == pytest.approx(1)


def test_errors_fall_with_the_number_of_elements() -> None:
    """A smooth function on SL(2), against a rule that is much finer."""

    def integral(rule: GroupQuadrature) -> torch.Tensor:
        entries = rule.elements.flatten(1)
        return rule.weights @ (entries @ torch.tensor([1.0, 0.4, -0.3, 0.5]).double()).cos()

    exact = integral(group_quadrature(SL(2), 64, 1 + 32 * 8))
    errors = [
        float((integral(group_quadrature(SL(2), order, 1 + ring)) - exact).abs() / exact)
        for order, ring in ((4, 4), (8, 4), (16, 16))
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 1e-6


@pytest.mark.parametrize("rule", RULES)
def test_deterministic_unless_randomized(rule: str) -> None:
    first, second = (group_quadrature(SL(2), rule=rule) for _ in range(2))
    assert torch.equal(first.elements, second.elements)
    assert torch.equal(first.weights, second.weights)
    assert first != second
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    drawn = [group_quadrature(SL(2), rule=rule, generator=seed).elements for seed in seeds]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])


def test_relative_coordinates_are_those_of_pairs_and_are_kept() -> None:
    rule = group_quadrature(SL(2))
    relative = rule.relative_coordinates
    assert relative is rule.relative_coordinates
    assert relative.shape == (40, 40, 3)
    pairs = SL(2).decompose("cartan").compose(relative)
    moved = rule.elements[:, None] @ pairs
    torch.testing.assert_close(moved, rule.elements.expand_as(moved), rtol=0, atol=1e-12)
    diagonal = relative.diagonal().abs().max()
    assert diagonal < 1e-13


def bump(g: torch.Tensor) -> torch.Tensor:
    """A smooth function on SL(2) without symmetry, zero where the stretch exceeds one."""
    coordinates = SL(2).decompose("cartan").coordinates(g)
    radius = coordinates[:, :2].square().sum(-1)
    shape = 1 + 0.5 * (coordinates[:, 2] + coordinates[:, 0]).cos()
    return (1 - radius).clamp(min=0) ** 3 * shape


@pytest.mark.parametrize("motion", ["left", "right"])
def test_integrals_are_invariant_only_with_the_weights(motion: str) -> None:
    """The window holds the support of the function before and after the motion."""
    rule = group_quadrature(SL(2), 300, 300, "mc", window=Window(stretch=2.0))
    a = SL(2).decompose("cartan").compose(torch.tensor([0.6, 0.3, 0.8], dtype=torch.float64))
    moved = a @ rule.elements if motion == "left" else rule.elements @ a
    difference = bump(moved) - bump(rule.elements)

    def deviation(weights: torch.Tensor) -> float:
        """Mean of the difference in units of its standard error."""
        terms = weights * difference
        return float(terms.mean() / terms.std() * len(terms) ** 0.5)

    assert abs(deviation(rule.weights)) < 4
    assert abs(deviation(torch.ones_like(rule.weights))) > 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SL(2), 8, 6), r"SL\(2\) with 8 rotations must be 1 \+ 4 k, found 6: use 5 or 9"),
        ((SL(3), 8, 13), "rotations of space must be 12, 24 or 60, found 8"),
        ((SL(2), 8, 5, "sobel"), "rule 'sobel' is unknown: did you mean 'sobol', of product, la"),
        ((SL(2), 0, 5), "rotations must be at least 1, found 0"),
        ((SL(2), 8, 0, "mc"), "stretches must be at least 1, found 0"),
    ],
)
def test_bad_requests_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_quadrature(*arguments)


def test_translations_are_refused() -> None:
    with pytest.raises(TypeError, match=r"found SE\(2\): use its linear part, group.linear"):
        group_quadrature(SE(2))


def test_groups_by_name() -> None:
    assert repr(named_group("gl3")) == "GL(3)"
    assert repr(named_group("sim2").linear) == "CSO(2)"
    with pytest.raises(ValueError, match="group 'sl4' is unknown: did you mean 'sl3', of so2"):
        named_group("sl4")


@pytest.mark.parametrize("group", [SO(2), CSO(3), SL(2), GL(2)])
def test_moved_elements(group: Group) -> None:
    rule = group_quadrature(group, 12 if group.n == 3 else 4, 1, scales=2)
    g, h = group.sample_haar(2)
    moved = rule.moved(g).moved(h)
    assert moved.base is rule
    assert rule.base is None
    torch.testing.assert_close(moved.elements, rule.elements @ g @ h)
    identity = torch.eye(group.n, dtype=torch.float64).expand_as(moved.elements)
    torch.testing.assert_close(moved.inverses @ moved.elements, identity)
    composed = group.decompose("cartan").compose(moved.coordinates)
    torch.testing.assert_close(composed, moved.elements)
    torch.testing.assert_close(moved.determinants, torch.linalg.det(moved.elements))
    with pytest.raises(ValueError, match="determinant"):
        rule.moved(-torch.eye(group.n)[:, [1, 0, *range(2, group.n)]] * (-1) ** group.n)
