"""Tables of errors."""

from equinet.evaluation import Error, lay_out

ROWS = [{"name": "validation", "structures": 7, "mse": 0.25}, {"name": "b", "structures": 1}]


def test_columns_are_aligned_and_missing_errors_blank():
    lines = lay_out(ROWS, [Error("mse", "MSE", "Å²", digits=3)]).splitlines()
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[1].split() == ["Å²"]
    assert lines[2].split() == ["validation", "7", "0.250"]
    assert lines[3].split() == ["b", "1"]


def test_no_line_of_units_without_units():
    assert len(lay_out(ROWS, [Error("mse", "MSE")]).splitlines()) == 3
