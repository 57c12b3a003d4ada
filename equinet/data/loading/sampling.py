"""Seeded sampling by epoch, and loaders."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler
from torch_geometric.loader import DataLoader

from equinet.data.graph_dataset import GraphDataset
from equinet.data.loading.packing import PackedBatches

_CHUNK = 1 << 16


class EpochSampler(Sampler[int]):
    """A random order that depends on the seed and the epoch alone.

    Resuming at an epoch draws what an uninterrupted run would have drawn, whatever else has used
    random numbers. Lightning calls :meth:`set_epoch`.

    Args:
        size: Number of samples.
        seed: Any non-negative integer.

    Example:
        >>> sampler = EpochSampler(5, seed=0)
        >>> first = list(sampler)
        >>> sampler.set_epoch(1)
        >>> list(sampler) == first
        False
        >>> sampler.set_epoch(0)
        >>> list(sampler) == first
        True
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        # Hashing through SeedSequence keeps (seed, epoch) apart from (seed + 1, epoch - 1).
        generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch))
        order = torch.randperm(self.size, generator=generator)
        for some in order.split(_CHUNK):  # numbers of Python take four times the memory
            yield from some.tolist()


def training_loader(
    dataset: GraphDataset, batch_size: int, *, seed: int = 0, num_workers: int = 0
) -> DataLoader:
    """Load shuffled batches; the order is that of :class:`EpochSampler`.

    Args:
        dataset: Data set of graphs.
        batch_size: Graphs per batch; the last batch of an epoch may be smaller.
        seed: Seed of the order.
        num_workers: Loading processes; 0 loads in this one, which small graphs want.

    Returns:
        A loader of PyG batches.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), seed=seed),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def packed_loader(
    dataset: GraphDataset, batches: PackedBatches, *, num_workers: int = 0
) -> DataLoader:
    """Load batches that are packed by size.

    Args:
        dataset: Data set of graphs.
        batches: Which graphs make up each batch.
        num_workers: Loading processes; 0 loads in this one.

    Returns:
        A loader of PyG batches.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def evaluation_loader(
    dataset: GraphDataset, batch_size: int, *, num_workers: int = 0
) -> DataLoader:
    """Load batches in file order.

    Args:
        dataset: Data set of graphs.
        batch_size: Graphs per batch.
        num_workers: Number of loading processes.

    Returns:
        A loader of PyG batches.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=False,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def _mix(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, dtype=np.uint64)[0] >> 1)
