"""Docstrings are plain English: descriptions of arguments stand on their own feet."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "equinet"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Example|Source|Note)s?:")
_ENTRY = re.compile(r"^    (\*{0,2}\w+)(?: \([^)]*\))?: (.*)$")
_BARE = re.compile(r"^(of|likewise|whose|as many)\b", re.IGNORECASE)


def described(docstring: str) -> Iterator[tuple[str, str]]:
    """Arguments and attributes of a docstring with their descriptions on one line."""
    section, name, words = "", "", []
    for line in [*docstring.splitlines(), "End:"]:
        entry = _ENTRY.match(line)
        if name and (entry or not line.startswith("      ")):
            yield name, " ".join(words)
            name = ""
        if found := _SECTION.match(line):
            section = found[1]
        elif line and not line.startswith(" "):
            section = ""
        if entry and section in {"Args", "Attributes"}:
            name, words = entry[1], [entry[2]]
        elif name:
            words.append(line.strip())


def fault(text: str) -> str:
    """What is wrong with a description, or nothing."""
    if _BARE.match(text):
        return "begins without a noun"
    if "[" not in text and len(text.split()) < 3:
        return "has fewer than three words"
    if not (text[:1].isupper() or text[:1] in "`[:" or text[:1].isdigit()):
        return "begins in lower case"
    if not text.endswith("."):
        return "does not end with a full stop"
    return ""


def docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names of the classes and functions of a module, private ones too, with their docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_descriptions_make_sense_alone(path: Path) -> None:
    found = [
        f"{owner}: {name}: {text!r} {fault(text)}"
        for owner, docstring in docstrings(ast.parse(path.read_text(encoding="utf-8")))
        for name, text in described(docstring)
        if fault(text)
    ]
    assert not found, "\n".join([str(path), *found])
