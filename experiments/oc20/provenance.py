"""Where a figure comes from."""

import datetime as dt
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def provenance() -> dict[str, object]:
    """Hardware, load, date and commit."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "CPU")
    return {
        "hardware": f"{model}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "note": "",
    }


def git(*words: str) -> str:
    command = ["git", *words]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    return run.stdout.strip()
