"""Damaged files of all kinds: no crash, no hang, no traceback, and no other content unnoticed."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from damage import faults
from damaged_files import OPEN, SEALED, Kind
from soak.cases import scaled
from soak.children import side_by_side
from soak.table import Row

SECONDS = 30  # for one file


def _row(make: Callable[[Path], Kind], folder: Path, count: int, seed: int) -> Row:
    begun = time.monotonic()
    folder.mkdir()
    found = faults(make, folder, range(count), seconds=SECONDS, seed=seed + 1)
    name = make.__name__.replace("_", " ")
    return Row("fuzz", name, count, found, time.monotonic() - begun)


def run(folder: Path, data: Path, *, seed: int, fraction: float) -> list[Row]:
    """Damage files of every kind, and read them."""
    kinds = [*SEALED, *OPEN]
    each = -(-scaled("fuzz", fraction)["mutants"] // len(kinds))
    places = [folder / f"fuzz-{make.__name__}" for make in kinds]
    jobs = [partial(_row, *pair, each, seed) for pair in zip(kinds, places, strict=True)]
    found: list[Row] = side_by_side(jobs)
    return found
