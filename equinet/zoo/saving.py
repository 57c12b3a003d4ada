"""Save and load models without pickles."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from equinet.errors import ConfigError, DataError
from equinet.models import (
    Committee,
    DenseGroupResNet,
    EquiformerV2,
    Fallback,
    GroupResNet,
    MACEGaunt,
    Model,
    Ponita,
    PonitaPotential,
)
from equinet.zoo.card import CARD, WEIGHTS, make_card, read_card
from equinet.zoo.finite import not_finite
from equinet.zoo.index import find, find_entry

CLASSES: Mapping[str, type[Model]] = {
    each.__name__: each
    for each in (
        *(Committee, DenseGroupResNet, EquiformerV2, Fallback, GroupResNet),
        *(MACEGaunt, Ponita, PonitaPotential),
    )
}
"""The classes that a card may name; nothing else is ever built from a file."""


def save(model: Model, path: str | Path, card: Mapping[str, Any]) -> None:
    """Write ``path/model.safetensors`` and ``path/card.json``.

    Each file appears whole or not at all; the card, which holds the checksum of the weights, comes
    last.

    Args:
        model: Of one of the classes in equinet.models; its parameters share one dtype.
        path: Folder to write to; it is made where needed.
        card: What to add to the card: metrics, data, command, commit and their units.

    Raises:
        ValueError: The model's class is not known to the zoo, its parameters are of several dtypes,
            or an entry of the card cannot be written as JSON.
        DataError: A weight is NaN or infinite.
    """
    if CLASSES.get(type(model).__name__) is not type(model):
        raise ValueError(
            f"model must be one of {', '.join(CLASSES)}, found {type(model).__qualname__}"
        )
    dtypes = {parameter.dtype for parameter in model.parameters()}
    if len(dtypes) != 1:
        names = sorted(map(str, dtypes))
        raise ValueError(f"model must have parameters of one dtype, found {', '.join(names)}")
    _refuse_not_finite(model.state_dict(), f"the model to be saved in {path}")
    # Copies, since safetensors refuses views of shared storage.
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in model.state_dict().items()
    }
    weights = safetensors.torch.save(tensors, metadata={"format": "pt"})
    content = make_card(model, dtypes.pop(), hashlib.sha256(weights).hexdigest(), card)
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    _write_whole(folder / WEIGHTS, weights)
    _write_whole(folder / CARD, text.encode())


def load(
    name_or_path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Model:
    """Load a model, in evaluation mode.

    Args:
        name_or_path: A run directory, a model folder, or a name from the zoo.
        dtype: Precision of the parameters; None keeps the one it was saved in. Reference energies
            stay in float64.
        device: Where to put it.

    Returns:
        The model.

    Raises:
        ConfigError: There is no such model, or no such device.
        DataError: The card or the weights are broken, do not fit each other, name a class that
            this version does not have, or hold NaN or infinity.

    Example:
        >>> import tempfile
        >>> model = MACEGaunt(
        ...     elements=[1], cutoff=4.0, reference_energies=[-13.6], average_neighbors=1.0
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(model, folder, {"data": "none"})
        ...     load(folder).elements
        (1,)
    """
    folder = find(name_or_path)
    card = read_card(folder)
    tensors = _read_weights(folder / WEIGHTS, _expected_hash(name_or_path, folder, card))
    model = _build(card, folder / CARD)
    dtype_of_parameters = _dtype_of(card, folder / CARD)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype_of_parameters)
    _check_fit(model, tensors, folder)
    _refuse_not_finite(tensors, str(folder / WEIGHTS))
    model.load_state_dict(tensors)
    try:
        model.to(device=device, dtype=dtype)
    # torch built without CUDA says so with an AssertionError.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ConfigError(f"the model cannot be put on device {device!s}: {reason}") from error
    return model.eval()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears under its name only once it is complete."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _expected_hash(name_or_path: str | Path, folder: Path, card: Mapping[str, Any]) -> str:
    """The checksum in the card, which for a zoo name must be the one in the index."""
    entry = find_entry(str(name_or_path))
    if entry is not None and entry.folder == folder and entry.sha256 != card["sha256"]:
        raise DataError(f"{folder / CARD} is not the card of the zoo's {entry.name!r}; reinstall")
    return str(card["sha256"])


def _read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path} has SHA-256 {found[:12]}…, its card says {sha256[:12]}…: the file is damaged "
            "or belongs to another card; copy both anew"
        )
    # The bytes that were hashed are the bytes that are parsed.
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise DataError(f"{path} is not a safetensors file: {error}") from error


def _build(card: Mapping[str, Any], place: Path) -> Model:
    kind = CLASSES.get(card["class"])
    if kind is None:
        raise DataError(
            f"{place} names the class {card['class']!r}, which this equinet does not have; it has "
            f"{', '.join(CLASSES)}"
        )
    # Initial weights are drawn and overwritten; the caller's random numbers must not notice.
    with torch.random.fork_rng(devices=()):
        try:
            return kind(**card["arguments"])
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).split("\n", 1)[0]
            raise DataError(
                f"{place} holds arguments that {card['class']} does not take: {reason}"
            ) from error


def _dtype_of(card: Mapping[str, Any], place: Path) -> torch.dtype:
    dtype = getattr(torch, card["dtype"], None)
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise DataError(f"{place} has dtype {card['dtype']!r}, not a floating-point one")
    return dtype


def _check_fit(model: Model, found: Mapping[str, Tensor], folder: Path) -> None:
    """Refuse weights whose names, shapes or types are not exactly the model's.

    Buffers are tables, made in float64, which may have been cast since with all the rest.
    """
    expected = model.state_dict()
    parameters = {name for name, _ in model.named_parameters()}
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        parts = [
            f"{what} {_some(names)}"
            for what, names in (("lack", missing), ("have", extra))
            if names
        ]
        raise DataError(
            f"{folder / WEIGHTS} and card.json do not fit: the weights {' and '.join(parts)}"
        )
    for name, tensor in expected.items():
        other = found[name]
        fits = other.dtype == tensor.dtype
        if name not in parameters:
            fits = other.is_floating_point() == tensor.is_floating_point()
        if other.shape != tensor.shape or not fits:
            raise DataError(
                f"{folder / WEIGHTS} and card.json do not fit: {name} is {other.dtype} "
                f"{list(other.shape)} instead of {tensor.dtype} {list(tensor.shape)}"
            )


def _refuse_not_finite(tensors: Mapping[str, Tensor], place: str) -> None:
    names = not_finite(tensors)
    if names:
        raise DataError(
            f"{place} has weights that are not finite ({_some(names)}), as after a training that "
            "diverged; take an earlier model, or train again with a lower optim.lr"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
