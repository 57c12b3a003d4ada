"""Save and load models without pickles."""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from equinet.errors import ConfigError, DataError
from equinet.files import remove_partials, write_bytes, writing
from equinet.models import Model, all_models, find_model, name_of_model
from equinet.names import did_you_mean
from equinet.zoo.card import CARD, WEIGHTS, make_card, own_name, read_card, seal
from equinet.zoo.finite import not_finite
from equinet.zoo.index import find, find_entry

_SEAL = "card"
_WIDE = 1000
_SMALL = 1 << 14  # added to every bound, so that small models are never refused


def save(model: Model, path: str | Path, card: Mapping[str, Any]) -> None:
    """Write ``path/model.safetensors`` and ``path/card.json``.

    A process that is killed at any moment leaves the old model or the new one intact. The weights
    are written under a name that contains their checksum, then the card with the full checksum, and
    then the weights are renamed over the old ones. :func:`load` tries both names.

    Args:
        model: Model of a class in equinet.models or of a registered package, see
            :mod:`equinet.plugins`; all its parameters have the same dtype.
        path: Folder to write to; it is made if it does not exist.
        card: Further entries of the card, such as metrics, data, command, commit and their units.

    Raises:
        ValueError: The model's class is not known to the zoo, its parameters are of several dtypes,
            or an entry of the card cannot be written as JSON.
        DataError: A weight is NaN or infinite.
        WriteError: The disk is full, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(load("mace-gaunt-3bpa"), folder, {"data": "3BPA"})
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['card.json', 'model.safetensors']
    """
    name_of_model(type(model))
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
    content = make_card(model, dtypes.pop(), card)
    weights = _in_order(
        safetensors.torch.save(tensors, metadata={"format": "pt", _SEAL: seal(content)})
    )
    content["sha256"] = hashlib.sha256(weights).hexdigest()
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    folder = Path(path)
    own = folder / own_name(content["sha256"])
    with writing(folder, *folder.parents):
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            remove_partials(folder)
            try:
                write_bytes(weights, own)
                write_bytes(text.encode(), folder / CARD)
            except BaseException:
                if not _is_stated(folder, content["sha256"]):
                    own.unlink(missing_ok=True)
                raise
            own.replace(folder / WEIGHTS)
            for stale in folder.glob(own_name("?" * 12)):
                stale.unlink()


