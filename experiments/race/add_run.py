"""Add runs of equinet to the race: python experiments/race/add_run.py RUN... --out RESULTS.

A run is a directory of ``equinet train +experiment=3bpa ... trainer.max_time=10m`` that was made on
this machine.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import yaml

from equinet.configuration import duration, hardware

SPLITS = ("val", "test_300K", "1200K_probe")
METRICS = ("energy_rmse", "forces_rmse")


def entries(run: Path) -> list[dict[str, Any]]:
    """Return the errors of a run in the form that ``mace_torch.py`` writes."""
    stamp = json.loads((run / "stamp.json").read_text())
    measured = json.loads((run / "metrics.json").read_text())
    configuration = yaml.safe_load((run / "config.yaml").read_text())
    budget = duration(configuration["trainer"]["max_time"])
    if budget is None:
        raise SystemExit(f"add_run.py: {run} was trained without trainer.max_time")
    minutes = budget.total_seconds() / 60
    common = {
        "run": f"equinet defaults, {minutes:g} min, seed {stamp['seed']}",
        "code": "equinet",
        "settings": "defaults",
        "channels": configuration["model"]["channels"],
        "degree": configuration["model"]["lmax_hidden"],
        "batch": configuration["data"]["batch_size"],
        "rate": configuration["optim"]["lr"],
        "minutes": minutes,
        "seed": stamp["seed"],
        "steps": measured["steps"],
        "train_seconds": measured["train_seconds"],
        "versions": {"equinet": stamp["commit"][:8], "torch": stamp["versions"]["torch"]},
        "hardware": f"{hardware()['cpu']}, one core, {platform.system()}",
        "date": stamp["time"][:10],
        "commit": stamp["commit"],
        "dirty": stamp["dirty"],
        "train_command": " ".join(stamp["command"]),
    }
    return [
        {
            "metric": metric,
            "value": round(measured["sets"][split][metric], 2),
            "unit": measured["units"][metric],
            "split": split,
            "structures": measured["sets"][split]["structures"],
            "data_sha256": stamp["data_fingerprint"],
            **common,
        }
        for split in SPLITS
        for metric in METRICS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="JSON to which the runs are added")
    arguments = parser.parse_args()
    added = [entry for run in arguments.runs for entry in entries(run)]
    commands = {entry["train_command"] for entry in added}
    found = json.loads(arguments.out.read_text()) if arguments.out.is_file() else []
    kept = [entry for entry in found if entry["train_command"] not in commands]
    arguments.out.write_text(json.dumps([*kept, *added], indent=1) + "\n")


if __name__ == "__main__":
    main()
