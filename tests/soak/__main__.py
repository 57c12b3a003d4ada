"""Prove the promises of reliability: ``make soak``, or with ``PYTHONPATH=tests``
``python -m soak [PART ...] [--fraction F] [--seed N] [--keep FOLDER]``.
"""

import argparse
import importlib
import logging
import sys
import tempfile
import time
from pathlib import Path

import torch
from soak.deeds import warm_up
from soak.table import Row, table

PARTS = ("kills", "fuzz", "disk", "load", "ranks", "slow")


def main() -> int:
    """Run the chosen parts, print the table, and return 1 after any failure."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("parts", nargs="*", help=f"parts to run: {', '.join(PARTS)}; all")
    reader.add_argument("--fraction", type=float, default=1.0, help="fraction of all cases")
    reader.add_argument("--seed", type=int, default=0, help="seed of all random choices")
    reader.add_argument("--keep", type=Path, help="folder to keep the files of failures in")
    given = reader.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    if given.keep:
        given.keep.mkdir(parents=True)
        return report(given, given.keep)
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        return report(given, Path(name))


def report(given: argparse.Namespace, folder: Path) -> int:
    """Run the parts in a folder."""
    data = folder / "data"
    warm_up(data)
    rows: list[Row] = []
    begun = time.monotonic()
    for name in given.parts or PARTS:
        part = importlib.import_module(f"soak.{name}")
        found = part.run(folder, data, seed=given.seed, fraction=given.fraction)
        sys.stdout.write(f"{table(found)}\n\n")
        sys.stdout.flush()
        rows += found
    sys.stdout.write(f"{table(rows)}\n{time.monotonic() - begun:.0f} s, seed {given.seed}\n")
    return int(any(row.faults for row in rows))


if __name__ == "__main__":
    sys.exit(main())
