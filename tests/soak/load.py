"""Long runs, threads, loading processes of both kinds, and few file descriptors."""

import gc
import resource
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch.multiprocessing
from lightning.pytorch import Callback
from soak.cases import scaled
from soak.children import RAW, last_words, side_by_side, start, stop, wait
from soak.deeds import small_model, state_of_run, trained, tree_of
from soak.table import Row

from equinet import train
from equinet.data import frame_to_atoms, read_frames
from equinet.integrations.ase import EquinetCalculator

GROWTH = 0.01  # largest growth of the memory after warm-up
PATIENCE = 300.0  # seconds for a short training
THREADS = 4


def resident() -> int:
    """Bytes of memory that this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def growth(samples: list[int]) -> float:
    """Relative growth from the second quarter of the samples to the last one."""
    quarter = len(samples) // 4
    early = statistics.median(samples[quarter : 2 * quarter])
    return statistics.median(samples[-quarter:]) / early - 1


def verdict_of(samples: list[int], what: str) -> tuple[list[str], str]:
    """What is wrong with the memory, and the figure."""
    found = growth(samples)
    figure = f"{samples[len(samples) // 4] / 1e6:.0f} MB, growth {100 * found:+.2f} %"
    return ([f"{what}: {figure}"] if found > GROWTH else []), figure


class Watch(Callback):
    """Measures the memory a number of times in a training."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.samples: list[int] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            gc.collect()
            self.samples.append(resident())


def long_training(steps: int, folder: Path, data: Path) -> Row:
    begun, watch = time.monotonic(), Watch(max(1, steps // 40))
    few = ("run.checkpoint_minutes=1", "trainer.check_val_every_n_epoch=20", "data.batch_size=2")
    tree = tree_of(data, folder, f"trainer.max_steps={steps}", "trainer.max_epochs=-1", *few)
    others = train._callbacks
    train._callbacks = lambda settings: [*others(settings), watch]
    trained(tree, folder)
    faults, figure = verdict_of(watch.samples, "memory of a training")
    return Row("load", "training steps", steps, faults, time.monotonic() - begun, figure)


def many_calls(calls: int, data: Path) -> Row:
    begun, rng = time.monotonic(), np.random.default_rng(0)
    atoms = frame_to_atoms(read_frames(data / "test.xyz")[0])
    atoms.calc = EquinetCalculator(small_model(0))
    samples = []
    for call in range(calls):
        atoms.positions += rng.normal(scale=1e-4, size=atoms.positions.shape)
        atoms.get_forces()
        if call % max(1, calls // 40) == 0:
            gc.collect()
            samples.append(resident())
    faults, figure = verdict_of(samples, "memory of a calculator")
    return Row("load", "calculator calls", calls, faults, time.monotonic() - begun, figure)


def one_calculator_in_threads(calls: int, data: Path) -> Row:
    begun = time.monotonic()
    structures = [frame_to_atoms(frame) for frame in read_frames(data / "test.xyz")][:THREADS]
    shared, expected, faults = EquinetCalculator(small_model(0)), [], []
    for atoms in structures:
        own = EquinetCalculator(small_model(0))
        expected.append((own.get_potential_energy(atoms), own.get_forces(atoms).copy()))

    def work(number: int) -> None:
        atoms = structures[number].copy()
        for _ in range(calls // THREADS):
            shift = np.array([1e-3, 0.0, 0.0])
            try:
                atoms.positions += shift  # calculated anew, to the same numbers but for rounding
                energy = shared.get_potential_energy(atoms)
                forces = shared.get_forces(atoms)
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                faults.append(f"one calculator in threads: {type(error).__name__}: {error}")
                return
            right = abs(energy - expected[number][0]) < 1e-4
            if not (right and np.allclose(forces, expected[number][1], atol=1e-4)):
                faults.append("one calculator in threads: another structure's results")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(structures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Row("load", "calls in threads", calls, faults, time.monotonic() - begun)


def loading(folder: Path, data: Path) -> Row:
    """Two loading processes, forked or spawned, give the run that none gives."""
    begun, faults = time.monotonic(), []
    short = "trainer.max_epochs=2"

    def work(place: Path, method: str | None) -> None:
        more = ()
        if method is not None:
            torch.multiprocessing.set_start_method(method, force=True)
            more = ("data.num_workers=2",)
        trained(tree_of(data, place, short, *more), place)

    states = {}
    for method in (None, "fork", "spawn"):
        place = folder / f"workers-{method}"
        place.mkdir()
        pid = start(partial(work, place, method), folder / f"{place.name}.log")
        code = wait(pid, PATIENCE)
        if code is None:
            stop(pid)
        if code != 0:
            words = last_words(folder / f"{place.name}.log")
            faults.append(f"loading processes ({method}): ends with {code}: {words}")
            continue
        states[method] = state_of_run(place)[3]  # the weights of the model
        if states[method] != states[None]:
            faults.append(f"loading processes ({method}): another model than without")
    return Row("load", "loading processes: fork, spawn", 2, faults, time.monotonic() - begun)


def few_descriptors(folder: Path, data: Path) -> Row:
    """With ``ulimit -n 64``, a training ends well or with a sentence, and soon."""
    begun, faults = time.monotonic(), []
    for workers in (0, 2):
        place, log = folder / f"descriptors{workers}", folder / f"descriptors{workers}.log"
        place.mkdir()
        tree = tree_of(data, place, f"data.num_workers={workers}", "trainer.max_epochs=3")

        def work(tree: Any = tree, place: Path = place) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            trained(tree, place)

        pid = start(work, log)
        code = wait(pid, PATIENCE)
        if code is None:
            stop(pid)
            faults.append(f"ulimit -n 64, {workers} loading processes: does not end")
        elif code == RAW or code < 0:
            words = last_words(log)
            faults.append(f"ulimit -n 64, {workers} loading processes: ends with {code}: {words}")
    return Row("load", "ulimit -n 64", 2, faults, time.monotonic() - begun)


def run(folder: Path, data: Path, *, seed: int, fraction: float) -> list[Row]:
    """Everything above, two at a time."""
    counts = scaled("load", fraction)
    steps = max(200, counts["training steps"])
    jobs: list[Callable[[], Row]] = [
        partial(long_training, steps, folder, data),
        partial(many_calls, max(200, counts["calculator calls"]), data),
        partial(one_calculator_in_threads, counts["calls in threads"], data),
        partial(loading, folder, data),
        partial(few_descriptors, folder, data),
    ]
    found: list[Row] = side_by_side(jobs)
    return found
