"""Sphinx extension that writes the type of each argument into the section Args of a docstring."""

import inspect
import re
import types
import typing
from typing import Annotated, Any, Literal

_ENTRY = re.compile(r"^(    )(\w+): ")
_BEFORE_NAPOLEON = 400  # its priority is 500


def written(annotation: Any) -> str:
    """Write an annotation as briefly as it can be read.

    Args:
        annotation: Annotation of an argument.

    Example:
        >>> written(Annotated[int, "at least 1"] | None), written(Literal["a", "b"])
        ('int | None', '"a" | "b"')
    """
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return written(typing.get_args(annotation)[0])
    if origin is Literal:
        return " | ".join(f'"{choice}"' for choice in typing.get_args(annotation))
    if origin in {typing.Union, types.UnionType}:
        return " | ".join(written(each) for each in typing.get_args(annotation))
    if origin:
        return inspect.formatannotation(annotation)
    name = getattr(annotation, "__forward_arg__", getattr(annotation, "__name__", str(annotation)))
    return "None" if name == "NoneType" else name


def _add_types(
    _app: Any, _what: str, _name: str, owner: Any, _options: Any, lines: list[str]
) -> None:
    """Turn ``name: text`` into the same with its type between Args and the next section."""
    try:
        parameters = inspect.signature(owner).parameters
    except (TypeError, ValueError):
        return
    within = False
    for number, line in enumerate(lines):
        within = line == "Args:" or (within and (not line or line.startswith(" ")))
        entry = _ENTRY.match(line) if within else None
        if entry and entry[2] in parameters:
            annotation = parameters[entry[2]].annotation
            if annotation is not inspect.Parameter.empty:
                kind = written(annotation)
                lines[number] = f"    {entry[2]} (``{kind}``): {line[entry.end() :]}"


def setup(app: Any) -> dict[str, bool]:
    """Register the change of docstrings."""
    app.connect("autodoc-process-docstring", _add_types, priority=_BEFORE_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
