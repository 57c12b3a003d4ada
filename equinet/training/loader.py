"""Batches of one epoch, divided among processes and continued where a checkpoint left off."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, Sampler

from equinet.data import PackedBatches
from equinet.training.processes import rank_and_world


class EpochBatches(Sampler[list[int]]):
    """Index batches of one epoch, without those that are done or belong to other processes.

    Args:
        batches: Batch sampler whose order depends on the epoch alone, set by ``set_epoch`` on
            itself or on its ``sampler``. One that packs structures for all processes together
            (:class:`equinet.data.PackedBatches`) is asked for the part of this process.
        drop_uneven: Whether every process gets equally many batches, as training needs. Evaluation
            keeps every batch once, so some processes get one more; with fewer batches than
            processes each evaluates all of them, which leaves means unchanged.
        fixed: Whether the order of the first epoch is repeated for ever, to overfit its first
            batches.
    """

    def __init__(self, batches: Any, *, drop_uneven: bool, fixed: bool = False) -> None:
        self.batches = batches
        self.drop_uneven = drop_uneven
        self.fixed = fixed
        self.done = 0

    @property
    def sampler(self) -> "EpochBatches":
        """Lightning looks here for something with ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order follows."""
        if self.fixed:
            return
        for owner in (self.batches, getattr(self.batches, "sampler", None)):
            if callable(set_epoch := getattr(owner, "set_epoch", None)):
                set_epoch(epoch)

    def __len__(self) -> int:
        """Batches of a whole epoch on this process."""
        rank, world = self._place()
        if isinstance(self.batches, PackedBatches):
            return self.batches.steps(world)
        share, rest = divmod(len(self.batches), world)
        return share + (not self.drop_uneven and rank < rest)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this process that are not done; the next epoch is whole again."""
        start, self.done = self.done, 0
        yield from self._from(start)

    def indices(self, number: int) -> list[int]:
        """Return the places in the data set of the structures of one batch of the current epoch.

        Args:
            number: Number of the batch on this process, counted from the start of the epoch.

        Returns:
            Indices; none where the epoch is shorter.
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
    """Data loader rebuilt around :class:`EpochBatches`.

    Args:
        loader: Loader made by a data module.
        drop_uneven: Whether every process gets equally many batches, see :class:`EpochBatches`.
        fixed: Whether the order of the first epoch is repeated, see :class:`EpochBatches`.
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

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Start an epoch only when its first batch is asked for.

        Workers would otherwise fetch batches in the old order before the epoch is set.
        """
        yield from super().__iter__()

    def state_dict(self) -> dict[str, int]:
        """Return the number of batches of the epoch that are done; the checkpoint fills it in."""
        return {"done": 0}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out the batches that are done in the epoch that follows."""
        self.epoch_batches.done = state["done"]
