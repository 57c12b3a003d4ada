"""Write experiments/NAME/results.json from a run directory and its evaluations, if it has any.

python experiments/record.py experiments/3bpa/results.json runs/3bpa/RUN --note "two cores, quiet"

Every figure is written with its unit, the data it was measured on and their checksum, the commands,
the hardware, wall time, date and commit. Earlier entries of other runs are kept.
"""

import argparse
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def hardware() -> str:
    """Processor and number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "CPU")
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def entries(run: Path, note: str) -> list[dict[str, object]]:
    """One entry per metric and set: files that it was evaluated on, or else its own test sets."""
    stamp = json.loads((run / "stamp.json").read_text())
    trained = json.loads((run / "metrics.json").read_text())
    common = {
        "run": run.name,
        "train_command": " ".join(stamp["command"]),
        "train_seconds": trained["train_seconds"],
        "steps": trained["steps"],
        "hardware": hardware(),
        "torch": stamp["versions"]["torch"],
        "date": stamp["time"][:10],
        "commit": stamp["commit"],
        "dirty": stamp["dirty"],
        "note": note,
    }
    measured = on_files(run) or on_own_tests(trained, stamp)
    return [{**entry, **common} for entry in measured]


def on_files(run: Path) -> list[dict[str, object]]:
    """Errors of ``python -m equinet.evaluate``."""
    found = []
    for path in sorted((run / "evaluate").glob("*/metrics.json")):
        evaluated = json.loads(path.read_text())
        file = Path(evaluated["file"])
        for name, value in evaluated["errors"].items():
            found.append(
                {
                    "metric": name,
                    "value": round(value, 2),
                    "unit": evaluated["units"][name],
                    "split": file.stem,
                    "structures": evaluated["structures"],
                    "data_sha256": evaluated["fingerprint"],
                    "evaluate_command": (
                        f"python -m equinet.evaluate checkpoint={run} data.file={file}"
                    ),
                }
            )
    return found


def on_own_tests(trained: Mapping[str, Any], stamp: Mapping[str, Any]) -> list[dict[str, object]]:
    """Errors that the run measured at its end, to four digits."""
    return [
        {
            "metric": name,
            "value": float(f"{value:.4g}"),
            "unit": trained["units"].get(name, ""),
            "split": split,
            "structures": errors["structures"],
            "data_sha256": stamp["data_fingerprint"],
        }
        for split, errors in trained["sets"].items()
        for name, value in errors.items()
        if split != "val" and name != "structures"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()
    kept = json.loads(arguments.results.read_text()) if arguments.results.is_file() else []
    kept = [entry for entry in kept if entry["run"] != arguments.run.name]
    results = kept + entries(arguments.run, arguments.note)
    arguments.results.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{len(results)} entries in {arguments.results}")


if __name__ == "__main__":
    main()
