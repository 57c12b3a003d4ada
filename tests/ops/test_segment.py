import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from equinet.ops import segment_max, segment_mean, segment_softmax, segment_sum

REDUCTIONS = {
    segment_sum: lambda rows: rows.sum(0),
    segment_mean: lambda rows: rows.mean(0),
    segment_max: lambda rows: rows.amax(0),
}


@settings(max_examples=25, deadline=None)
@given(
    index=st.lists(st.integers(0, 4), max_size=12),
    feature=st.lists(st.integers(0, 3), max_size=2),
    extra=st.integers(0, 2),
)
def test_equals_a_loop(index, feature, extra):
    src = torch.randn(len(index), *feature, dtype=torch.float64)
    segment = torch.tensor(index, dtype=torch.long)
    count = 5 + extra
    for reduce, loop in REDUCTIONS.items():
        found = reduce(src, segment, count)
        assert found.shape == (count, *feature)
        for each in range(count):
            rows = src[segment == each]
            expected = loop(rows) if len(rows) else torch.zeros(feature, dtype=torch.float64)
            torch.testing.assert_close(found[each], expected)
    weights = segment_softmax(src, segment, count)
    for each in range(count):
        torch.testing.assert_close(weights[segment == each], src[segment == each].softmax(0))


@pytest.mark.parametrize("op", [segment_sum, segment_mean, segment_max, segment_softmax])
def test_gradients(op):
    src = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([3, 0, 0, 1, 3, 3, 0])
    assert gradcheck(lambda src: op(src, index, 5), [src])
    assert gradgradcheck(lambda src: op(src, index, 5) ** 2, [src])


def test_maximum_of_ties_has_one_winner():
    src = torch.tensor([1.0, 2.0, 2.0, -5.0], requires_grad=True)
    largest = segment_max(src, torch.tensor([0, 0, 0, 1]), 3)
    assert largest.tolist() == [2.0, -5.0, 0.0]
    (gradient,) = torch.autograd.grad(largest.sum(), src)
    assert gradient.tolist() == [0.0, 1.0, 0.0, 1.0]


def test_maximum_shows_nan_and_infinity():
    src = torch.tensor([1.0, torch.nan, -torch.inf, 3.0])
    largest = segment_max(src, torch.tensor([0, 0, 1, 2]), 3)
    assert largest[0].isnan()
    assert largest[1:].tolist() == [-torch.inf, 3.0]


def test_softmax_of_large_logits():
    logits = torch.tensor([1e4, 1e4 - 1, -1e4, -1e4])
    weights = segment_softmax(logits, torch.tensor([0, 0, 1, 1]), 2)
    torch.testing.assert_close(weights[:2], torch.tensor([1.0, 0.0]).softmax(0))
    torch.testing.assert_close(weights[2:], torch.tensor([0.5, 0.5]))


def test_half_precision_is_accumulated_in_single():
    src, index = torch.ones(1000, dtype=torch.bfloat16), torch.zeros(1000, dtype=torch.long)
    assert segment_sum(src, index, 1).item() == 1000
    assert segment_sum(src, index, 1).dtype == torch.bfloat16
    assert segment_mean(src, index, 1).item() == 1


def test_sum_is_reproducible():
    src, index = torch.randn(5000, 16), torch.randint(0, 40, (5000,))
    assert torch.equal(segment_sum(src, index, 40), segment_sum(src, index, 40))


def test_wrong_arguments_are_named():
    src = torch.randn(4, 2)
    with pytest.raises(ValueError, match=r"index must have shape \[4\].* found \[3\]"):
        segment_sum(src, torch.zeros(3, dtype=torch.long), 2)
    with pytest.raises(ValueError, match="num_segments must be at least 0, found -1"):
        segment_max(src, torch.zeros(4, dtype=torch.long), -1)
