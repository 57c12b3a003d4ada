"""Find what a name stands for, or say which name was probably meant."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


def named(name: str, options: Mapping[str, Value], place: str) -> Value:
    """Return the option of a name.

    Args:
        name: Name that the user wrote.
        options: Available options by name.
        place: Name of the option in messages, for example ``rule``.

    Returns:
        The option.

    Raises:
        ValueError: If there is no such option; the message names the nearest one and all others.

    Example:
        >>> named("mc", {"mc": 1, "sobol": 2}, "rule")
        1
    """
    if name in options:
        return options[name]
    near = difflib.get_close_matches(name, options, 1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}, of" if near else "choose from"
    raise ValueError(f"{place} {name!r} is unknown: {guess} {', '.join(options)}")
