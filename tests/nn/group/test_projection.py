"""Projection of features on matrix groups to images."""

import pytest
import torch
from group_samples import RULES, images, turned
from torch import nn

from equinet.lie import SO, group_quadrature
from equinet.nn import GroupProjection, GroupTensor, LiftingConv


def test_a_projection_moves_as_an_image_does() -> None:
    rule = RULES["sl2"]
    net = nn.Sequential(
        LiftingConv(1, 3, 5, rule, radius=1.8), GroupProjection(3, 2, 5, rule, radius=1.8)
    )
    x = images()
    torch.testing.assert_close(net(turned(x)), turned(net(x)), rtol=1e-5, atol=1e-5)


def test_another_number_of_channels_is_named() -> None:
    rule = group_quadrature(SO(2), 4)
    with pytest.raises(ValueError, match="must have 3 channels, found 2"):
        GroupProjection(3, 1, 3, rule)(GroupTensor(torch.zeros(1, 2, 4, 9, 9), rule))
