"""Running errors that follow from declarations."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.evaluation import Error, SummedErrors


class Errors(SummedErrors):
    declared = (
        Error("mean", of="x"),
        Error("absolute", unit="%", of="x", measure="absolute"),
        Error("square", of="x", measure="square"),
        Error("root", unit="meV", of="x", measure="root"),
        Error("relative", of="x", measure="root", over="y"),
        Error("never", of="z"),
    )
    further = ("penalty",)

    def update(self, x, y):
        self.add(x=x, y=y, penalty=(x.sum(), 2.0))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=3))
def test_any_batching_gives_the_averages_of_the_whole(cuts):
    x, y = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    errors, batches = Errors(), 0
    for start, stop in pairwise([0, *sorted(cuts), 9]):
        if start < stop:
            errors.update(x[start:stop], y[start:stop])
            batches += 1
    expected = {
        "mean": x.mean(),
        "absolute": 100 * x.abs().mean(),
        "square": x.square().mean(),
        "root": 1000 * x.square().mean().sqrt(),
        "relative": (x.square().mean() / y.square().mean()).sqrt(),
    }
    found = errors.compute()
    assert found.keys() == expected.keys()  # nothing was said of z
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-12), name
    assert float(errors.average("penalty")) == pytest.approx(float(x.sum()) / (2 * batches))


def test_sums_that_a_checkpoint_kept_go_on():
    x, y = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole, first, second = Errors(), Errors(), Errors()
    whole.update(x[:5], y[:5])
    first.update(x[:5], y[:5])
    second.restore(first.amounts())
    assert second.update_called
    for errors in (whole, second):
        errors.update(x[5:], y[5:])
    assert {k: float(v) for k, v in whole.compute().items()} == {
        k: float(v) for k, v in second.compute().items()
    }


def test_sums_that_a_checkpoint_lacks_start_at_zero():
    errors = Errors()
    errors.update(torch.ones(2), torch.ones(2))
    errors.restore({"x.count": 4.0, "x.sum": 2.0, "gone.sum": 7.0})
    assert float(errors.compute()["mean"]) == 0.5
    assert errors.amounts()["y.square"] == 0


def test_only_what_a_declared_error_needs_is_summed():
    kept = set(Errors().amounts())
    assert {"x.count", "x.sum", "x.absolute", "x.square", "y.count", "y.square"} <= kept
    assert "y.sum" not in kept
    assert "penalty.square" not in kept


@pytest.mark.parametrize(
    ("unit", "column"),
    [
        ("", "x"),
        ("meV/Å", "x_meV_per_A"),
        ("cal/(mol K)", "x_cal_per_molK"),
        ("μB", "x_uB"),
        ("µB", "x_uB"),  # the micro sign, which looks like the Greek letter
        ("°", "x_deg"),
    ],
)
def test_columns_spell_units_in_ascii(unit, column):
    assert Error("x", unit=unit).column == column
