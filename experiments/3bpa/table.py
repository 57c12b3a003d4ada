"""Print the table of README.md from results.json: python experiments/3bpa/table.py."""

import json
from pathlib import Path

entries = json.loads((Path(__file__).parent / "results.json").read_text())
runs = dict.fromkeys(entry["run"] for entry in entries)
print("| experiment | run | E RMSE | F RMSE | steps | commit |")
print("|---|---|---|---|---|---|")
for run in runs:
    found = {e["metric"]: e for e in entries if e["run"] == run and e["split"] == "test_300K"}
    energy, forces = found["energy_rmse"], found["forces_rmse"]
    print(
        f"| `3bpa` | {run} | {energy['value']:.1f} {energy['unit']} "
        f"| {forces['value']:.1f} {forces['unit']} | {energy['steps']} | {energy['commit'][:8]} |"
    )
