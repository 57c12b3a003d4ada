"""Frames per second into a store and out of it, in one process.

    python experiments/oc20/reading.py ../shared/data/oc20 --out experiments/oc20/reading.json

Converts every split of the folder, then reads the largest store in order and at random, three times
each, and keeps the best. Frames are counted per second of the wall clock and per second that the
process had a processor, which differ where others compute beside it.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from provenance import provenance

from equinet.data.store import FrameStore, convert, find_splits

ROUNDS = 3


def rates(work: Callable[[], int]) -> dict[str, float]:
    """Best of a few rounds: frames per second, by both clocks."""
    found: dict[str, float] = {"wall clock": 0.0, "processor time": 0.0}
    for _ in range(ROUNDS):
        wall, processor = time.monotonic(), time.process_time()
        frames = work()
        for name, seconds in (
            ("wall clock", time.monotonic() - wall),
            ("processor time", time.process_time() - processor),
        ):
            found[name] = max(found[name], frames / seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    splits = find_splits(arguments.root)
    if not splits:
        parser.error(f"{arguments.root} holds no splits; give the folder above them")

    def converted() -> int:
        with tempfile.TemporaryDirectory() as folder:
            for name, source in splits.items():
                list(convert(source, Path(folder) / name))
            return sum(len(FrameStore(Path(folder) / name)) for name in splits)

    measured = {"conversion of extxyz.xz": rates(converted)}
    with tempfile.TemporaryDirectory() as folder:
        stores = []
        for name, source in splits.items():
            list(convert(source, Path(folder) / name))
            stores.append(FrameStore(Path(folder) / name))
        store = max(stores, key=len)
        for name, order in (
            ("reading in order", np.arange(len(store))),
            ("reading at random", np.random.default_rng(0).permutation(len(store))),
        ):
            indices = order.tolist()
            measured[name] = rates(lambda i=indices: sum(1 for k in i if store[k] is not None))
    common = {**provenance(), "command": " ".join(["python", *sys.argv])}
    entries = [
        {
            "metric": metric,
            "implementation": clock,
            "value": round(rate),
            "unit": "frames/s",
            **common,
        }
        for metric, found in measured.items()
        for clock, rate in found.items()
    ]
    text = json.dumps(entries, indent=1, ensure_ascii=False)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
