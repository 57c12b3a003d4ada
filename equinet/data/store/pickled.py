"""Read pickled torch_geometric ``Data`` objects without running code in the pickle.

A pickle is a program that calls functions by name. This module maps the few names that a ``Data``
object needs, by exact pair of module and name, to classes and functions of its own, which only
store their arguments; any other name is an error. ``torch.storage._load_from_bytes``, which in
torch unpickles its argument without restriction, is replaced by ``torch.load(weights_only=True)``.
A file can therefore contain only tensors and plain values. torch_geometric is not needed.

PyG 1 stores the fields in the ``__dict__`` of the object, PyG 2 in a ``GlobalStorage``.
"""

import io
import math
import pickle  # used with a list of allowed names
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equinet.errors import DataError
from equinet.files import reason_of

Value = Tensor | int | float | bool | str
_LARGEST = 1 << 26  # bytes of one pickle; the largest OC20 structure with edges has 2 MB
_MEMO = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_SCALAR_TYPES = frozenset(f"{kind}{size}" for kind in "fiu" for size in (1, 2, 4, 8)) | {"b1"}


def read_data(content: bytes) -> dict[str, Value]:
    """Read the fields of one pickled ``Data``.

    Args:
        content: Output of ``pickle.dumps`` for a ``torch_geometric.data.Data`` of version 1 or 2.

    Returns:
        Tensors (on the CPU), numbers and strings by name; fields that are None are left out.

    Raises:
        DataError: The pickle contains something other than tensors and plain values, or is not a
            ``Data``.
    """
    found = _load(content)
    if not isinstance(found, _Data):
        raise DataError(f"the pickle holds a {type(found).__name__.lstrip('_')}, not a PyG Data")
    return found.fields()


def _load(content: bytes) -> Any:
    if len(content) > _LARGEST:
        raise DataError(f"a pickle of {len(content)} bytes is beyond the {_LARGEST} accepted")
    try:
        _check_memo(content)
        return _Restricted(io.BytesIO(content)).load()
    except DataError:
        raise
    except RecursionError as error:
        raise DataError("the pickle cannot be read: it is nested too deeply") from error
    except Exception as error:  # a broken pickle raises whatever it likes
        raise DataError(f"the pickle cannot be read: {reason_of(error)}") from error


def _check_memo(content: bytes) -> None:
    """Refuse memo numbers that are larger than the length of the pickle.

    The unpickler allocates as many places as the largest number, so that nine bytes could fill the
    memory. A pickle that numbers its objects one by one has no such numbers.
    """
    for code, argument, _ in pickletools.genops(content):
        if code.name in _MEMO and (argument or 0) > len(content):
            raise DataError(f"the pickle cannot be read: it notes something as number {argument}")


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(f"the pickle names {module}.{name}, which no data need") from None

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002 - the signature is fixed
        raise DataError("the pickle refers to objects outside of it")


class _Fixed:
    """Base of objects that a pickle may use but not change, such as functions of this module."""

    def __setstate__(self, state: Any) -> None:
        raise DataError(f"the pickle changes a {type(self).__name__.lstrip('_').lower()}")


class _Function(_Fixed):
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class _Row(_Fixed):
    """The numbers of a storage as a tensor with one axis."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers


class _Array(_Fixed):
    """A tensor that the pickle has put together."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Kept:
    """Base of objects that store their state and do nothing with it."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Marker(_Kept):
    """Class that PyG 2 stores beside the fields, which is not used."""


class _Storage(_Kept):
    """Replacement of PyG 2's ``GlobalStorage``."""

    def fields(self) -> Any:
        return self.state.get("_mapping") if isinstance(self.state, dict) else None


class _Data(_Kept):
    def fields(self) -> dict[str, Value]:
        state = self.state
        if isinstance(state, dict) and isinstance(storage := state.get("_store"), _Storage):
            state = storage.fields()
        if not isinstance(state, dict):
            raise DataError("the pickled Data has no fields")
        found: dict[str, Value] = {}
        for name, value in state.items():
            if not isinstance(name, str) or (name.startswith("__") and value is None):
                continue
            if isinstance(value, _Array):
                found[name] = value.tensor
            elif isinstance(value, int | float | bool | str):
                found[name] = value
            elif value is not None:
                raise DataError(
                    f"field {name!r} of the pickled Data is a {type(value).__name__.lstrip('_')}, "
                    "neither a tensor nor a plain value"
                )
        return found


