"""Look up names that a user types, and suggest known names for unknown ones."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


def nearest(
    name: str, options: Iterable[str], *, most: int = 1, likeness: float = 0.6
) -> list[str]:
    """Find the known names that are spelled most like a given one.

    Args:
        name: Name as the user wrote it.
        options: Names that are known.
        most: Highest number of names to return.
        likeness: Fraction of matching characters, between 0 and 1, that a name must reach.

    Returns:
        Known names, the most similar first; empty where none is similar enough.

    Example:
        >>> nearest("chanels", ["layers", "channels"])
        ['channels']
    """
    # Small letters are compared, and each option is returned as it is written.
    spelled = {option.lower(): option for option in options}
    found = difflib.get_close_matches(name.lower(), list(spelled), most, likeness)
    return [spelled[each] for each in found]


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Write the end of a sentence that suggests the most similar name.

    Args:
        name: Name as the user wrote it.
        options: Names that are known.

    Returns:
        Text that begins with a semicolon; empty where no name is similar.

    Example:
        >>> did_you_mean("chanels", ["layers", "channels"])
        "; did you mean 'channels'?"
    """
    near = nearest(name, options)
    return f"; did you mean {near[0]!r}?" if near else ""


def named(name: str, options: Mapping[str, Value], place: str) -> Value:
    """Return the option of a name.

    Args:
        name: Name as the user wrote it.
        options: Values by their names.
        place: Argument that the name was given for, such as ``rule``.

    Returns:
        The value of that name.

    Raises:
        ValueError: The name is unknown; the message gives the nearest one and all others.

    Example:
        >>> named("mc", {"mc": 1, "sobol": 2}, "rule")
        1
    """
    if name in options:
        return options[name]
    near = nearest(name, options, likeness=0.5)
    guess = f"did you mean {near[0]!r}, of" if near else "choose from"
    raise ValueError(f"{place} {name!r} is unknown: {guess} {', '.join(options)}")
