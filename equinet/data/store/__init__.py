"""The frame store: frames of any source as memory-mapped arrays, and the conversion into it."""

from equinet.data.store.archives import Blob
from equinet.data.store.conversion import Options, Progress, convert
from equinet.data.store.dataset import StoredDataset, StoredFrames
from equinet.data.store.frame_store import FrameStore
from equinet.data.store.layout import HEADER, is_store
from equinet.data.store.lint import Lint
from equinet.data.store.records import Record, Refusal
from equinet.data.store.s2ef import pair_up
from equinet.data.store.sources import files_of_frames, find_parts, find_splits, s2ef_pairs

__all__ = [
    "HEADER",
    "Blob",
    "FrameStore",
    "Lint",
    "Options",
    "Progress",
    "Record",
    "Refusal",
    "StoredDataset",
    "StoredFrames",
    "convert",
    "files_of_frames",
    "find_parts",
    "find_splits",
    "is_store",
    "pair_up",
    "s2ef_pairs",
]
