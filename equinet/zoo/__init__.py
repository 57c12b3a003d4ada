"""Trained models on disk: weights as safetensors, everything else in a JSON card.

Loading a model unpickles nothing and runs no code from a file: its class must be one of
:mod:`equinet.models` or of a registered package, and its weights must have the SHA-256 in the card.
"""

from equinet.zoo.card import load_card
from equinet.zoo.exporting import export
from equinet.zoo.finite import not_finite
from equinet.zoo.index import Entry, find
from equinet.zoo.index import entries as list  # noqa: A004 - zoo.list() is the public name
from equinet.zoo.mace import import_mace
from equinet.zoo.saving import load, save
from equinet.zoo.sharing import pull, push
from equinet.zoo.worked_example import check, work_out

__all__ = [
    "Entry",
    "check",
    "export",
    "find",
    "import_mace",
    "list",
    "load",
    "load_card",
    "not_finite",
    "pull",
    "push",
    "save",
    "work_out",
]
