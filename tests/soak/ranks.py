"""Several processes (gloo): they agree with one, name a dead one, and share uneven data."""

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from soak.cases import scaled
from soak.children import RAW, dice, last_words, start, stop, wait
from soak.deeds import as_rank, free_port, has_stepped, trained, tree_of
from soak.table import Row

from equinet.configuration import RunDirectory

PATIENCE = 60.0  # seconds within which the others must have ended
LIMIT = 300.0
CLOSE = 1e-9  # relative difference of weights in float64


def begin(world: int, folder: Path, data: Path, *more: str) -> list[int]:
    """Start a training on some processes, each with a log of its own."""
    folder.mkdir()
    several = (f"trainer.devices={world}", "trainer.strategy=ddp") if world > 1 else ()
    tree, port = tree_of(data, folder, *several, *more), free_port()

    def work(rank: int) -> None:
        if world > 1:
            as_rank(rank, world, port)
        trained(tree, folder)

    return [start(partial(work, rank), folder.with_suffix(f".{rank}.log")) for rank in range(world)]


def end(pids: list[int], folder: Path, seconds: float = LIMIT) -> tuple[list[int | None], str]:
    """Wait for all; return how they ended, and their last words."""
    codes = [wait(pid, seconds) for pid in pids]
    for pid, code in zip(pids, codes, strict=True):
        if code is None:
            stop(pid)
    said = [last_words(folder.with_suffix(f".{rank}.log")) for rank in range(len(pids))]
    return codes, "; ".join(f"rank {rank}: {words}" for rank, words in enumerate(said))


def weights_of(folder: Path) -> dict[str, Any]:
    state = torch.load(RunDirectory(folder / "run").last, weights_only=True)
    found: dict[str, Any] = state["state_dict"]
    return found


def agreement(folder: Path, data: Path) -> Row:
    """1, 2 and 3 processes take the same steps in float64."""
    begun, faults, figure = time.monotonic(), [], 0.0
    same = ("trainer.precision=64-true", "trainer.max_steps=6", "callbacks.ema=null")
    for world in (1, 2, 3):
        place = folder / f"world{world}"
        pids = begin(world, place, data, *same, f"data.batch_size={6 // world}", "data.val=2")
        codes, words = end(pids, place)
        if any(codes) or None in codes:
            faults.append(f"{world} processes: end with {codes}: {words}")
            return Row("ranks", "1, 2, 3 processes agree", 3, faults, time.monotonic() - begun)
        found = weights_of(place)
        if world == 1:
            expected = found
        for name, tensor in found.items():
            far = float((tensor - expected[name]).abs().max() / (1e-30 + tensor.abs().max()))
            figure = max(figure, far)
    faults += [f"weights differ by {figure:.1e}"] if figure > CLOSE else []
    seconds = time.monotonic() - begun
    return Row("ranks", "1, 2, 3 processes agree", 3, faults, seconds, f"{figure:.0e}")


def deaths(count: int, folder: Path, data: Path, seed: int) -> Row:
    """A process is killed: the others end within a minute, in a sentence that names it."""
    begun, faults, longest = time.monotonic(), [], 0.0
    for number in range(count):
        rng, world = dice(seed, "death", number), 2 + number % 2
        place, victim = folder / f"death{number}", number % world
        since = time.time()
        pids = begin(world, place, data, "data.batch_size=2", "trainer.max_epochs=10000")
        limit = time.monotonic() + LIMIT
        while not has_stepped(place, since) and time.monotonic() < limit:
            time.sleep(0.05)
        time.sleep(rng.uniform(0.0, 1.0))
        struck = time.monotonic()
        os.kill(pids[victim], signal.SIGKILL)
        codes, words = end(pids, place, PATIENCE)
        longest = max(longest, time.monotonic() - struck)
        others = [code for rank, code in enumerate(codes) if rank != victim]
        what = f"rank {victim} of {world} dies"
        if None in others:
            faults.append(f"{what}: the others still run after a minute; {words}")
        elif RAW in others or 0 in others:
            faults.append(f"{what}: the others end with {others}; {words}")
        elif words.count(f"process {victim} of {world}") < world - 1:
            faults.append(f"{what}: the others do not name it; {words}")
    seconds = time.monotonic() - begun
    return Row("ranks", "a process dies", count, faults, seconds, f"others end in {longest:.1f} s")


def uneven(folder: Path, data: Path) -> Row:
    """Batches that do not divide by the processes, and fewer validation batches than processes."""
    begun, faults = time.monotonic(), []
    settings = {
        "rest": ("data.batch_size=2", "data.eval_batch_size=2", "data.val=5"),
        "few": ("data.batch_size=3", "data.eval_batch_size=32", "data.val=2"),
    }
    for name, more in settings.items():
        place = folder / f"uneven-{name}"
        codes, words = end(begin(3, place, data, *more, "trainer.max_epochs=2"), place)
        if any(codes) or None in codes:
            faults.append(f"uneven data ({name}): end with {codes}: {words}")
    return Row("ranks", "uneven data on 3 processes", 2, faults, time.monotonic() - begun)


def run(folder: Path, data: Path, *, seed: int, fraction: float) -> list[Row]:
    """Everything above, one after the other: each takes several processes."""
    counts = scaled("ranks", fraction)
    return [
        agreement(folder, data),
        uneven(folder, data),
        deaths(counts["deaths"], folder, data, seed),
    ]
