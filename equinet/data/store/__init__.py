"""The native store: frames of any source as memory-mapped arrays, and the way there."""

from equinet.data.store.conversion import Options, Progress, convert
from equinet.data.store.frame_store import FrameStore
from equinet.data.store.records import Record, Refusal
from equinet.data.store.sources import find_parts, find_splits

__all__ = [
    "FrameStore",
    "Options",
    "Progress",
    "Record",
    "Refusal",
    "convert",
    "find_parts",
    "find_splits",
]
