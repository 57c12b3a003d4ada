"""Data: frames, neighbor lists, graphs, statistics and data modules.

Units of atomistic data are Å, eV, eV/Å and eV/Å³; all floats are float64 until a model casts them.
"""

from equinet.data.affnist import AffNIST, HomNIST
from equinet.data.cache import git_blob_id
from equinet.data.files import AtomisticFiles
from equinet.data.formats import read_frames
from equinet.data.frames import (
    Frame,
    LabelKeys,
    fingerprint,
    frame_from_atoms,
    frame_to_atoms,
    label_keys,
)
from equinet.data.graph_dataset import GraphDataset
from equinet.data.graph_module import GraphDataModule, GraphSets
from equinet.data.graphs import AtomicDataset, to_graph
from equinet.data.images import ImageBatch, ImageDataModule, ImageDataset
from equinet.data.is2re import IS2RE
from equinet.data.modules import AtomicDataModule, Splits
from equinet.data.nbody import NBody
from equinet.data.neighbors import neighbor_list
from equinet.data.oc20 import OC20, read_s2ef
from equinet.data.packing import PackedBatches
from equinet.data.rmd17 import RMD17
from equinet.data.sampling import EpochSampler, evaluation_loader, packed_loader, training_loader
from equinet.data.statistics import Statistics, fit_reference_energies, pairs_that_meet
from equinet.data.store import FrameStore
from equinet.data.stored import StoredDataset, StoredFrames
from equinet.data.superpixel_mnist import SuperpixelMNIST
from equinet.data.superpixels import SuperpixelGraphs, Superpixels, make_superpixels
from equinet.data.three_bpa import ThreeBPA, official_3bpa_file

__all__ = [
    "IS2RE",
    "OC20",
    "RMD17",
    "AffNIST",
    "AtomicDataModule",
    "AtomicDataset",
    "AtomisticFiles",
    "EpochSampler",
    "Frame",
    "FrameStore",
    "GraphDataModule",
    "GraphDataset",
    "GraphSets",
    "HomNIST",
    "ImageBatch",
    "ImageDataModule",
    "ImageDataset",
    "LabelKeys",
    "NBody",
    "PackedBatches",
    "Splits",
    "Statistics",
    "StoredDataset",
    "StoredFrames",
    "SuperpixelGraphs",
    "SuperpixelMNIST",
    "Superpixels",
    "ThreeBPA",
    "evaluation_loader",
    "fingerprint",
    "fit_reference_energies",
    "frame_from_atoms",
    "frame_to_atoms",
    "git_blob_id",
    "label_keys",
    "make_superpixels",
    "neighbor_list",
    "official_3bpa_file",
    "packed_loader",
    "pairs_that_meet",
    "read_frames",
    "read_s2ef",
    "to_graph",
    "training_loader",
]