class _ScalarType(_Kept):
    """Replacement of ``numpy.dtype`` for plain numbers; its state can only set the byte order."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in _SCALAR_TYPES:
            raise DataError(f"the pickle holds a NumPy value of type {code!r}")
        self.code = str(code)

    def dtype(self) -> np.dtype[Any]:
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "|"
        return np.dtype(f"{'>' if order == '>' else '<'}{self.code}")


def _scalar(kind: object, content: object = None) -> int | float | bool:
    if not isinstance(kind, _ScalarType) or not isinstance(content, bytes):
        raise DataError("the pickle holds a NumPy value that is no plain number")
    values = np.frombuffer(content, dtype=kind.dtype())
    if values.size != 1:
        raise DataError(f"the pickle holds a NumPy number of {len(content)} bytes")
    number: int | float | bool = values[0].item()
    return number


def _bytes_from_text(text: object, encoding: object = None) -> bytes:
    """Replace ``_codecs.encode``, which protocol 2 uses for bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise DataError("the pickle encodes something that is no bytes")
    return text.encode("latin1")


def _ordered_dict(*arguments: object) -> dict[Any, Any]:
    """Replace ``OrderedDict()``, which holds the backward hooks of a tensor and must be empty."""
    if arguments:
        raise DataError("the pickle holds an OrderedDict with a content")
    return {}


def _storage(content: object) -> _Row:
    """Replace ``torch.storage._load_from_bytes``, which holds the numbers of a tensor."""
    # Tensors are pickled in torch's old format. The new format is a zip, which could unpack to any
    # size.
    if not isinstance(content, bytes) or content.startswith(b"PK"):
        raise DataError("the pickle holds a storage in a form that no tensor is pickled in")
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if isinstance(loaded, torch.storage.TypedStorage):
        # The public conversion to a tensor emits a warning of deprecation.
        row = torch.empty(0, dtype=loaded.dtype)
        return _Row(row.set_(loaded._untyped_storage))  # noqa: SLF001 - torch has no public name for it
    raise DataError(f"the pickle holds a {type(loaded).__name__} for a storage")


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> _Array:
    """Replace ``torch._utils._rebuild_tensor_v2``, with a check of the bounds of the storage."""
    shape, steps = _whole_numbers(size), _whole_numbers(stride)
    start = _whole_numbers((offset,))[0]
    if not isinstance(storage, _Row) or len(shape) != len(steps):
        raise DataError("the pickle holds a tensor without a storage, or of unequal axes")
    count = math.prod(shape)
    last = start + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    # With a stride of zero, a few bytes could become a tensor of any size.
    there = storage.numbers.numel()
    if count and (last >= there or count > there):
        raise DataError(f"the pickle holds a tensor {shape} of a storage of {there} numbers")
    return _Array(torch.as_strided(storage.numbers, shape, steps, start).clone())


def _whole_numbers(values: object) -> list[int]:
    numbers = values if isinstance(values, tuple | list) else (None,)
    whole = [number for number in numbers if type(number) is int and number >= 0]
    if len(whole) < len(numbers):
        raise DataError(f"the pickle holds a tensor of shape or stride {values!r}")
    return whole


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch_geometric.data.data", "Data"): _Data,
    ("torch_geometric.data.data", "DataTensorAttr"): _Marker,
    ("torch_geometric.data.data", "DataEdgeAttr"): _Marker,
    ("torch_geometric.data.storage", "GlobalStorage"): _Storage,
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
    ("torch.storage", "_load_from_bytes"): _Function(_storage),
    ("collections", "OrderedDict"): _Function(_ordered_dict),
    ("numpy._core.multiarray", "scalar"): _Function(_scalar),
    ("numpy.core.multiarray", "scalar"): _Function(_scalar),
    ("numpy", "dtype"): _ScalarType,
    ("_codecs", "encode"): _Function(_bytes_from_text),
}
