import math
from itertools import product

import pytest
import torch

from equinet.o3 import bracket_gain, gaunt_gain, path_factors

# The published table: a = b and c for lmax = L1 = L2 = Lout.
EVEN = {
    2: ([1, 0.8102, 0.7448], [3.125, 4.2589, 4.9272], (0.88, 1.10)),
    3: ([1, 0.8156, 0.7740, 0.7161], [2.8823, 3.9678, 4.7079, 5.1187], (0.81, 1.11)),
    4: (
        [1, 0.8206, 0.7840, 0.7511, 0.7111],
        [2.6450, 3.6757, 4.3965, 4.9014, 5.2097],
        (0.74, 1.14),
    ),
    6: (
        [1, 0.8207, 0.7873, 0.7696, 0.7559, 0.7311, 0.6971],
        [2.3112, 3.2345, 3.9081, 4.4357, 4.8536, 5.1432, 5.3027],
        (0.65, 1.18),
    ),
}
ODD = {
    3: ([0, 1, 0.6523, 0.4949], [0, 1.512, 1.2875, 1.1648]),
    4: ([0, 1, 0.6471, 0.4848, 0.3986], [0, 1.5654, 1.3285, 1.1918, 1.1134]),
    6: (
        [0, 1, 0.6411, 0.4762, 0.3838, 0.3239, 0.2854],
        [0, 1.6777, 1.4195, 1.2697, 1.1713, 1.1006, 1.0558],
    ),
}


@pytest.mark.parametrize(
    ("path", "gain"),
    [
        ((0, 0, 0), 0.282095),
        ((1, 1, 0), 0.488603),
        ((1, 1, 2), 0.690988),
        ((1, 2, 3), 0.846284),
        ((2, 2, 2), 0.753930),
        ((2, 2, 4), 1.011503),
        ((3, 3, 4), 0.954738),
        ((3, 3, 6), 1.299233),
        ((4, 4, 8), 1.566558),
        ((6, 6, 6), 1.230469),
    ],
)
def test_published_gaunt_gains(path, gain):
    assert gaunt_gain(*path) == pytest.approx(gain, abs=6e-7)


@pytest.mark.parametrize(
    ("path", "gain"),
    [
        ((1, 1, 1), 1.196827),
        ((1, 2, 2), 2.676186),
        ((2, 2, 1), 2.676186),
        ((2, 2, 3), 5.352372),
        ((3, 3, 1), 4.478116),
        ((2, 3, 4), 8.462844),
        ((3, 3, 5), 12.927207),
    ],
)
def test_published_bracket_gains(path, gain):
    assert bracket_gain(*path) == pytest.approx(gain, abs=6e-7)


def test_every_allowed_path_has_a_gain():
    """Gaunt and bracket together reach all Clebsch-Gordan paths, and never the same one."""
    for l1, l2, l3 in product(range(13), repeat=3):
        triangle = abs(l1 - l2) <= l3 <= l1 + l2
        even = (l1 + l2 + l3) % 2 == 0
        assert (gaunt_gain(l1, l2, l3) > 0) == (triangle and even)
        assert (bracket_gain(l1, l2, l3) > 0) == (triangle and not even)


@pytest.mark.parametrize("lmax", EVEN)
def test_published_factors(lmax):
    a, b, c = path_factors(lmax, lmax, lmax)
    expected_a, expected_c, (low, high) = EVEN[lmax]
    assert a.dtype == torch.float64
    assert a.tolist() == pytest.approx(expected_a, abs=6e-5)
    assert b.tolist() == pytest.approx(a.tolist(), abs=1e-9)
    assert c.tolist() == pytest.approx(expected_c, abs=6e-5)
    strengths = [
        float(a[l1] * b[l2] * c[l3]) * gaunt_gain(l1, l2, l3) / math.sqrt(2 * l3 + 1)
        for l1, l2, l3 in product(range(lmax + 1), repeat=3)
        if gaunt_gain(l1, l2, l3) > 0
    ]
    assert low < min(strengths)
    assert max(strengths) < high


@pytest.mark.parametrize("lmax", ODD)
def test_published_odd_factors(lmax):
    a, b, c = path_factors(lmax, lmax, lmax, odd=True)
    expected_a, expected_c = ODD[lmax]
    assert a.tolist() == pytest.approx(expected_a, abs=6e-5)
    assert b.tolist() == pytest.approx(a.tolist(), abs=1e-9)
    assert c.tolist() == pytest.approx(expected_c, abs=6e-5)


@pytest.mark.parametrize("sizes", [(0, 0, 0), (0, 3, 3), (3, 1, 4), (2, 5, 1), (1, 1, 4)])
@pytest.mark.parametrize("odd", [False, True])
def test_factors_are_stationary(sizes, odd):
    """No small change of one factor brings the paths nearer to their target strength."""
    factors = path_factors(*sizes, odd=odd)
    gain = bracket_gain if odd else gaunt_gain
    paths = product(*(range(n + 1) for n in sizes))
    gains = torch.tensor([gain(*path) for path in paths], dtype=torch.float64)
    gains = gains.reshape([n + 1 for n in sizes])
    target = torch.sqrt(2.0 * torch.arange(sizes[2] + 1).double() + 1) * (gains > 0)
    leaves = [each.requires_grad_() for each in factors]
    loss = (torch.einsum("abc,a,b,c->abc", gains, *leaves) - target).square().sum()
    slopes = torch.autograd.grad(loss, leaves)
    assert max(float(each.abs().max()) for each in slopes) < 1e-9
    taking_part = [gains.sum(dim=[i for i in range(3) if i != axis]) > 0 for axis in range(3)]
    for factor, used in zip(factors, taking_part, strict=True):
        assert torch.equal(factor > 0, used)


def test_bad_degree_is_named():
    with pytest.raises(ValueError, match=r"at least 0, found \(1, 1, -1\)"):
        path_factors(1, 1, -1)
