"""Samplers whose order depends on seed and epoch, and loaders of graphs."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler
from torch_geometric.loader import DataLoader

from equinet.data.atoms import AtomicDataset
from equinet.data.graph_dataset import GraphDataset
from equinet.data.loading.descriptors import allow_descriptors
from equinet.data.loading.packing import PackedBatches
from equinet.data.loading.runs import edges_at_once, runs_within

_CHUNK = 1 << 16


class EpochSampler(Sampler[int]):
    """Sampler with a random order that depends on the seed and the epoch alone.

    A run that is resumed at an epoch has the same order as an uninterrupted run, even if other code
    has used random numbers. Lightning calls :meth:`set_epoch`.

    Args:
        size: Number of samples.
        seed: Seed of the order, at least 0.

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
        # SeedSequence hashes both, so that (seed, epoch) and (seed + 1, epoch - 1) differ.
        generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch))
        order = torch.randperm(self.size, generator=generator)
        for some in order.split(_CHUNK):  # a list of Python numbers takes four times the memory
            yield from some.tolist()


def training_loader(
    dataset: GraphDataset, batch_size: int, *, seed: int = 0, num_workers: int = 0
) -> DataLoader:
    """Make a loader of training batches in the order of :class:`EpochSampler`.

    Args:
        dataset: Data set of graphs.
        batch_size: Number of graphs per batch; the last batch of an epoch may be smaller.
        seed: Seed of the order, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process, which is faster for
            small graphs.

    Returns:
        A loader of PyG batches.

    Example:
        >>> from torch_geometric.data import Data
        >>> dataset = GraphDataset([Data(pos=torch.zeros(3, 3)) for _ in range(5)])
        >>> [batch.num_graphs for batch in training_loader(dataset, 2)]
        [2, 2, 1]
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
    """Make a loader of batches that are packed by size.

    Args:
        dataset: Data set of graphs.
        batches: Sampler of the indices of the graphs of each batch.
        num_workers: Number of loading processes; 0 loads in the main process.

    Returns:
        A loader of PyG batches.

    Example:
        >>> from torch_geometric.data import Data
        >>> atoms = np.array([1, 1, 1, 1, 4])
        >>> dataset = GraphDataset([Data(pos=torch.zeros(size, 3)) for size in atoms])
        >>> loader = packed_loader(dataset, PackedBatches(atoms, max_atoms=4))
        >>> [batch.num_nodes for batch in loader]
        [4, 4]
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
    """Make a loader of batches in the order of the data set.

    Args:
        dataset: Data set of graphs.
        batch_size: Number of graphs per batch; the last batch may be smaller.
        num_workers: Number of loading processes; 0 loads in the main process.

    Returns:
        A loader of PyG batches.

    Example:
        >>> from torch_geometric.data import Data
        >>> dataset = GraphDataset([Data(pos=torch.zeros(size, 3)) for size in (1, 2, 3)])
        >>> [batch.num_nodes for batch in evaluation_loader(dataset, 2)]
        [3, 3]
    """
    allow_descriptors(num_workers)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=False,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def ordered_loader(dataset: AtomicDataset, device: torch.device | str) -> DataLoader:
    """Make a loader of batches in the order of the data set, packed by their numbers of edges.

    Args:
        dataset: Data set in memory.
        device: Device that evaluates the batches, whose size is the fastest there, see
            :func:`edges_at_once`.

    Returns:
        A loader of PyG batches.

    Example:
        >>> from ase.build import molecule
        >>> dataset = AtomicDataset([molecule(name) for name in ("H2O", "CH4", "NH3")], 5.0)
        >>> [batch.num_graphs for batch in ordered_loader(dataset, "cpu")]
        [3]
    """
    counts = [dataset[index].num_edges for index in range(len(dataset))]
    batches = list(runs_within(range(len(counts)), counts.__getitem__, edges_at_once(device)))
    return DataLoader(dataset, batch_sampler=batches)


def _mix(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, dtype=np.uint64)[0] >> 1)
