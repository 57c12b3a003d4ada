"""Trained models on disk: safetensors for the numbers, a JSON card for everything else.

Nothing here unpickles or runs code from a file: the class is looked up in a closed table, and the
weights must have the SHA-256 that the card states.
"""

from equinet.zoo.card import load_card, to_json
from equinet.zoo.exporting import export
from equinet.zoo.finite import not_finite
from equinet.zoo.index import Entry
from equinet.zoo.index import entries as list  # noqa: A004
from equinet.zoo.saving import load, save

__all__ = ["Entry", "export", "list", "load", "load_card", "not_finite", "save", "to_json"]
