"""Convolutions on matrix groups."""

import math
import warnings
from typing import Any

import pytest
import torch
from group_samples import NARROW, RULES
from torch import nn

from equinet.lie import GL, SL, SO, GroupQuadrature, group_quadrature
from equinet.nn import EquivarianceWarning, GroupConv, GroupProjection, GroupTensor, LiftingConv


class Gaussian(nn.Module):
    """exp(-2 |u|²) in place of a learned kernel."""

    def forward(self, displacements: torch.Tensor, _: None) -> torch.Tensor:
        return (-2 * displacements.square().sum(-1, keepdim=True)).exp()


def test_lifting_has_the_determinant_of_the_output() -> None:
    """A Gaussian lifted by a Gaussian is known in closed form, for stretches and scalings."""
    rule = group_quadrature(GL(2), 4, 5, scales=3, window=NARROW)
    layer = LiftingConv(1, 1, 31, rule, radius=5.0).double()
    layer.kernel = Gaussian()
    line = torch.arange(31, dtype=torch.float64) - 15
    y, x = torch.meshgrid(line, line, indexing="ij")
    image = (-(x**2 + 2 * y**2 + x * y) / (2 * 9)).exp()
    found = layer(image[None, None]).values.squeeze()
    precision = torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=torch.float64) / 9
    of_kernel = rule.inverses.mT @ rule.inverses * (4 / 25)
    integral = 2 * math.pi / torch.linalg.det(precision + of_kernel).sqrt()
    expected = integral / torch.linalg.det(rule.elements)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert expected.std() > 0.1 * expected.mean()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_separable_equals_the_dense_kernel_it_is(rule: GroupQuadrature) -> None:
    layer = GroupConv(3, 2, 3, rule, radius=1.0).double()
    x = GroupTensor(torch.randn(2, 3, len(rule), 7, 7, dtype=torch.float64), rule)
    spatial, mixing = layer.weights(rule)
    dense = mixing * spatial[:, 0]
    expected = nn.functional.conv2d(x.maps, dense)
    torch.testing.assert_close(layer(x).maps, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_variance_is_kept(separable: bool, rule: GroupQuadrature) -> None:
    layer = GroupConv(16, 64, 5, rule, separable=separable, radius=1.7)
    x = GroupTensor(torch.randn(4, 16, len(rule), 12, 12), rule)
    assert 0.6 < float(layer(x).values.detach().std()) < 1.6


def test_what_breaks_equivariance_warns_with_the_reason() -> None:
    rule, wide = group_quadrature(SO(2), 4), group_quadrature(SL(2), 4, 5)
    with pytest.warns(EquivarianceWarning, match="stride 2 .* leaves out 1 of 8 rows"):
        LiftingConv(1, 2, 5, rule, stride=2)(torch.zeros(1, 1, 8, 8))
    with pytest.warns(EquivarianceWarning, match="background is 1:"):
        LiftingConv(1, 2, 5, rule, padding=2)(torch.ones(1, 1, 8, 8))
    with pytest.warns(EquivarianceWarning, match="kernel_size 5 crops .* use kernel_size 7"):
        LiftingConv(1, 2, 5, wide)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LiftingConv(1, 2, 6, rule, stride=2, padding=2)(torch.zeros(1, 1, 8, 8))
        LiftingConv(1, 2, 7, wide, radius=2.5)


@pytest.mark.parametrize("kernel", ["harmonic", "sine"])
@pytest.mark.parametrize("separable", [True, False])
def test_kernels_follow_their_layer_to_another_device(kernel: str, separable: bool) -> None:
    rule = group_quadrature(GL(2), 4, 5, scales=2)
    for layer in (
        LiftingConv(1, 3, 7, rule, radius=2.0, kernel=kernel),
        GroupConv(3, 2, 5, rule, radius=1.5, kernel=kernel, separable=separable),
        GroupProjection(2, 1, 5, rule, radius=1.5, kernel=kernel),
    ):
        expected = [each.shape for each in layer.weights(rule)]
        found = layer.to("meta").weights(rule)
        assert all(each.is_meta for each in found)
        assert [each.shape for each in found] == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: LiftingConv(1, 2, 5, r)(torch.zeros(1, 1, 4, 9)), "4 × 9 pixels .* kernel of 5"),
        (lambda r: LiftingConv(1, 2, 5, r)(torch.zeros(1, 3, 9, 9)), r"shape \[batch, 1, size"),
        (lambda r: LiftingConv(1, 2, 5, r, kernel="sinus"), "kernel 'sinus' .* mean 'sine'"),
        (lambda r: LiftingConv(1, 2, 0, r), "kernel_size must be at least 1, found 0"),
        (lambda r: LiftingConv(1, 2, 5, r, radius=-1.0), "radius must be above 0, found -1.0"),
        (
            lambda r: LiftingConv(1, 2, 5, r)(torch.zeros(1, 1, 9, 9), r.moved(torch.zeros(2, 2))),
            r"SO\(2\).*determinant",
        ),
        (
            lambda r: GroupConv(3, 2, 3, r)(GroupTensor(torch.zeros(1, 2, 4, 9, 9), r)),
            "must have 3 channels, found 2",
        ),
    ],
)
def test_bad_input_is_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(group_quadrature(SO(2), 4))
