"""Data modules, samplers and loaders, which turn data sets into batches."""

from equinet.data.loading.atoms import AtomicDataModule, Splits
from equinet.data.loading.images import ImageBatch, ImageDataModule, ImageDataset, ImageSets
from equinet.data.loading.isolated_atoms import read_isolated_atoms, split_off_atoms
from equinet.data.loading.module import DataModule, GraphDataModule, GraphSets
from equinet.data.loading.packing import PackedBatches
from equinet.data.loading.runs import edges_at_once, runs_within
from equinet.data.loading.sampling import (
    EpochSampler,
    evaluation_loader,
    ordered_loader,
    packed_loader,
    training_loader,
)
from equinet.data.loading.splitting import split_frames, split_indices

__all__ = [
    "AtomicDataModule",
    "DataModule",
    "EpochSampler",
    "GraphDataModule",
    "GraphSets",
    "ImageBatch",
    "ImageDataModule",
    "ImageDataset",
    "ImageSets",
    "PackedBatches",
    "Splits",
    "edges_at_once",
    "evaluation_loader",
    "ordered_loader",
    "packed_loader",
    "read_isolated_atoms",
    "runs_within",
    "split_frames",
    "split_indices",
    "split_off_atoms",
    "training_loader",
]
