"""Docstrings, comments and error messages are plain English and make sense alone."""

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "equinet"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))

_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Example|Source|Note)s?:")
_ENTRY = re.compile(r"^    (\*{0,2}\w+)(?: \([^)]*\))?: (.*)$")
# Words that point at something outside of the description, and verbs in place of a noun.
_BARE = re.compile(
    r"^(of|likewise|whose|as|its|their|such|which|that|those|these|this|what|where|when|how|see|"
    r"with|without|for|from|in|on|at|by|to|if|also|most|fewest|so|but|and|or|only|same|again|none|"
    r"accept|give|keep|leave|take|refuse|return|make|use|let|show|ignore|evaluate)\b",
    re.IGNORECASE,
)
# Pronouns whose noun is elsewhere, at the beginning of what is returned or raised.
_PRONOUN = re.compile(
    r"^(its?|they|their|as|none|what|likewise|those|that|whose|such|of|where|how|which)\b",
    re.IGNORECASE,
)
# Pronouns in a first clause, before anything is named that they could stand for, and "is no" where
# "is not a" is plain.
_UNNAMED = re.compile(
    r"^[^.;,:]*\b(one|number|any|some|all|each|of|if) (of )?(them|they)\b|"
    r"(?<!there )\b(is|are) no (?!longer\b)[a-z]+",
    re.IGNORECASE,
)
# Beginnings of the docstring of a function that are no verb.
_NO_VERB = re.compile(
    r"^(The|An?|Of|Whether|Where|How|What|Which|Whose|Its|In|On|By|For|From|With|Also|Such|"
    r"All|Each|Every|Most|Some|One|No|Number|Numbers|Values?|``|\d)(\b|(?<=`))"
)
_PLURAL = re.compile(r"^(?!(Pass|Process|Compress|Address|Discuss|Guess|Cross)\b)[A-Z]\w+s\b")
# A fragment of a comment, which needs the code or the line above to be understood.
_FRAGMENT = re.compile(
    r"^(of|its|their|whose|what|which|likewise|such|as|with|also|else|in|from|to)\b"
)
_POINTING = re.compile(r"^(Of|Its|Their|Whose|What|Which|Likewise|Such)\b")
_DIRECTIVE = re.compile(r"^(noqa|type:|pragma|doctest)")
# Words that docs/style.md replaces, and expressions that a newcomer would have to decode.
_REPLACED = re.compile(
    r"\b(perceptrons?|likewise|nobody|anybody|at hand|on the spot|by heart|for ever|stand-ins?|"
    r"stands? in for|trips? over|their like|one's own|nowhere less|of no account)\b",
    re.IGNORECASE,
)


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Syntax tree of a module, which several tests walk through."""
    return ast.parse(path.read_text(encoding="utf-8"))


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


def results(docstring: str) -> Iterator[tuple[str, str]]:
    """Section and first line of every entry under Returns, Yields and Raises."""
    section = ""
    for line in docstring.splitlines():
        entry = re.match(r"^    (?:\w+Error: |\w+Interrupt: )?(\S.*)$", line)
        if found := _SECTION.match(line):
            section = found[1]
        elif line and not line.startswith(" "):
            section = ""
        elif entry and section in {"Returns", "Yields", "Raises"}:
            yield section, entry[1]
            section = "Raises" if section == "Raises" else ""


def fault(text: str, annotation: str = "") -> str:
    """What is wrong with a description, or nothing."""
    if found := _BARE.match(text) or _UNNAMED.search(text):
        return f"has {found[0]!r} where a noun is expected"
    if annotation.strip("'\"") in {"bool", "bool | None"} and not text.startswith("Whether"):
        return "describes a boolean and does not begin with Whether"
    if "[" not in text and len(text.split()) < 3:
        return "has fewer than three words"
    if not (text[:1].isupper() or text[:1] in "`[:" or text[:1].isdigit()):
        return "begins in lower case"
    if not text.endswith("."):
        return "does not end with a full stop"
    return ""


def fault_of_summary(docstring: str) -> str:
    """What is wrong with the first line of the docstring of a function, or nothing."""
    if _NO_VERB.match(docstring) or _PLURAL.match(docstring):
        return "begins without a verb"
    return ""


def documented(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Classes and functions of a module, private ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def annotations(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
    """Annotations of the arguments of a function, or of the attributes and arguments of a class."""
    if isinstance(node, ast.ClassDef):
        found = {
            line.target.id: ast.unparse(line.annotation)
            for line in node.body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        }
        inits = (line for line in node.body if isinstance(line, ast.FunctionDef))
        for init in inits:
            found |= annotations(init) if init.name == "__init__" else {}
        return found
    arguments = [*node.args.args, *node.args.kwonlyargs]
    return {each.arg: ast.unparse(each.annotation) for each in arguments if each.annotation}


def is_property(node: ast.AST) -> bool:
    names = (ast.unparse(each) for each in getattr(node, "decorator_list", ()))
    return any("property" in name for name in names)


def comments(text: str) -> Iterator[tuple[int, str, bool, bool]]:
    """Line number and text of every comment, whether it has its own line, and begins a block."""
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            has_line = not token.line[: token.start[1]].strip()
            yield line, token.string.lstrip("#: ").strip(), has_line, line != last + 1
            last = line if has_line else -1


def prose(path: Path) -> Iterator[tuple[str, str]]:
    """Place and text of all docstrings, comments and raised messages of a module."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Expr | ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield f"line {part.lineno}", part.value
    for line, comment, _, _ in comments(text):
        yield f"line {line}", comment


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_descriptions_make_sense_alone(path: Path) -> None:
    found = []
    for node in documented(parsed(path)):
        types = annotations(node)
        for name, text in described(ast.get_docstring(node) or ""):
            if wrong := fault(text, types.get(name, "")):
                found.append(f"{node.name}: {name}: {text!r} {wrong}")
    assert not found, "\n".join([str(path), *found])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_results_and_errors_begin_with_a_noun(path: Path) -> None:
    found = [
        f"{node.name}: {section}: {text!r}"
        for node in documented(parsed(path))
        for section, text in results(ast.get_docstring(node) or "")
        if _PRONOUN.match(text) or _UNNAMED.search(text)
    ]
    assert not found, "\n".join([str(path), *found])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_docstring_of_a_function_begins_with_a_verb(path: Path) -> None:
    found = [
        f"{node.name}: {docstring.splitlines()[0]!r} {wrong}"
        for node in documented(parsed(path))
        if not isinstance(node, ast.ClassDef) and not is_property(node)
        if (docstring := ast.get_docstring(node) or "") and (wrong := fault_of_summary(docstring))
    ]
    assert not found, "\n".join([str(path), *found])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_comments_are_no_fragments(path: Path) -> None:
    found = [
        f"line {line}: {text!r}"
        for line, text, has_line, is_first in comments(path.read_text(encoding="utf-8"))
        if is_first and not _DIRECTIVE.match(text)
        if (_POINTING if has_line else _FRAGMENT).match(text)
    ]
    assert not found, "\n".join([str(path), *found])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_words_are_those_of_the_style_guide(path: Path) -> None:
    found = [
        f"{place}: {word[0]!r}" for place, text in prose(path) for word in _REPLACED.finditer(text)
    ]
    assert not found, "\n".join([str(path), *found])


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_comments_of_configurations_are_no_fragments(path: Path) -> None:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        code, mark, comment = line.partition("# ")
        is_fragment = bool(code.strip()) and _FRAGMENT.match(comment)
        if mark and (is_fragment or _REPLACED.search(comment)):
            found.append(f"line {number}: {comment!r}")
    assert not found, "\n".join([str(path), *found])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_raised_message_is_one_sentence_without_a_full_stop(path: Path) -> None:
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            message = ast.unparse(node.exc.args[0]).strip("f'\"")
            is_text = isinstance(node.exc.args[0], ast.Constant | ast.JoinedStr)
            if is_text and (
                re.search(r"(?<!\.)\.$", message) or re.search(r"[a-z]\. [A-Z]", message)
            ):
                found.append(f"line {node.lineno}: {message!r}")
    assert not found, "\n".join([str(path), *found])


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("Of the first operand.", ""),
        ("As many.", ""),
        ("Its number of atoms.", ""),
        ("Where the metals of an alloy go.", ""),
        ("Accept forces that are all zero.", "bool"),
        ("Presence of rotations in the group.", "bool"),
        ("Highest degree", ""),
        ("Milliseconds.", ""),
        ("Number of them that were read.", ""),
        ("Model that is no potential.", ""),
    ],
)
def test_the_rules_refuse_riddles(text: str, annotation: str) -> None:
    assert fault(text, annotation)


def test_results_are_read_from_their_sections() -> None:
    text = "Do.\n\nReturns:\n    Its end,\n    or none.\n\nRaises:\n    ValueError: It is odd."
    assert list(results(text)) == [("Returns", "Its end,"), ("Raises", "It is odd.")]
    assert all(_PRONOUN.match(line) for _, line in results(text))
    assert _UNNAMED.search("One of them is not a potential.")
    assert _UNNAMED.search("If they differ.")
    assert not _UNNAMED.search("There is no such model, or the models differ, so they fail.")


@pytest.mark.parametrize(
    "docstring",
    ["Whether it rotates.", "How far it moves.", "Points of least energy.", "``4 pi``."],
)
def test_the_rules_refuse_summaries_without_a_verb(docstring: str) -> None:
    assert fault_of_summary(docstring)
    assert not fault_of_summary("Process all frames.")
