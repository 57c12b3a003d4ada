"""Write experiments/gpu/results.json from what check.sh left behind.

python experiments/gpu/record.py runs/gpu experiments/gpu/results.json [--note "..."]

One entry for each benchmark, operation, degree, stage and implementation, with the rooflines that
were measured in the same run, the command, the hardware, versions, date and commit.
"""

import argparse
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

SIZES = ("lmax", "lmax_y", "lmax_out", "batch", "channels")
ROOFLINES = ("minimal_bytes", "bandwidth", "multiply_adds", "multiply_add_rate", "limit_ms")


def entries(folder: Path, note: str = "") -> list[dict[str, Any]]:
    """One entry a figure of the benchmarks in ``folder``."""
    records = sorted(folder.glob("bench*/bench.json"))
    assert records, f"there is no benchmark in {folder}"
    return [each for record in records for each in entries_of(record, folder, note)]


def entries_of(record: Path, folder: Path, note: str) -> list[dict[str, Any]]:
    """One entry a figure of a benchmark, with what the other steps found."""
    bench = json.loads(record.read_text())
    suites = list(ET.parse(folder / "pytest.xml").getroot().iter("testsuite"))  # noqa: S314 - our own file
    assert suites, "pytest wrote no test suite"
    common = {
        "dtype": bench["settings"]["dtype"],
        "rooflines": bench["limits"],
        "tests_on_gpu": sum(int(s.get("tests", 0)) - int(s.get("skipped", 0)) for s in suites),
        "doctor": (folder / "doctor.txt").read_text().strip().splitlines()[-1],
        "command": " ".join(bench["command"]),
        "hardware": ", ".join(bench["hardware"]["gpus"]),
        "versions": bench["versions"],
        "date": bench["time"][:10],
        "commit": bench["commit"],
        "dirty": bench["dirty"],
        **({"note": note} if note else {}),
    }
    medians = {_key(result): result["median_ms"] for result in bench["results"]}
    found = []
    for result in bench["results"]:
        rival = medians.get(_key(result | {"implementation": "cuequivariance"}))
        found.append(
            {
                "metric": f"{result['op']} {result['stage']} lmax {result['lmax']}",
                "implementation": result["implementation"],
                "value": result["median_ms"],
                "unit": "ms",
                "of_roofline": round(result["limit_ms"] / result["median_ms"], 4),
                "faster_than_e3nn": result["speedup"],
                "faster_than_cuequivariance": rival and rival / result["median_ms"],
                **{name: result[name] for name in (*SIZES, *ROOFLINES)},
                **common,
            }
        )
    return found


def _key(result: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(result[name] for name in ("op", "stage", "implementation", *SIZES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where check.sh wrote")
    parser.add_argument("results", type=Path)
    parser.add_argument("--note", default="", help="what else the figures depend on")
    arguments = parser.parse_args()
    found = entries(arguments.folder, arguments.note)
    arguments.results.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(found)} entries in {arguments.results}")


if __name__ == "__main__":
    main()
