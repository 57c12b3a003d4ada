"""Figures in experiments/*/*.json carry their provenance, and the README repeats them."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("experiments/*/*.json"))
MEASURED = {"metric", "value", "unit", "hardware", "date", "commit"}
TRAINED = {"split", "data_sha256", "train_command", "train_seconds"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_figure_says_where_it_comes_from(path: Path) -> None:
    entries = json.loads(path.read_text())
    assert entries
    for entry in entries:
        required = TRAINED if "split" in entry else {"command"}
        assert set(entry) >= MEASURED | required
        assert len(entry["commit"]) == 40
        assert not entry["dirty"], "figures come from committed code"


def test_readme_shows_the_recorded_errors() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = [line for line in readme.splitlines() if line.startswith("| `3bpa`")]
    entries = json.loads((ROOT / "experiments/3bpa/results.json").read_text())
    assert rows
    for row in rows:
        run, energy, forces = (cell.strip() for cell in row.strip("|").split("|")[1:4])
        recorded = {
            entry["metric"]: f"{entry['value']:.1f} {entry['unit']}"
            for entry in entries
            if entry["run"] == run and entry["split"] == "test_300K"
        }
        assert (recorded["energy_rmse"], recorded["forces_rmse"]) == (energy, forces)
