"""Normalization of features on matrix groups."""

import torch
from group_samples import RULES

from equinet.nn import GroupLayerNorm, GroupTensor


def test_each_pixel_is_normalized_by_itself() -> None:
    rule = RULES["se2"]
    norm = GroupLayerNorm(3, rule, epsilon=1e-12).double()
    with torch.no_grad():
        norm.gain.copy_(torch.tensor([1.0, 2.0, 3.0]))
    values = 5 + torch.randn(2, 3, len(rule), 6, 7, dtype=torch.float64)
    found = norm(GroupTensor(values, rule)).values
    mean, deviation = values.mean((1, 2), keepdim=True), values.std((1, 2), False, keepdim=True)
    gain = norm.gain[:, None, None, None]
    torch.testing.assert_close(found, gain * (values - mean) / deviation, rtol=1e-9, atol=1e-9)
    values[..., 0, 0] = 100.0
    elsewhere = norm(GroupTensor(values, rule)).values[..., 1:, :]
    assert torch.equal(elsewhere, found[..., 1:, :])
