"""Pack frames of unequal size into batches of equal work, for any number of processes.

The random order of an epoch is cut into windows of some thousand frames. The frames of a window are
assigned, largest first, to the batch that has the least work so far (Graham, SIAM J. Appl. Math.
17, 416 (1969)). Batches of similar work then form a step, one batch for each process. The result
depends only on the seed, the epoch and the number of processes: processes need not communicate, and
a resumed run can begin at any step without packing those before it.
"""

import heapq
import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int
from torch.utils.data import Sampler

from equinet.data.loading.permutation import Permutation
from equinet.errors import DataError

_WINDOW = 8192  # frames of a window; their mean size varies by half a percent between windows
_STEPS = 4  # least number of steps of a window, so that batches can be sorted by work
_TRIALS = 8  # windows that are packed to find how many frames fit into a batch
_DEVIATIONS = 8  # standard deviations of a window's mean size that are added as a margin


class PackedBatches(Sampler[list[int]]):
    """Sampler of batches with bounded numbers of atoms and edges, of equal work in every step.

    Every frame is in exactly one batch of an epoch, and every process gets the same number of
    batches. The work of a frame is its number of edges if ``max_edges`` is given, otherwise its
    number of atoms.

    Args:
        atoms: Number of atoms of every frame.
        edges: Number of edges of every frame; required for ``max_edges``.
        max_atoms: Largest number of atoms of a batch; None sets no bound.
        max_edges: Largest number of edges of a batch; None sets no bound.
        seed: Seed of the order, at least 0.

    Raises:
        DataError: Neither bound is given, there are no frames, a frame is larger than a bound, or
            ``max_edges`` is given without ``edges``.

    Example:
        >>> batches = PackedBatches(np.array([3, 1, 1, 1, 2, 4]), max_atoms=4)
        >>> sorted(frame for batch in batches for frame in batch)
        [0, 1, 2, 3, 4, 5]
        >>> [len(list(batches.share(rank, 2))) for rank in (0, 1)]
        [2, 2]
    """

    def __init__(
        self,
        atoms: Int[np.ndarray, " frames"],
        edges: Int[np.ndarray, " frames"] | None = None,
        *,
        max_atoms: int | None = None,
        max_edges: int | None = None,
        seed: int = 0,
    ) -> None:
        if max_atoms is None and max_edges is None:
            raise DataError("batches need a bound: give max_atoms or max_edges")
        if max_edges is not None and edges is None:
            raise DataError(
                "max_edges is given, but the edges of the frames were not counted; convert them "
                "anew with --cutoff (and --max-neighbors), or give max_atoms instead"
            )
        if not len(atoms):
            raise DataError("there are no frames to pack")
        self.seed = seed
        self.epoch = 0
        self._count = len(atoms)
        self._sizes: list[tuple[Int[np.ndarray, " frames"], int]] = []
        for name, sizes, bound in (("edges", edges, max_edges), ("atoms", atoms, max_atoms)):
            if bound is not None and sizes is not None:
                _check_largest(name, sizes, bound)
                self._sizes.append((sizes, bound))
        self.frames_per_batch = self._measure()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is drawn next."""
        self.epoch = epoch

    def steps(self, world: int) -> int:
        """Return the number of batches of an epoch that each process gets.

        Args:
            world: Number of processes.

        Raises:
            DataError: There are fewer frames than processes.
        """
        if self._count < world:
            raise DataError(
                f"there are {self._count} training frames for {world} processes; lower "
                "trainer.devices"
            )
        steps = math.ceil(self._count / (self.frames_per_batch * world))
        return min(steps, self._count // world)

    def __len__(self) -> int:
        return self.steps(1)

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.share(0, 1)

    def share(self, rank: int, world: int, *, skip: int = 0) -> Iterator[list[int]]:
        """Yield the batches of one process.

        Args:
            rank: Rank of the process, from 0.
            world: Number of processes.
            skip: Number of steps at the beginning of the epoch that are left out.
        """
        for batches in self.each_step(world, skip=skip):
            yield batches[rank]

    def each_step(self, world: int, *, skip: int = 0) -> Iterator[list[list[int]]]:
        """Yield the batches of all processes, step by step.

        Args:
            world: Number of processes.
            skip: Number of steps at the beginning of the epoch that are left out.

        Raises:
            DataError: The frames of a window do not fit into its batches.
        """
        total = self.steps(world)
        per_window = max(_STEPS, round(_WINDOW / (self.frames_per_batch * world)))
        windows = max(1, total // per_window)
        order = Permutation(self._count, seed=(self.seed, self.epoch))
        for window in range(windows):
            first, last = total * window // windows, total * (window + 1) // windows
            if last <= skip:
                continue
            begin, end = self._count * first // total, self._count * last // total
            frames = order(np.arange(begin, end))
            bounds = [bound for _, bound in self._sizes]
            packed = self._pack(frames, (last - first) * world, bounds)
            if packed is None:
                raise DataError(
                    f"the {len(frames)} frames of window {window} in epoch {self.epoch} do not fit "
                    f"into {(last - first) * world} batches; raise max_atoms or max_edges"
                )
            steps = self._into_steps(packed, world, window)
            yield from steps[max(0, skip - first) :]

    def _measure(self) -> float:
        """Find the mean number of frames that fit into a batch by packing a few windows."""
        random = np.random.default_rng(self.seed)
        size = min(_WINDOW, self._count)
        windows = [np.arange(self._count)]
        margin = 1.0
        if self._count > size:
            windows = [random.integers(self._count, size=size) for _ in range(_TRIALS)]
            drawn = [sizes[np.concatenate(windows)] for sizes, _ in self._sizes]
            spread = max(float(part.std() / part.mean()) for part in drawn)
            margin += _DEVIATIONS * spread / math.sqrt(size)
        bounds = [bound / margin for _, bound in self._sizes]
        frames = min(
            bound / float(sizes.mean(dtype=np.float64))
            for bound, (sizes, _) in zip(bounds, self._sizes, strict=True)
        )
        while frames > 1:
            batches = math.ceil(size / frames)
            if all(self._pack(window, batches, bounds) is not None for window in windows):
                return frames
            frames *= 0.98
        return 1.0

    def _pack(
        self, frames: Int[np.ndarray, " frames"], count: int, bounds: Sequence[float]
    ) -> list[list[int]] | None:
        """Assign frames to a number of batches, sorted by work; return None if they do not fit."""
        sizes = [np.asarray(sizes[frames], dtype=np.int64) for sizes, _ in self._sizes]
        # Ties are broken by the index of the frame, not by its place in the epoch, so that whether
        # the same frames fit does not depend on their order.
        order = np.lexsort((frames, *(-size for size in reversed(sizes))))
        sizes = [size[order] for size in sizes]
        owners = _dealt(sizes[0].tolist(), count)
        loads = [np.bincount(owners, weights=size, minlength=count) for size in sizes]
        if any(load.max() > bound for load, bound in zip(loads, bounds, strict=True)):
            fitting = _dealt_within(
                list(zip(*(size.tolist() for size in sizes), strict=True)), count, bounds
            )
            if fitting is None:
                return None
            owners = fitting
            loads[0] = np.bincount(owners, weights=sizes[0], minlength=count)
        rank_of = np.empty(count, dtype=np.int64)
        rank_of[np.argsort(loads[0], kind="stable")] = np.arange(count)
        owners = rank_of[owners]
        grouped = np.argsort(owners, kind="stable")
        ends = np.cumsum(np.bincount(owners, minlength=count)).tolist()
        numbers = frames[order[grouped]].tolist()
        return [numbers[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def _into_steps(
        self, batches: list[list[int]], world: int, window: int
    ) -> list[list[list[int]]]:
        """Group batches of similar work into steps, with steps and ranks in random order."""
        random = np.random.default_rng([self.seed, self.epoch, window])
        steps = []
        for step in random.permutation(len(batches) // world).tolist():
            ranks = random.permutation(world).tolist()
            steps.append([batches[step * world + rank] for rank in ranks])
        return steps


def _dealt(works: list[int], count: int) -> Int[np.ndarray, " frames"]:
    """Assign each frame to the batch with the least work so far; return the batch of each frame."""
    heap = [(0, batch) for batch in range(count)]
    owners = []
    for work in works:
        load, batch = heap[0]
        owners.append(batch)
        heapq.heapreplace(heap, (load + work, batch))
    return np.array(owners, dtype=np.int64)


def _dealt_within(
    works: list[tuple[int, ...]], count: int, bounds: Sequence[float]
) -> Int[np.ndarray, " frames"] | None:
    """Assign frames as :func:`_dealt` does, but to batches that stay within all bounds."""
    heap = [(0, batch) for batch in range(count)]
    loads = [(0,) * len(bounds)] * count
    owners = []
    for work in works:
        full: list[tuple[int, int]] = []
        while heap:
            load, batch = heapq.heappop(heap)
            found = tuple(old + new for old, new in zip(loads[batch], work, strict=True))
            if all(value <= bound for value, bound in zip(found, bounds, strict=True)):
                loads[batch] = found
                owners.append(batch)
                full.append((found[0], batch))
                break
            full.append((load, batch))
        else:
            return None
        for entry in full:
            heapq.heappush(heap, entry)
    return np.array(owners, dtype=np.int64)


def _check_largest(name: str, sizes: Int[np.ndarray, " frames"], bound: int) -> None:
    largest = int(sizes.argmax())
    if sizes[largest] > bound:
        raise DataError(
            f"frame {largest} has {sizes[largest]} {name}, more than max_{name}={bound} of a "
            f"batch; raise max_{name}"
        )
