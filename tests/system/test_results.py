"""Figures in experiments/*/*.json carry their provenance, and the README repeats them."""

import json
from pathlib import Path
from statistics import mean, stdev

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("experiments/*/*.json"))
MEASURED = {"metric", "value", "unit", "hardware", "date", "commit"}
TRAINED = {"run", "split", "data_sha256", "train_command", "train_seconds"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_figure_says_where_it_comes_from(path: Path) -> None:
    entries = json.loads(path.read_text())
    assert entries
    for entry in entries:
        required = TRAINED if "split" in entry else {"command"}
        assert set(entry) >= MEASURED | required
        assert len(entry["commit"]) == 40
        assert not entry["dirty"], "figures come from committed code"


def recorded(metric: str) -> dict[str, float]:
    """Errors on 3BPA at 300 K by run."""
    entries = json.loads((ROOT / "experiments/3bpa/results.json").read_text())
    return {
        entry["run"]: entry["value"]
        for entry in entries
        if entry["metric"] == metric and entry["split"] == "test_300K"
    }


def test_the_experiment_shows_the_recorded_errors() -> None:
    text = (ROOT / "experiments/3bpa/README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `3bpa`")]
    assert rows
    for row in rows:
        run, energy, forces = (cell.strip() for cell in row.strip("|").split("|")[1:4])
        assert energy == f"{recorded('energy_rmse')[run]:.1f} meV"
        assert forces == f"{recorded('forces_rmse')[run]:.1f} meV/Å"


def test_readme_shows_their_means_and_spreads() -> None:
    text = (ROOT / "README.md").read_text()
    for metric, unit in {"energy_rmse": "meV", "forces_rmse": "meV/Å"}.items():
        values = recorded(metric).values()
        assert f"{mean(values):.1f} ± {stdev(values):.1f} {unit}" in text
