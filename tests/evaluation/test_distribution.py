"""Percentiles of the errors of single structures."""

import numpy as np
import pytest

from equinet.evaluation import describe, structure_errors, summarize


class _Frame:
    def __init__(self, source: str) -> None:
        self.source = source


class _Loader:
    class dataset:  # noqa: N801
        frames = tuple(_Frame(f"test.xyz, frame {index}") for index in range(101))


def test_percentiles_of_known_numbers():
    values = np.random.default_rng(0).permutation(np.arange(101.0))
    found = summarize(values, _Loader)
    assert (found["median"], found["percentile_90"], found["percentile_99"]) == (50, 90, 99)
    assert found["worst"] == 100
    assert found["worst_index"] == int(np.argmax(values))
    assert found["worst_source"] == f"test.xyz, frame {found['worst_index']}"


def test_structures_without_an_error_are_left_out():
    found = summarize(np.array([np.nan, 3.0, 1.0]), [])
    assert found["median"] == 2
    assert found["worst_index"] == 1
    assert summarize(np.array([np.nan]), []) is None
    assert summarize(np.array([]), []) is None


def test_one_line_with_units():
    line = describe("test", summarize(np.arange(101.0), _Loader))
    assert line == (
        "test: F RMSE of a structure: median 50.00, 90 % below 90.00, 99 % below 99.00, "
        "worst 100.00 meV/Å (test.xyz, frame 100)"
    )


@pytest.mark.parametrize("values", [[1.0, 2.0], [0.0], [float("nan")], []])
def test_the_figure_is_drawn_whatever_there_is(tmp_path, values):
    structure_errors({"val": np.array(values), "test": np.arange(50.0)}, tmp_path / "errors.png")
    assert (tmp_path / "errors.png").read_bytes().startswith(b"\x89PNG")
