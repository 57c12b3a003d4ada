"""Check arguments against the types, choices and ranges in a signature.

A choice is written ``Literal["a", "b"]``, a range ``Annotated[int, Range("at least 1", least=1)]``.
Both are checked for a configuration before anything is built, and by constructors for direct calls.
"""

import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from equinet.names import did_you_mean


@dataclass(frozen=True)
class Range:
    """Bounds of a number, written into the annotation of an argument.

    Attributes:
        words: End of a sentence such as "channels must be at least 1", without its beginning.
        above: Number that the argument must exceed; None for no such bound.
        least: Smallest number allowed; None for no such bound.
        below: Number that the argument must stay below; None for no such bound.
        most: Largest number allowed; None for no such bound.

    Example:
        >>> Range("positive", above=0).refusal(-1.0)
        '-1.0 is not positive'
    """

    words: str
    above: float = -math.inf
    least: float = -math.inf
    below: float = math.inf
    most: float = math.inf

    def refusal(self, value: Any) -> str:
        """Say why a number is out of range; empty for a finite number within the bounds."""
        within = self.above < value < self.below and self.least <= value <= self.most
        return "" if within and math.isfinite(value) else f"{value} is not {self.words}"


@dataclass(frozen=True)
class AcceptedBy:
    """Function that decides which texts an argument may have, written into its annotation.

    Attributes:
        function: Function of a text that raises a ValueError if the text is not accepted.

    Example:
        >>> AcceptedBy(float).refusal("abc")
        "could not convert string to float: 'abc'"
    """

    function: Callable[[str], Any]

    def refusal(self, value: str) -> str:
        """Say why a text is not accepted; empty for an accepted text."""
        try:
            self.function(value)
        except ValueError as error:
            return str(error)
        return ""


Positive = Annotated[float, Range("a finite number above 0", above=0)]
"""A finite number above zero."""
NotNegative = Annotated[float, Range("a finite number of at least 0", least=0)]
"""A finite number of at least zero."""
Fraction = Annotated[float, Range("between 0 and 1", least=0, most=1)]
"""A number from zero to one, both included."""
BelowOne = Annotated[float, Range("at least 0 and below 1", least=0, below=1)]
"""A number from zero to below one."""
Count = Annotated[int, Range("at least 1", least=1)]
"""A whole number of at least one."""
WholeNumber = Annotated[int, Range("at least 0", least=0)]
"""A whole number of at least zero."""


def refusal(value: Any, annotation: Any) -> str:
    """Say why a value does not match an annotation.

    Numbers, switches, texts, paths, lists, mappings, choices and ranges are checked; any other
    annotation accepts everything. None is accepted here; :func:`takes_none` decides about it.

    Args:
        value: Value as given.
        annotation: Annotation of the argument that receives the value.

    Returns:
        The end of a sentence that begins with the argument's name; empty for a value that matches.

    Example:
        >>> refusal("bundel", Literal["bundle", "lifted"])
        "'bundel' is not one of bundle, lifted; did you mean 'bundle'?"
        >>> refusal(2.5, int), refusal(0, Count), refusal(3, float | None)
        ('2.5 is not a whole number', '0 is not at least 1', '')
    """
    members = _members(annotation)
    if value is None or not members:
        return ""
    for member in members:
        if _fits(value, member):
            reasons = [note.refusal(value) for note in _base(member)[1]]
            if _base(member)[0] is Sequence and typing.get_args(member):
                (item,) = typing.get_args(member)
                reasons += [refusal(each, item) for each in value]
            if isinstance(value, float) and math.isnan(value):
                reasons.append("nan is not a number")
            return next(filter(None, reasons), "")
    choices = [str(c) for member in members for c in _choices(member)]
    hint = did_you_mean(str(value), choices)
    return f"{value!r} is not {_words(members)}{hint}"


