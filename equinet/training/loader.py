"""Batches of one epoch, divided among processes, without those done before a checkpoint."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, Sampler

from equinet.data import PackedBatches
from equinet.errors import EquinetError
from equinet.training.processes import rank_and_world


class EpochBatches(Sampler[list[int]]):
    """Batches of indices of one epoch for one process, without those done before a checkpoint.

    Args:
        batches: Batch sampler whose order depends on the epoch alone, set by ``set_epoch`` on
            itself or on its ``sampler``. A :class:`equinet.data.PackedBatches` divides its batches
            among the processes itself.
        drop_uneven: Whether every process gets the same number of batches, as training needs.
            Evaluation keeps every batch once, so some processes get one more; with fewer batches
            than processes each process evaluates all of them, which leaves means unchanged.
        fixed: Whether every epoch repeats the order of the first, to overfit its first batches.
    """

    def __init__(self, batches: Any, *, drop_uneven: bool, fixed: bool = False) -> None:
        self.batches = batches
        self.drop_uneven = drop_uneven
        self.fixed = fixed
        self.done = 0

    @property
    def sampler(self) -> "EpochBatches":
        """This object, on which Lightning calls ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that determines the order of the batches.

        Args:
            epoch: Number of the epoch, from 0.
        """
        if self.fixed:
            return
        for owner in (self.batches, getattr(self.batches, "sampler", None)):
            if callable(set_epoch := getattr(owner, "set_epoch", None)):
                set_epoch(epoch)

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch on this process."""
        rank, world = self._place()
        if isinstance(self.batches, PackedBatches):
            return self.batches.steps(world)
        even, rest = divmod(len(self.batches), world)
        return even + (not self.drop_uneven and rank < rest)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this process that are not done; the next epoch yields all."""
        start, self.done = self.done, 0
        yield from self._from(start)

    def indices(self, number: int) -> list[int]:
        """Return the places of one batch of the current epoch in the data set.

        Args:
            number: Number of the batch on this process, counted from the start of the epoch.

        Returns:
            Indices of the structures; empty where the epoch has fewer batches.
        """
        return next(self._from(number), [])

    def _from(self, start: int) -> Iterator[list[int]]:
        rank, world = self._place()
        if isinstance(self.batches, PackedBatches):
            yield from self.batches.share(rank, world, skip=start)
            return
        stop = len(self) * world if self.drop_uneven else None
        mine = islice(iter(self.batches), rank, stop, world)
        yield from islice(mine, start, None)

    def _place(self) -> tuple[int, int]:
        rank, world = rank_and_world()
        alone = not self.drop_uneven and len(self.batches) < world
        return (0, 1) if alone else (rank, world)


class EpochLoader(DataLoader[Any]):
    """Data loader that divides its batches among processes and can begin within an epoch.

    Args:
        loader: Loader made by a data module.
        drop_uneven: Whether every process gets the same number of batches, see
            :class:`EpochBatches`.
        fixed: Whether the order of the first epoch is repeated, see :class:`EpochBatches`.

    Example:
        >>> loader = EpochLoader(DataLoader(range(10), batch_size=4), drop_uneven=True)
        >>> loader.load_state_dict({"done": 1})
        >>> [batch.tolist() for batch in loader]
        [[4, 5, 6, 7], [8, 9]]
    """

    def __init__(self, loader: DataLoader[Any], *, drop_uneven: bool, fixed: bool = False) -> None:
        batches = EpochBatches(loader.batch_sampler, drop_uneven=drop_uneven, fixed=fixed)
        super().__init__(
            loader.dataset,
            batch_sampler=batches,
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
            pin_memory=loader.pin_memory,
            persistent_workers=loader.num_workers > 0,
            worker_init_fn=loader.worker_init_fn,
        )
        self.epoch_batches = batches

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its own class
        """Start an epoch when its first batch is asked for.

        If it started earlier, workers would fetch batches before the epoch is set.

        Raises:
            EquinetError: A loading process was killed, for instance for lack of memory.
        """
        try:
            yield from super().__iter__()
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker (pid"):
                raise
            reason = str(error).split("\n", 1)[0].rstrip(". ")
            raise EquinetError(
                f"a loading process ended ({reason}), as for lack of memory or of shared memory "
                "(/dev/shm); give more of it, or say data.num_workers=0"
            ) from error

    def state_dict(self) -> dict[str, int]:
        """Return a place for the number of batches done, which the checkpoint fills in."""
        return {"done": 0}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out the batches of the next epoch that are done.

        Args:
            state: Mapping with the number of batches ``done``.
        """
        self.epoch_batches.done = state["done"]
