"""Write the table of options from signatures: ``python -m equinet.command_line.options``."""

import importlib
import json

from equinet.arguments import described, is_checked
from equinet.configuration import OPEN, OPTION_TABLE, all_targets, is_open_ended, options
from equinet.files import write_bytes

COMMANDS = ("train", "evaluate", "sample")


def make() -> dict[str, dict[str, str]]:
    """Describe the options of all classes that a configuration may name, and of the commands.

    Returns:
        The values that each option takes, in words, by option and by class; see
        :func:`equinet.configuration.option_table`.

    Example:
        >>> make()["equinet.training.Plateau"]["patience"]
        'a whole number'
    """
    found: dict[str, dict[str, str]] = {}
    for target, kind in all_targets().items():
        found[target] = {name: _words(each.annotation) for name, each in options(kind).items()}
        if is_open_ended(kind):
            found[target][OPEN] = ""
    for command in COMMANDS:
        own = importlib.import_module(f"equinet.{command}").OPTIONS
        found[f"equinet.{command}"] = {key: _words(each) for key, each in own.items()}
    return dict(sorted(found.items()))


def _words(annotation: object) -> str:
    return described(annotation) if is_checked(annotation) else ""


def main() -> None:
    """Write the table beside the code that reads it."""
    text = json.dumps(make(), indent=1, ensure_ascii=False)
    write_bytes(f"{text}\n".encode(), OPTION_TABLE)


if __name__ == "__main__":
    main()
