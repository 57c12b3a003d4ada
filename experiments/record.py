"""Write experiments/NAME/results.json from a run directory and its evaluations.

python experiments/record.py experiments/3bpa/results.json runs/3bpa/RUN --note "two cores, quiet"

Every figure is written with its unit, the data it was measured on and their checksum, the commands,
the hardware, wall time, date and commit. Earlier entries of other runs are kept.
"""

import argparse
import json
import os
import platform
from pathlib import Path


def hardware() -> str:
    """Processor and number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "CPU")
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def entries(run: Path, note: str) -> list[dict[str, object]]:
    """One entry per metric and split that the run was evaluated on."""
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
                    **common,
                }
            )
    return found


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