def load(
    name_or_path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Model:
    """Load a model, in evaluation mode.

    Args:
        name_or_path: Path of a run directory or a model folder, or a name from the zoo.
        dtype: Floating-point type of the parameters; None keeps the one that was saved. Reference
            energies stay in float64.
        device: Device to move the model to.

    Returns:
        The model, on the device.

    Raises:
        ConfigError: There is no such model, or no such device.
        DataError: The card or the weights are damaged, do not match each other, name a class that
            this version does not have, or hold NaN or infinity.

    Example:
        >>> import tempfile
        >>> from equinet.models import MACEGaunt
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
    try:
        content = read_weights(folder, _expected_hash(name_or_path, folder, card))
    except DataError:
        # Another process may have saved a model between the two readings.
        again = read_card(folder)
        if again["sha256"] == card["sha256"]:
            raise
        card = again
        content = read_weights(folder, _expected_hash(name_or_path, folder, card))
    # Parsing the bytes in memory rather than the file makes sure that they are those hashed.
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise DataError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from error
    fits = _seal_of(content) in {None, seal(card)}
    numbers = sum(tensor.numel() for tensor in tensors.values())
    model = _build(card, folder / CARD, numbers, fits=fits)
    dtype_of_parameters = _dtype_of(card, folder / CARD)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype_of_parameters)
    _check_fit(model, tensors, folder)
    _refuse_not_finite(tensors, str(folder / WEIGHTS))
    if not fits:
        raise DataError(
            f"{folder / CARD} says of the model's arguments something else than {folder / WEIGHTS} "
            "was saved with: one of them is damaged or was changed; copy both files anew"
        )
    model.load_state_dict(tensors)
    try:
        model.to(device=device, dtype=dtype)
    # torch raises an AssertionError if it is built without CUDA.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ConfigError(f"the model cannot be put on device {device!s}: {reason}") from error
    return model.eval()


def _in_order(weights: bytes) -> bytes:
    """Sort the header of weights, which safetensors writes in random order."""
    (length,) = struct.unpack_from("<Q", weights)
    header = json.dumps(json.loads(weights[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + weights[8 + length :]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process saves into the folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_stated(folder: Path, sha256: str) -> bool:
    """Tell whether the card in a folder has the checksum of some weights."""
    try:
        return bool(read_card(folder)["sha256"] == sha256)
    except DataError:
        return False


def _expected_hash(name_or_path: str | Path, folder: Path, card: Mapping[str, Any]) -> str:
    """Return the checksum in the card, which for a zoo name must be the one in the index."""
    entry = find_entry(str(name_or_path))
    if entry is not None and entry.folder == folder and entry.sha256 != card["sha256"]:
        raise DataError(f"{folder / CARD} is not the card of the zoo's {entry.name!r}; reinstall")
    return str(card["sha256"])


def read_weights(folder: Path, sha256: str) -> bytes:
    """Read the weights with a checksum, under the first of their two names that holds them.

    Args:
        folder: Folder of the model, with its card.
        sha256: SHA-256 that the weights must have, hexadecimal.

    Returns:
        The content of the file.

    Raises:
        DataError: Neither file has the checksum, or can be read.
    """
    found = ""
    for path in (folder / own_name(sha256), folder / WEIGHTS):
        if path.exists() and not path.is_file():
            raise DataError(f"{path} cannot be read: it is no file; copy it anew")
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        found = hashlib.sha256(content).hexdigest()
        if found == sha256:
            return content
    path = folder / WEIGHTS
    if not found:
        raise DataError(f"{path} cannot be read: it is not there; copy it beside its {CARD}")
    raise DataError(
        f"{path} has SHA-256 {found[:12]}…, its {CARD} says {sha256[:12]}…: the file is damaged "
        "or belongs to another card; copy both anew"
    )


def _seal_of(weights: bytes) -> str | None:
    """Return the checksum of the card inside the weights; None in files of older versions."""
    (length,) = struct.unpack_from("<Q", weights)
    header = json.loads(weights[8 : 8 + length])
    found: str | None = header.get("__metadata__", {}).get(_SEAL)
    return found


def _build(card: Mapping[str, Any], place: Path, numbers: int, *, fits: bool) -> Model:
    """Build the model of a card, with a bound on its parameters from the number of weights.

    A card that does not fit its weights is built only to name what is wrong with it, so that its
    whole numbers are bounded as widths of square matrices.
    """
    # The factor admits models with missing weights, which a later check names one by one.
    numbers = 2 * numbers + _SMALL
    kind = find_model(card["class"])
    if kind is None:
        raise DataError(
            f"{place} names the class {card['class']!r}, which this equinet does not have; it has "
            f"{', '.join(sorted(all_models()))}{did_you_mean(card['class'], all_models())}"
        )
    # Initial weights are drawn and overwritten, without advancing the caller's random numbers.
    with torch.random.fork_rng(devices=()):
        try:
            widest = numbers if fits else max(_WIDE, math.isqrt(numbers))
            _refuse_large(card["arguments"], widest)
            with _at_most(numbers):
                return kind(**card["arguments"])
        except (DataError, MemoryError):
            raise
        except Exception as error:  # constructors may raise anything on damaged arguments
            reason = str(error).split("\n", 1)[0]
            raise DataError(
                f"{place} holds arguments that {card['class']} does not take: {reason}"
            ) from error


def _refuse_large(value: Any, numbers: int) -> None:
    """Refuse arguments so large that building the model could exhaust memory or never end."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        if len(value) > numbers:
            raise ValueError(
                f"a list of {len(value)} entries is longer than the file of weights could need"
            )
        for item in value:
            _refuse_large(item, numbers)
    elif isinstance(value, int) and abs(value) > numbers:
        raise ValueError(f"{value} is larger than any size that the file of weights could have")


@contextlib.contextmanager
def _at_most(numbers: int) -> Iterator[None]:
    """Stop the building of a model in this thread as soon as it exceeds a number of parameters."""
    thread = threading.get_ident()
    seen: dict[int, nn.Parameter] = {}
    left = numbers

    def count(_: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal left
        if threading.get_ident() != thread or parameter is None or id(parameter) in seen:
            return
        seen[id(parameter)] = parameter
        left -= parameter.numel()
        if left < 0:
            raise ValueError(f"the model has far more parameters than there are weights, at {name}")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _dtype_of(card: Mapping[str, Any], place: Path) -> torch.dtype:
    dtype = getattr(torch, card["dtype"], None)
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise DataError(f"{place} has dtype {card['dtype']!r}, not a floating-point one")
    return dtype


def _check_fit(model: Model, found: Mapping[str, Tensor], folder: Path) -> None:
    """Refuse weights whose names, shapes or types are not exactly the model's.

    Of buffers only the shape is compared: they are float64 tables that a cast of the model changes.
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
