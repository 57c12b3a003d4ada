"""Plain JSON of values that hold scalars and arrays of other libraries."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def to_json(value: Any, place: str) -> Any:
    """Turn a value into plain JSON: tuples become lists, scalars Python numbers, NaN null.

    Args:
        value: Value made of mappings, sequences, scalars of any library, paths and strings.
        place: Name of the value, for the message.

    Raises:
        ValueError: A part of the value has no JSON form.

    Example:
        >>> import torch
        >>> to_json({"errors": (torch.tensor(0.5), float("nan"))}, "metrics")
        {'errors': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): to_json(item, f"{place}[{key!r}]") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [to_json(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        return to_json(value.tolist(), place)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"{place} must be made of numbers, strings and lists, found {type(value)}")
