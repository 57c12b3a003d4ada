"""Add runs of equinet.train to the race: python experiments/race/add_run.py RUN... --out RESULTS.

A run is a directory of ``equinet train +experiment=3bpa ... trainer.max_time=10m`` that was made on
this machine.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import yaml

from equinet.command_line import environment
from equinet.train import duration


def entry(run: Path) -> dict[str, Any]:
    """Return the settings and errors of a run in the form that ``mace_torch.py`` writes."""
    stamp = json.loads((run / "stamp.json").read_text())
    measured = json.loads((run / "metrics.json").read_text())
    configuration = yaml.safe_load((run / "config.yaml").read_text())
    budget = duration(configuration["trainer"]["max_time"])
    assert budget is not None, f"{run}: the run has no trainer.max_time"
    versions = {"equinet": stamp["commit"][:8], "torch": stamp["versions"]["torch"]}
    return {
        "code": "equinet",
        "settings": "defaults",
        "channels": configuration["model"]["channels"],
        "degree": configuration["model"]["lmax_hidden"],
        "batch": configuration["data"]["batch_size"],
        "rate": configuration["optim"]["lr"],
        "minutes": budget.total_seconds() / 60,
        "seed": stamp["seed"],
        "steps": measured["steps"],
        "epochs": measured["epochs"],
        "sets": {
            name: {key: errors[key] for key in ("structures", "energy_rmse", "forces_rmse")}
            for name, errors in measured["sets"].items()
        },
        "versions": versions,
        "hardware": f"{environment.hardware()['cpu']}, one core, {platform.system()}",
        "date": stamp["time"][:10],
        "commit": stamp["commit"],
        "command": " ".join(stamp["command"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="JSON to which the runs are added")
    arguments = parser.parse_args()
    entries = json.loads(arguments.out.read_text()) if arguments.out.is_file() else []
    added = [entry(run) for run in arguments.runs]
    commands = {each["command"] for each in added}
    kept = [each for each in entries if each["command"] not in commands]
    arguments.out.write_text(json.dumps([*kept, *added], indent=1) + "\n")


if __name__ == "__main__":
    main()