def check_arguments(target: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of a direct call whose choice or range is wrong.

    Args:
        target: Class or function that takes the arguments.
        arguments: Arguments by name; names that the signature does not have are ignored.

    Raises:
        ValueError: A value is not among the choices, or out of range.

    Example:
        >>> def blur(*, mode: Literal["box", "disk"] = "box", width: Count = 3) -> None: ...
        >>> check_arguments(blur, {"mode": "disk", "width": 5})
    """
    parameters = inspect.signature(target).parameters
    for name, value in arguments.items():
        if name not in parameters:
            continue
        annotation = parameters[name].annotation
        if _restricts(annotation):
            reason = refusal(value, annotation)
            if reason:
                raise ValueError(_sentence(name, reason))


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is not among its choices.

    Args:
        name: Name of the argument.
        value: Value as given.
        choices: Values that are allowed.

    Raises:
        ValueError: The value is not among the choices; the message lists them.

    Example:
        >>> check_choice("mode", "box", ("box", "disk"))
    """
    if value not in choices:
        raise ValueError(_sentence(name, _not_among(value, choices)))


def takes_none(parameter: inspect.Parameter) -> bool:
    """Tell whether a parameter's annotation allows None, or restricts nothing.

    Args:
        parameter: Parameter of a signature.

    Example:
        >>> takes_none(inspect.signature(refusal).parameters["value"])
        True
    """
    annotation = parameter.annotation
    if annotation in {inspect.Parameter.empty, Any} or isinstance(annotation, str):
        return True
    return type(None) in {annotation, *typing.get_args(annotation)}


def is_checked(annotation: Any) -> bool:
    """Tell whether :func:`refusal` refuses some values; it accepts everything for odd annotations.

    Args:
        annotation: Annotation of an argument.

    Example:
        >>> is_checked(float | None), is_checked(Any)
        (True, False)
    """
    return bool(_members(annotation))


def described(annotation: Any) -> str:
    """Name the values that an annotation allows, in words for users.

    Args:
        annotation: Annotation of an argument.

    Example:
        >>> described(Count), described(float | None), described(Literal["a", "b"])
        ('a whole number', 'a number or null', 'one of a, b')
    """
    return _words(_alternatives(annotation))


def _words(members: Sequence[Any]) -> str:
    words = {_base(member)[0]: _word(member) for member in members}
    if {int, float} <= words.keys():
        del words[int]
    if {str, Path} <= words.keys():
        del words[str]
    choices = [str(c) for member in members for c in _choices(member)]
    found = [word for word in dict.fromkeys(words.values()) if word]
    if choices:
        found.append(f"one of {', '.join(dict.fromkeys(choices))}")
    return " or ".join([*found, "null"] if type(None) in members else found)


KINDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    dict: "a mapping",
    Mapping: "a mapping",
}
"""Words for the types of values."""
_TEXT = (str, int, float, Path)  # YAML reads a name such as 1234 as a number


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if annotation is inspect.Parameter.empty or annotation is None:
        return ()
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return typing.get_args(annotation)
    return (annotation,)


def _members(annotation: Any) -> list[Any]:
    """List the alternatives that can be checked; empty if the annotation has any other."""
    # The name alone, since importing torch takes longer than all else that a typing mistake needs.
    members = [
        member
        for member in _alternatives(annotation)
        if member is not type(None) and getattr(member, "__qualname__", "") != "Tensor"
    ]
    return members if all(_word(m) or _choices(m) for m in members) else []


def _base(member: Any) -> tuple[Any, list[Range | AcceptedBy]]:
    """Return the type of one alternative and the ranges and functions that restrict it."""
    kind, notes = member, []
    if typing.get_origin(member) is Annotated:
        kind, *notes = typing.get_args(member)
    return typing.get_origin(kind) or kind, [n for n in notes if isinstance(n, Range | AcceptedBy)]


def _choices(member: Any) -> tuple[Any, ...]:
    return typing.get_args(member) if typing.get_origin(member) is Literal else ()


def _word(member: Any) -> str:
    return KINDS.get(_base(member)[0], "")


def _fits(value: object, member: Any) -> bool:
    kind, _ = _base(member)
    is_switch = isinstance(value, bool)
    if kind is Literal:
        return value in typing.get_args(member)
    if kind is bool:
        return is_switch
    if kind is int:
        return isinstance(value, numbers.Integral) and not is_switch
    if kind is float:
        return isinstance(value, numbers.Real) and not is_switch
    if kind in {str, Path}:
        return isinstance(value, _TEXT) and not is_switch
    return isinstance(value, Mapping if kind in {dict, Mapping} else list | tuple)


def _restricts(annotation: Any) -> bool:
    """Tell whether an annotation holds a choice or a range, also for the items of a sequence."""
    return any(
        _choices(member)
        or _base(member)[1]
        or (_base(member)[0] is Sequence and any(map(_restricts, typing.get_args(member))))
        for member in _alternatives(annotation)
    )


def _not_among(value: object, choices: Sequence[str]) -> str:
    return f"{value!r} is not one of {', '.join(choices)}{did_you_mean(str(value), choices)}"


def _sentence(name: str, reason: str) -> str:
    """Turn "0 is not at least 1" into "name must be at least 1, found 0"."""
    value, is_plain, rest = reason.partition(" is not ")
    if not is_plain:
        return f"{name}: {reason}"
    demand, semicolon, hint = rest.partition("; ")
    return f"{name} must be {demand}, found {value}{semicolon}{hint}"
