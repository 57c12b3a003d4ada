"""Model cards: JSON descriptions of saved models."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import equinet
from equinet.errors import DataError
from equinet.files import digest_of, reading
from equinet.models import Model, Potential, name_of_model
from equinet.plain_json import to_json
from equinet.zoo.index import find

SCHEMA = 1
"""Version of the card's layout; readers refuse any other."""

WEIGHTS = "model.safetensors"
"""Name of the file of weights; :func:`own_name` is its name while another model is replaced."""

CARD = "card.json"

_UNITS = {"length": "Å", "energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
_REQUIRED = {
    "schema": int,
    "class": str,
    "arguments": dict,
    "units": dict,
    "dtype": str,
    "parameters": int,
    "sha256": str,
}
_SHA256 = re.compile("[0-9a-f]{64}")
_OWN = ("schema", "class", "arguments", "dtype", "parameters", "equinet", "sha256")


def load_card(name_or_path: str | Path) -> dict[str, Any]:
    """Read the card of a saved model.

    Args:
        name_or_path: Path of a run directory or a model folder, or a name from the zoo.

    Returns:
        The card: ``schema``, ``class``, ``arguments``, ``units``, ``dtype``, ``parameters``,
        ``equinet``, ``sha256`` of the weights, and entries that were added when it was saved, such
        as ``metrics``, ``data``, ``command`` and ``commit``.

    Raises:
        ConfigError: There is no such model.
        DataError: The card is damaged, or of another version.

    Example:
        >>> load_card("mace-gaunt-3bpa")["class"]
        'MACEGaunt'
    """
    return read_card(find(name_or_path))


def read_card(folder: Path) -> dict[str, Any]:
    """Read and check the card in a model folder; see :func:`load_card`.

    Args:
        folder: Path of the model folder.
    """
    path = folder / CARD
    with reading(path, "a model card"):
        card = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(card, dict):
        raise DataError(f"{path} is not a model card: it holds no JSON object")
    for key, kind in _REQUIRED.items():
        if not isinstance(card.get(key), kind):
            raise DataError(
                f"{path} is not a model card: it has no {key!r} of type {kind.__name__}"
            )
    if not _SHA256.fullmatch(card["sha256"]):
        raise DataError(f"{path} is not a model card: its sha256 is {card['sha256'][:80]!r}")
    if card["schema"] != SCHEMA:
        raise DataError(
            f"{path} has schema {card['schema']}, this equinet {equinet.__version__} reads "
            f"{SCHEMA}; load it with equinet {card.get('equinet', 'of another version')}"
        )
    return card


def own_name(sha256: str) -> str:
    """Name the file of weights until the card with its checksum is written.

    Args:
        sha256: SHA-256 of the file, hexadecimal.
    """
    return f"model-{sha256[:12]}.safetensors"


def seal(card: Mapping[str, Any]) -> str:
    """Compute the checksum of the entries of a card from which the model is built.

    Args:
        card: Content of the card.

    Returns:
        The SHA-256 that the file of weights contains as well, hexadecimal.
    """
    return digest_of([card["class"], card["arguments"], card["dtype"]])


def make_card(model: Model, dtype: torch.dtype, added: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a model; the checksum of its weights is still to be filled in.

    Args:
        model: Model to describe.
        dtype: Floating-point type of its parameters.
        added: Further entries of the card; ``units`` extends the units of the model.

    Returns:
        The card as :func:`load_card` returns it, with an empty ``sha256``.

    Raises:
        ValueError: ``added`` holds a key that the card fills itself, or a value has no JSON form.
    """
    taken = sorted(set(added) & set(_OWN))
    if taken:
        raise ValueError(f"card must not hold {', '.join(taken)}: zoo.save fills these in itself")
    further = {key: to_json(value, f"card[{key!r}]") for key, value in added.items()}
    units = _UNITS if isinstance(model, Potential) else {}
    return {
        "schema": SCHEMA,
        "class": name_of_model(type(model)),
        "arguments": to_json(model.arguments, "arguments"),
        "units": {**units, **further.pop("units", {})},
        "dtype": str(dtype).removeprefix("torch."),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "equinet": equinet.__version__,
        "sha256": "",
        **further,
    }
