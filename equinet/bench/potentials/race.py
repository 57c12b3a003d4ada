"""Time steps of energies and forces by turns, at one size after the other."""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equinet.bench.potentials.structures import structure_of
from equinet.bench.potentials.workers import Worker
from equinet.data import Frame, neighbor_list
from equinet.errors import BackendError
from equinet.neighborhood import Neighborhood

_WARM_UP = 3  # steps; TorchScript specializes its code during the first ones
_FEWEST, _MOST = 3, 15  # rounds
_SECONDS = 5.0  # time of the rounds for each library at each size, where the fewest take less
_PATIENCE = 60.0  # seconds of a step, beyond which a library is left out at larger sizes
_FRACTION = 0.6  # largest part of the free memory that a size may need


@dataclass(frozen=True)
class Point:
    """Cost of one library at one size.

    Attributes:
        library: Name of the library.
        atoms: Number of atoms.
        neighbors: Mean number of neighbors of an atom within the cutoff.
        ms: Median time of a step of energy and forces, ms.
        quartiles: Lower and upper quartile of the times, ms.
        rounds: Number of steps that were timed.
        peak_bytes: Peak of memory above that of the loaded model, bytes.

    Example:
        >>> Point("equinet", 1000, 30.0, 250.0, (240.0, 260.0), 9, 10_000_000).us_per_atom
        250.0
    """

    library: str
    atoms: int
    neighbors: float
    ms: float
    quartiles: tuple[float, float]
    rounds: int
    peak_bytes: int

    @property
    def us_per_atom(self) -> float:
        """Median time per atom, µs."""
        return 1000 * self.ms / self.atoms

    @property
    def kb_per_atom(self) -> float:
        """Peak of memory per atom, kB."""
        return self.peak_bytes / self.atoms / 1000


def race_sizes(
    workers: Sequence[Worker],
    elements: Sequence[int],
    neighborhood: Neighborhood,
    sizes: Sequence[int],
) -> Iterator[list[Point] | str]:
    """Time all libraries at each size, from the smallest to the largest.

    Args:
        workers: Processes of the libraries, which take turns step by step.
        elements: Atomic numbers of the structures.
        neighborhood: Neighborhood whose neighbors are counted.
        sizes: Numbers of atoms.

    Returns:
        An iterator over the points of each size, and over sentences that say which library is left
        out from there on: it took more than a minute for a step, or would need more than 60 % of
        the free memory, or stopped.

    Example:
        >>> list(race_sizes([], [1, 8], Neighborhood(5.0), [100]))
        []
    """
    running = list(workers)
    last: dict[str, Point] = {}
    for size in sorted(sizes):
        atoms = structure_of(elements, size)
        for worker in tuple(running):
            reason = _too_much(last.get(worker.library), len(atoms))
            if reason:
                running.remove(worker)
                yield f"{worker.library} is left out from {len(atoms)} atoms on: {reason}"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "structure.extxyz"
            atoms.write(file)
            samples, stopped = _race(running, file)
        for worker, complaint in stopped.items():
            running.remove(worker)
            yield f"{worker.library} is left out from {len(atoms)} atoms on: {complaint}"
        neighbors = _neighbors(atoms, neighborhood)
        points = [
            _point(worker.library, len(atoms), neighbors, samples[worker]) for worker in running
        ]
        last |= {point.library: point for point in points}
        if points:
            yield points


def _race(
    workers: Sequence[Worker], file: Path
) -> tuple[dict[Worker, list[tuple[float, int]]], dict[Worker, str]]:
    """Let workers step by turns; return their times and peaks, and what stopped the others."""
    samples: dict[Worker, list[tuple[float, int]]] = {worker: [] for worker in workers}
    stopped: dict[Worker, str] = {}
    for worker in workers:
        try:
            worker.take(file)
            for _ in range(_WARM_UP):
                worker.step()
        except BackendError as error:
            stopped[worker] = str(error)
    running = [worker for worker in workers if worker not in stopped]
    for rounds in range(1, _MOST + 1):
        for worker in running:
            samples[worker].append(worker.step())
        spent = sum(seconds for taken in samples.values() for seconds, _ in taken)
        if rounds >= _FEWEST and spent > _SECONDS * len(running):
            break
    return samples, stopped


def _point(
    library: str, atoms: int, neighbors: float, samples: Sequence[tuple[float, int]]
) -> Point:
    times = [1000 * seconds for seconds, _ in samples]
    low, middle, high = statistics.quantiles(times, n=4)
    peak = max(peak for _, peak in samples)
    return Point(library, atoms, neighbors, middle, (low, high), len(times), peak)


def _too_much(point: Point | None, atoms: int) -> str:
    """Say why a library cannot be timed at a size, judging by the size before it, or ""."""
    if point is None:
        return ""
    if point.ms > 1000 * _PATIENCE:
        return f"a step of {point.atoms} atoms took {point.ms / 1000:.0f} s"
    needed, free = point.peak_bytes / point.atoms * atoms, _free_memory()
    if needed > _FRACTION * free:
        return f"it would need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
    return ""


def _free_memory() -> float:
    """Return the memory that is free, bytes."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))


def _neighbors(atoms: Any, neighborhood: Neighborhood) -> float:
    frame = Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    edge_index, _ = neighbor_list(frame.positions, frame.cell, frame.pbc, neighborhood)
    return float(edge_index.shape[1] / len(atoms))
