"""The metrics table and the lines for people."""

import csv
import re

import pytest

from equinet.training import PotentialTask
from equinet.training.progress import clock, line, read_metrics


def test_one_row_per_validation_with_units_in_the_columns(whole):
    with whole.directory.table.open(encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["epoch", "step", "seconds", "lr", *PotentialTask.columns]
    rows = read_metrics(whole.directory.table)
    assert [row["step"] for row in rows] == [5, 10, 15]
    assert all(row["val_forces_rmse_meV_per_A"] > 0 for row in rows)
    assert all(row["train_energy_rmse_meV"] > 0 for row in rows)
    assert "val_stress_rmse_meV_per_A3" not in rows[0]
    assert rows[0]["seconds"] <= rows[-1]["seconds"]


def test_unfinished_last_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,seconds,lr\n0,5,1.0,0.1\n1,1", encoding="utf-8")
    assert [row["step"] for row in read_metrics(path)] in ([5], [5, 1])
    path.write_text("epoch,step,seconds,lr\n0,5,1.0,0.1\n1,1e", encoding="utf-8")
    assert [row["step"] for row in read_metrics(path)] == [5]


def test_line_has_units():
    row = {"epoch": 1, "step": 10, "seconds": 65.0, "lr": 0.01}
    row |= {"val_energy_rmse_meV": 1.23, "val_forces_rmse_meV_per_A": 4.56}
    shown = line(row, PotentialTask.shown)
    assert "val E 1.2 meV F 4.6 meV/Å" in shown
    assert "train" not in shown
    assert "1m05s" in shown


@pytest.mark.parametrize(("seconds", "text"), [(0, "0m00s"), (59.9, "0m59s"), (7261, "2h01m")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_bar_shows_errors_with_units(run_fit, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    run_fit(max_epochs=1, enable_progress_bar=True)
    shown = capsys.readouterr().out
    assert re.search(r"E meV=\d+\.\d, F meV/Å=\d+\.\d", shown), shown
    assert "v_num" not in shown


def test_rewriting_the_table_at_a_resume_leaves_it_whole_or_as_it_was(run_fit, monkeypatch):
    path = run_fit(max_epochs=2).directory.table
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(csv.DictWriter, "writerows", full)
    with pytest.raises(OSError, match="no space left"):
        run_fit(max_epochs=3)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.partial"))
