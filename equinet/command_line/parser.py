"""Argument parser that answers a mistake in one sentence: the value, the place, the fix."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from equinet.names import did_you_mean, nearest

_MISSING = "the following arguments are required: "
_CHOICE = re.compile(r"argument (?P<place>.+): invalid choice: '(?P<value>.*)' \(choose from")
_KIND = re.compile(r"argument (?P<place>.+): invalid (?P<kind>\w+) value: (?P<value>'.*')")
_EMPTY = re.compile(r"argument (?P<place>.+): expected (?:one|at least one) argument")
_KINDS = {"int": "a whole number", "float": "a number"}


class Parser(argparse.ArgumentParser):
    """Parser of a command line, whose parsers of verbs are of this class too.

    Example:
        >>> parser = Parser(prog="equinet zoo push")
        >>> _ = parser.add_argument("model"), parser.add_argument("--out", required=True)
        >>> parser.sentence("the following arguments are required: model, --out")
        'MODEL and --out are missing; type equinet zoo push MODEL --out OUT'
    """

    def parse_known_args(  # type: ignore[override]  # argparse has overloads of namespaces
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse a command line, and refuse what belongs to no argument where it was typed."""
        words = sys.argv[1:] if args is None else list(args)
        if not self._verbs():
            for word in words:
                self._check_flag(word.partition("=")[0])
        namespace, extras = super().parse_known_args(words, namespace)
        if extras:
            self._end(f"there is no argument {extras[0]}; type {self._shortest()}")
        return namespace, extras

    def error(self, message: str) -> NoReturn:
        """End with one sentence about what was typed, and exit code 2.

        Args:
            message: Sentence of argparse.
        """
        self._end(self.sentence(message))

    def sentence(self, message: str) -> str:
        """Say what argparse has found, with the fix.

        Args:
            message: Sentence of argparse.

        Returns:
            Sentence without the name of the command.
        """
        if message.startswith(_MISSING):
            names = [self._shown(name) for name in message.removeprefix(_MISSING).split(", ")]
            rest = f"{', '.join(names[:-1])} and " if len(names) > 1 else ""
            missing = f"{rest}{names[-1]} {'are' if rest else 'is'} missing"
            verbs = ", ".join(self._verbs())
            return f"{missing}; {f'choose from {verbs}' if verbs else f'type {self._shortest()}'}"
        if found := _CHOICE.match(message):
            return self._unknown_choice(**found.groupdict())
        if found := _KIND.match(message):
            kind = _KINDS.get(found["kind"], f"a {found['kind']}")
            return f"{found['place']} {found['value']} is not {kind}; give one"
        if found := _EMPTY.match(message):
            return f"{found['place']} has no value; write one behind it"
        return f"{message}; {self.prog} --help lists what there is"

    def _unknown_choice(self, place: str, value: str) -> str:
        choices = next(
            [str(choice) for choice in action.choices]
            for action in self._actions
            if action.choices and place in {action.metavar, "/".join(action.option_strings)}
        )
        near = nearest(value, choices)
        guess = f"did you mean {near[0]!r}, of" if near else "choose from"
        return f"{place} {value!r} is unknown: {guess} {', '.join(choices)}"

    def _check_flag(self, word: str) -> None:
        """Refuse a flag that no option begins with."""
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        if word.startswith("--") and not any(flag.startswith(word) for flag in flags):
            known = did_you_mean(word, flags) or f"; {self.prog} --help lists all"
            self._end(f"there is no option {word}{known}")

    def _verbs(self) -> list[str]:
        """List the verbs or actions that must follow."""
        choices = [action.choices for action in self._actions if action.dest == argparse.SUPPRESS]
        return [name for names in choices for name in names or ()]

    def _shown(self, name: str) -> str:
        """Write an argument as the line of usage does: places in capital letters."""
        return name if name.startswith("-") else name.upper()

    def _shortest(self) -> str:
        """Write the shortest command that is complete."""
        words = [self.prog]
        for action in self._actions:
            name = action.metavar or action.dest.upper()
            if action.option_strings and action.required:
                words += [action.option_strings[-1], str(name)]
            elif not action.option_strings and action.nargs not in {"*", "?"}:
                words.append(str(name))
        return " ".join(words)

    def _end(self, sentence: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {sentence}\n")
