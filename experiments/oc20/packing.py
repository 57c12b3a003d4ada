"""Simulate the packing of batches for a set as large as S2EF-All on 1 to 256 processes.

    python experiments/oc20/packing.py STORE --whole 256 --out experiments/oc20/packing.json

STORE has counted edges (data convert --cutoff 6 --max-neighbors 50); its sizes, drawn at random,
are those of the simulated set. Prints, as JSON, for every number of processes: the processor time
to the first batch, the peak memory of a process, and over the steps looked at how the edges of the
processes compare, mean over maximum. For the number given by --whole, the whole epoch is packed and
every frame counted.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from provenance import provenance

from equinet.data import FrameStore, PackedBatches

ALL = 133_934_018  # frames of S2EF-All
STEPS = 2000  # looked at where the epoch is not packed whole


def write_sizes(store: Path, frames: int, folder: Path) -> None:
    """Draw the sizes of so many frames from a store, into the files that a store has."""
    source = FrameStore(store)
    if source.edges is None:
        sys.exit(f"{store}: convert with --cutoff and --max-neighbors")
    random = np.random.default_rng(0)
    files = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.int32, shape=(frames,)
        )
        for name in ("atoms", "edges")
    }
    for start in range(0, frames, 1 << 22):
        stop = min(start + (1 << 22), frames)
        drawn = random.integers(len(source), size=stop - start)
        files["atoms"][start:stop] = source.atoms[drawn]
        files["edges"][start:stop] = source.edges[drawn]


def simulate(folder: Path, world: int, max_edges: int, whole: bool) -> dict[str, float]:
    """Start as a training process would, and compare the work of all processes."""
    start = time.process_time()
    atoms = np.load(folder / "atoms.npy", mmap_mode="r")
    edges = np.load(folder / "edges.npy", mmap_mode="r")
    batches = PackedBatches(atoms, edges, max_edges=max_edges)
    steps = batches.each_step(world)
    first = next(steps)
    started = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB, of one process
    seen = np.zeros(len(atoms), dtype=np.uint8) if whole else None
    balance, fill, count, largest = [], [], 0, 0
    step = first
    while True:
        sizes = np.array([len(batch) for batch in step])
        frames = np.concatenate(step)
        work = np.add.reduceat(edges[frames], np.concatenate([[0], np.cumsum(sizes)[:-1]]))
        balance.append(work.mean() / work.max())
        fill.append(work.mean() / max_edges)
        largest = max(largest, int(work.max()))
        count += int(sizes.sum())
        if seen is not None:
            seen[frames] += 1
        if seen is None and len(balance) == STEPS:
            break
        try:
            step = next(steps)
        except StopIteration:
            break
    result = {
        "processes": world,
        "frames_per_batch": round(batches.frames_per_batch, 3),
        "steps_an_epoch": batches.steps(world),
        "start_processor_seconds": round(started, 1),
        "peak_GiB": round(memory, 2),
        "steps_looked_at": len(balance),
        "balance_min": round(float(np.min(balance)), 4),
        "balance_mean": round(float(np.mean(balance)), 4),
        "fill_mean": round(float(np.mean(fill)), 4),
        "most_edges": largest,
        "processor_seconds": round(time.process_time() - start, 1),
    }
    if seen is not None:
        result["frames_seen_once"] = int((seen == 1).sum())
        result["frames"] = len(seen)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--frames", type=int, default=ALL)
    parser.add_argument("--max-edges", type=int, default=20_000)
    parser.add_argument("--whole", type=int, default=0, help="processes of a whole epoch")
    parser.add_argument("--folder", type=Path, help="of the drawn sizes; used by the processes")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    parser.add_argument("--world", type=int, help="one number of processes; used likewise")
    arguments = parser.parse_args()
    if arguments.folder:
        whole = arguments.world == arguments.whole
        result = simulate(arguments.folder, arguments.world, arguments.max_edges, whole)
        print(json.dumps(result), flush=True)
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        write_sizes(arguments.store, arguments.frames, Path(folder))
        for power in range(9):
            # A process of its own each, for its memory and its start.
            command = [sys.executable, *sys.argv, "--folder", folder, "--world", str(2**power)]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603
            results.append(json.loads(run.stdout))
            print(json.dumps(results[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(entries(results), indent=1, ensure_ascii=False) + "\n")


def entries(results: list[dict[str, float]]) -> list[dict[str, object]]:
    """The figures with their provenance, as experiments/*/*.json keep them."""
    whole = " ".join(["python", *sys.argv])
    common = {**provenance(), "command": whole}
    units = {
        "balance_min": "mean edges over maximum, worst step",
        "balance_mean": "mean edges over maximum",
        "fill_mean": "of max_edges",
        "start_processor_seconds": "s",
        "peak_GiB": "GiB",
        "frames_seen_once": "frames",
    }
    return [
        {
            "metric": metric,
            "implementation": f"{result['processes']} processes",
            "value": result[metric],
            "unit": unit,
            **{key: result[key] for key in ("frames_per_batch", "steps_looked_at", "most_edges")},
            **common,
        }
        for result in results
        for metric, unit in units.items()
        if metric in result
    ]


if __name__ == "__main__":
    main()
