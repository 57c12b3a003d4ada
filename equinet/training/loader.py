"""Batches of one epoch, shared between processes and continued where a checkpoint left off."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, Sampler

from equinet.data import PackedBatches
from equinet.training.processes import rank_and_world


class EpochBatches(Sampler[list[int]]):
    """The index batches of one epoch, without those that are done or belong to other processes.

    Args:
        batches: A batch sampler whose order depends on the epoch alone, set by ``set_epoch`` on
            itself or on its ``sampler``. One that packs frames for all processes together
            (:class:`equinet.data.PackedBatches`) is asked for this process's share.
        drop_uneven: Give every process equally many batches, as training must; evaluation keeps
            them all and lets the last ones fall where they may, repeating none; where there are
            fewer batches than processes, every process takes them all, which no mean notices.
        fixed: Repeat the first epoch's order for ever, to overfit its first batches.
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
        """Yield this process's batches that are not done; the next epoch is whole again."""
        start, self.done = self.done, 0
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
    """A data loader rebuilt around :class:`EpochBatches`.

    Args:
        loader: As made by a data module.
        drop_uneven: See :class:`EpochBatches`.
        fixed: Likewise.
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
        """Start an epoch at its first batch that is wanted, not before.

        Workers would otherwise fetch batches in the old order before the epoch is set.
        """
        yield from super().__iter__()

    def state_dict(self) -> dict[str, int]:
        """Batches of the current epoch that are done; the checkpoint callback fills it in."""
        return {"done": 0}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out the batches that are done in the epoch that follows."""
        self.epoch_batches.done = state["done"]
