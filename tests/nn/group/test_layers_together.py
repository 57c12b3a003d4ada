"""Layers on matrix groups, one after another: symmetry, gradients, frozen copies."""

import copy
import itertools
from typing import Any

import pytest
import torch
from group_samples import RULES, images, turned
from torch import nn

from equinet.lie import GL, SO, GroupQuadrature, group_quadrature
from equinet.nn import (
    EachMap,
    GroupConv,
    GroupLayerNorm,
    GroupPool,
    GroupProjection,
    LiftingConv,
)


def stack(rule: GroupQuadrature, pool: str = "mean", **options: Any) -> nn.Sequential:
    """Every kind of layer, one after another; radii that no sample's stretch crops."""
    return nn.Sequential(
        LiftingConv(1, 3, 6, rule, stride=2, radius=2.0, kernel=options.get("kernel", "harmonic")),
        GroupLayerNorm(3, rule),
        EachMap(nn.GELU()),
        GroupConv(3, 4, 3, rule, padding=1, radius=1.0, **options),
        GroupLayerNorm(4, rule),
        GroupPool(rule, pool),
    )


def permutation(rule: GroupQuadrature, rotation: torch.Tensor) -> torch.Tensor:
    """Index k' with elements[k'] = rotation @ elements[k]."""
    moved = rotation @ rule.elements
    return (moved[:, None] - rule.elements[None]).abs().amax((-2, -1)).argmin(1)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("kernel", ["harmonic", "sine"])
def test_quarter_turns_change_no_pooled_feature(name: str, separable: bool, kernel: str) -> None:
    x = images()
    for pool in ("mean", "max", "logsumexp"):
        net = stack(RULES[name], pool, separable=separable, kernel=kernel)
        for training in (True, False):
            net.train(training)
            expected = net(x)
            assert expected.std(0).max() > 1e-4, "features that do not depend on the image"
            torch.testing.assert_close(net(turned(x)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", RULES)
def test_features_turn_and_change_places(name: str) -> None:
    """(L_g f)(x, h) = f(g⁻¹ x, g⁻¹ h), layer by layer, in float64."""
    rule = RULES[name]
    net = stack(rule)[:5].double()
    # rot90 takes y to x in the axes of an image, whose rows run downwards.
    rotation = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    places = permutation(rule, rotation)
    assert not torch.equal(places, torch.arange(len(rule)))
    x = images().double()
    plain, moved = x, turned(x)
    for layer in net:
        plain, moved = layer(plain), layer(moved)
        torch.testing.assert_close(
            moved.values[:, :, places], turned(plain.values), rtol=1e-6, atol=1e-6
        )


def test_translations_move_features_and_black_stays_zero() -> None:
    rule = RULES["sl2"]
    net = stack(rule)[:4]
    x = nn.functional.pad(images(), [8] * 4)
    shifted = x.roll((4, -2), (-2, -1))
    expected = net(x).values.roll((2, -1), (-2, -1))
    torch.testing.assert_close(net(shifted).values, expected, rtol=1e-5, atol=1e-6)
    assert expected[..., 0, 0].abs().max() == 0


def blobs(g: torch.Tensor) -> torch.Tensor:
    """An image of smooth spots, moved by g about the center."""
    line = torch.arange(48, dtype=torch.float64) - 23.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y], -1) @ torch.linalg.inv(g).T
    spots = torch.tensor([[0.0, 0], [6, 1], [-3, 5], [2, -7]], dtype=torch.float64)
    return sum((-(points - s).square().sum(-1) / 8).exp() for s in spots)[None, None]


