"""Completion in the shell: ``complete -o default -o nospace -C 'equinet complete' equinet``.

The shell calls ``equinet complete`` with the line so far in ``COMP_LINE``, and offers its output.
Options come from the table of options, so nothing slow is imported.
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence

from equinet.configuration import CONFIG_DIR, OPEN, option_table

_CHOICES = re.compile(r"one of ([^ ,]+(?:, [^ ,]+)*)")


def candidates(line: str, parser: argparse.ArgumentParser, composed: Sequence[str]) -> list[str]:
    """List the words that may stand at the end of a line, each as it is inserted.

    Args:
        line: Command line up to the cursor.
        parser: Parser of all verbs.
        composed: Names of the verbs whose words are options of a configuration.

    Returns:
        Whole words; those that are complete end in a space. Empty where a file may stand.

    Example:
        >>> from equinet.__main__ import build_parser
        >>> candidates("equinet zoo ver", build_parser(), ["train"])
        ['verify ']
        >>> candidates("equinet train trainer=g", build_parser(), ["train"])
        ['trainer=gpu ']
    """
    words = line.split()
    current = "" if line.endswith(" ") or not words else words.pop()
    words = words[1:]
    if words and words[0] in composed:
        found = _options(words[0], words[1:], current)
    else:
        found = _verbs(parser, words)
    return sorted({word for word in found if word.startswith(current)})


def after_break(words: Sequence[str], line: str) -> list[str]:
    """Leave out what stands before the last ``=`` of the line, where bash begins a word anew.

    Args:
        words: Whole words, as :func:`candidates` lists them.
        line: Command line up to the cursor.

    Example:
        >>> after_break(["trainer=gpu "], "equinet train trainer=g")
        ['gpu ']
    """
    current = "" if line.endswith(" ") else line.rsplit(maxsplit=1)[-1]
    begun = current.rpartition("=")[0]
    return [word[len(begun) + 1 :] if begun else word for word in words]


def _verbs(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[str]:
    """Yield the verbs, actions and flags that may follow some words."""
    for word in words:
        parser = _inner(parser).get(word, parser)
    yield from (f"{name} " for name in _inner(parser))
    yield from (f"{flag} " for flag in parser._option_string_actions if flag.startswith("--"))  # noqa: SLF001 - argparse has no public list


def _inner(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            return action.choices
    return {}


def _options(verb: str, words: Sequence[str], current: str) -> Iterator[str]:
    """Yield the choices and options of a configuration."""
    chosen = _chosen(verb, words)
    key, equals, _ = current.partition("=")
    places = {place: option_table().get(_target(*each), {}) for place, each in chosen.items()}
    places[""] = option_table()[f"equinet.{verb}"]
    allowed = {
        f"{place}.{name}".strip("."): kinds
        for place, options in places.items()
        for name, kinds in options.items()
        if name != OPEN
    }
    if not equals:
        groups = [group.name for group in CONFIG_DIR.iterdir() if group.is_dir()]
        yield from (f"{name}=" for name in allowed)
        if verb == "train":
            yield from (f"+{name}=" if name == "experiment" else f"{name}=" for name in groups)
        return
    folder = CONFIG_DIR / key.removeprefix("+")
    yield from (f"{key}={path.stem} " for path in folder.glob("*.yaml"))
    found = _CHOICES.search(allowed.get(key, "").removesuffix(" or null"))
    yield from (f"{key}={choice} " for choice in (found[1].split(", ") if found else ()))
    if allowed.get(key, "").startswith("true or false"):
        yield from (f"{key}={value} " for value in ("true", "false"))


def _chosen(verb: str, words: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the file of each group that a command, its experiment or the default chooses."""
    text = (CONFIG_DIR / f"{verb}.yaml").read_text(encoding="utf-8")
    found = dict(re.findall(r"^  - (\w+): (\w+)$", text, re.MULTILINE))
    typed = dict(word.removeprefix("+").split("=", 1) for word in words if "=" in word)
    experiment = CONFIG_DIR / "experiment" / f"{typed.get('experiment')}.yaml"
    if experiment.is_file():
        found |= dict(re.findall(r"override /(\w+): (\w+)", experiment.read_text(encoding="utf-8")))
    found |= {group: name for group, name in typed.items() if (CONFIG_DIR / group).is_dir()}
    return {group: (group, name) for group, name in found.items()}


def _target(group: str, name: str) -> str:
    """Name the class of a file of a group; a file without one continues another."""
    path = CONFIG_DIR / group / f"{name}.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(r"^_target_: (\S+)$", text, re.MULTILINE)
    if found:
        return found[1]
    parent = re.search(r"^  - (\w+)$", text, re.MULTILINE)
    return _target(group, parent[1]) if parent else ""
