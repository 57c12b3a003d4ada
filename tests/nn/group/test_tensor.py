"""Features on matrix groups, and the quadratures that they belong to."""

import pytest
import torch

from equinet.lie import SO, group_quadrature
from equinet.nn import (
    GroupConv,
    GroupLayerNorm,
    GroupPool,
    GroupProjection,
    GroupTensor,
    LiftingConv,
)


def test_features_on_another_quadrature_are_refused() -> None:
    one, other = (group_quadrature(SO(2), 4) for _ in range(2))
    x = GroupTensor(torch.zeros(1, 3, 4, 9, 9), one)
    for layer in (
        GroupConv(3, 3, 3, other),
        GroupLayerNorm(3, other),
        GroupPool(other),
        GroupProjection(3, 1, 3, other),
    ):
        with pytest.raises(ValueError, match=r"on another.*build all layers with one quadrature"):
            layer(x)
    with pytest.raises(ValueError, match="lifting takes features on its own"):
        LiftingConv(1, 3, 3, other)(torch.zeros(1, 1, 9, 9), one)
    for another in (other, one.moved(torch.eye(2))):
        with pytest.raises(ValueError, match="a sum must be of features on one quadrature"):
            _ = x + GroupTensor(x.values, another)


def test_a_shape_that_does_not_fit_the_quadrature_is_named() -> None:
    with pytest.raises(ValueError, match=r"\[batch, channels, 4, size"):
        GroupTensor(torch.zeros(1, 3, 5, 9, 9), group_quadrature(SO(2), 4))