@pytest.mark.parametrize("pool", ["mean", "max", "logsumexp"])
@pytest.mark.parametrize("separable", [True, False])
def test_moved_samples_undo_a_motion(pool: str, separable: bool) -> None:
    rule = group_quadrature(GL(2), 8, 1, scales=1)
    net = nn.Sequential(
        LiftingConv(1, 4, 11, rule, radius=4.0, padding=5),
        EachMap(nn.GELU()),
        GroupConv(4, 8, 9, rule, radius=3.5, padding=4, separable=separable),
        GroupPool(rule, pool),
    ).double()
    # Scalings and rotations: they commute with the rotations of the rule.
    coordinates = torch.tensor([0, 0, 0.25, 0.3], dtype=torch.float64)
    g = GL(2).decompose("cartan").compose(coordinates)

    def run(image: torch.Tensor, samples: GroupQuadrature) -> torch.Tensor:
        return net[1:](net[0](image, samples))

    expected = run(blobs(torch.eye(2, dtype=torch.float64)), rule)
    moved = run(blobs(g), rule.moved(g)) - expected
    still = run(blobs(g), rule) - expected
    # The highest point of a map lies between pixels, elsewhere than before.
    assert moved.norm() < (0.6 if pool == "max" else 0.2) * still.norm()


@pytest.mark.parametrize("kernel", ["harmonic", "sine"])
@pytest.mark.parametrize("separable", [True, False])
def test_quarter_turns_are_exact_on_moved_samples(kernel: str, separable: bool) -> None:
    rule = group_quadrature(GL(2), 4, 5, scales=2)
    net = nn.Sequential(
        LiftingConv(1, 3, 7, rule, radius=2.0, kernel=kernel),
        GroupConv(3, 2, 5, rule, radius=1.5, kernel=kernel, separable=separable),
    ).double()
    end = GroupProjection(2, 1, 5, rule, radius=1.5, kernel=kernel).double()
    (g,) = GL(2).sample_haar(1, window=rule.window)
    moved = rule.moved(g)
    x = torch.rand(2, 1, 17, 17, dtype=torch.float64)
    features = net[1](net[0](x, moved))
    turned = net[1](net[0](x.rot90(1, (-2, -1)), moved))
    pooled = GroupPool(rule)(features)
    torch.testing.assert_close(GroupPool(rule)(turned), pooled, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(end(turned), end(features).rot90(1, (-2, -1)), rtol=0, atol=1e-12)
    assert (GroupPool(rule)(net(x)) - pooled).abs().max() > 1e-3


@pytest.mark.parametrize("separable", [True, False])
def test_frozen_layers_are_plain_and_equal(separable: bool) -> None:
    rule = RULES["gl2"]
    net = stack(rule, "logsumexp", separable=separable).eval()
    frozen = nn.Sequential(*[layer.freeze() for layer in net])
    x = images()
    torch.testing.assert_close(frozen(x), net(x), rtol=1e-6, atol=1e-6)
    kinds = {type(module).__name__ for module in frozen.modules()}
    assert "Conv2d" in kinds
    assert not kinds & {"LiftingConv", "GroupConv", "HarmonicKernel"}


def test_evaluation_repeats_its_bits_and_notices_new_weights() -> None:
    net = stack(RULES["sl2"]).eval()
    x = images()
    with torch.no_grad():
        first, second = net(x), net(x)
        assert torch.equal(first, second)
        assert torch.equal(copy.deepcopy(net)(x), first)
        net[0].kernel.weight.add_(0.1)
        changed = net(x)
    assert not torch.equal(changed, first)
    torch.testing.assert_close(changed, net.train()(x), rtol=1e-6, atol=1e-6)


def test_every_weight_gets_a_gradient() -> None:
    for kernel, separable in itertools.product(("harmonic", "sine"), (True, False)):
        net = stack(RULES["sl2"], kernel=kernel, separable=separable)
        net(images()).square().sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_cubic_rotations_of_a_volume_are_exact() -> None:
    rule = group_quadrature(SO(3), 24)
    net = nn.Sequential(
        LiftingConv(1, 2, 3, rule, degree=2),
        EachMap(nn.GELU()),
        GroupConv(2, 3, 3, rule, degree=2, group_degree=2),
        GroupLayerNorm(3, rule),
        GroupPool(rule, "logsumexp"),
    )
    x = torch.rand(2, 1, 9, 9, 9)
    expected = net(x)
    assert expected.std(0).min() > 1e-4
    for axes in ((-1, -2), (-1, -3), (-2, -3)):
        torch.testing.assert_close(net(turned(x, 1, axes)), expected, rtol=1e-5, atol=1e-5)
