"""The table of all options, which answers for signatures before the classes are imported.

Importing torch and Lightning takes seconds. ``options.json`` holds what their signatures and those
of equinet say about options, so that a mistake in typing is answered at once. It is written by
``python -m equinet.command_line.options``, and a test refuses a table that is out of date.
"""

import functools
import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from equinet.arguments import KINDS, refusal
from equinet.files import reading

OPTION_TABLE = Path(__file__).with_name("options.json")
"""Path of the table."""

OPEN = "**"
"""Name that stands in the table for further keywords, which a class takes without naming them."""


@functools.cache
def option_table() -> Mapping[str, Mapping[str, str]]:
    """Read the table: the options of each class and command, with the values they take in words.

    An option about whose values the signature says nothing has the empty text.

    Example:
        >>> option_table()["equinet.training.Cosine"]["final_fraction"]
        'a number'
    """
    with reading(OPTION_TABLE, "the table of options"):
        found: dict[str, dict[str, str]] = json.loads(OPTION_TABLE.read_text(encoding="utf-8"))
        return found


def mistake(value: Any, words: str) -> str:
    """Say why a value is none of those that the table allows.

    Ranges are not in the table; they are checked with the signatures.

    Args:
        value: Value as given in the configuration.
        words: Values that are allowed, as in the table.

    Returns:
        The end of a sentence that begins with the name of the option; empty for an allowed value.

    Example:
        >>> mistake("fast", "a number or null"), mistake(0.1, "a number or null")
        ("'fast' is not a number", '')
    """
    return refusal(value, _annotation(words))


@functools.cache
def _annotation(words: str) -> Any:
    """Turn the words of :func:`equinet.arguments.described` into an annotation."""
    types = {text: kind for kind, text in KINDS.items()}
    found = []
    for part in words.split(" or "):
        if part.startswith("one of "):
            choices = part.removeprefix("one of ").split(", ")
            numbers = [int(choice) for choice in choices if choice.isdecimal()]
            found.append(Literal[(*choices, *numbers)])
        elif part in types:
            found.append(types[part])
    return functools.reduce(operator.or_, found) if found else Any
