"""The tests that are too slow for ``make test``."""

import re
import subprocess
import sys
import time
from pathlib import Path

from soak.table import Row

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 1800  # seconds for one test; compiling takes six times as long on a busy machine


def run(folder: Path, data: Path, *, seed: int, fraction: float) -> list[Row]:
    """Run them all, whatever the fraction: each is one of its kind."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-n", "2", "-m", "slow", "-p", "no:cacheprovider"]
    command += ["--timeout", str(TIMEOUT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    counts = {
        word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error)", lines[-1])
    }
    faults = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    if done.returncode and not faults:
        faults = [f"pytest ends with {done.returncode}: {lines[-1]}"]
    return [Row("slow", "pytest -m slow", sum(counts.values()), faults, time.monotonic() - begun)]
