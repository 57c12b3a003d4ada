"""Pooling of features on matrix groups."""

import pytest
import torch

from equinet.lie import GL, SO, group_quadrature
from equinet.nn import GroupPool, GroupTensor


def test_means_weigh_samples_by_the_haar_measure() -> None:
    rule = group_quadrature(GL(2), 4, 5, scales=3)
    values = torch.randn(2, 3, len(rule), 5, 5, dtype=torch.float64)
    weights = rule.weights / torch.linalg.det(rule.elements)
    expected = (values.mean((-2, -1)) * weights).sum(-1) / weights.sum()
    pooled = GroupPool(rule).double()(GroupTensor(values, rule))
    torch.testing.assert_close(pooled, expected, rtol=1e-6, atol=1e-6)
    soft = GroupPool(rule, "logsumexp", sharpness=200.0).double()(GroupTensor(values, rule))
    torch.testing.assert_close(soft, values.amax((2, 3, 4)), rtol=0, atol=0.1)


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match="pooling 'men' is unknown: did you mean 'mean'"):
        GroupPool(group_quadrature(SO(2), 4), "men")
