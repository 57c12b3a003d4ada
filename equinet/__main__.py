"""The command line: ``equinet {train,evaluate,sample,report,doctor,data,oc20,zoo,bench}``.

``python -m equinet`` is the same command, ``python -m equinet.train`` that of ``equinet train``.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import equinet
from equinet.command_line import Parser, bench, data, doctor, oc20, report, zoo
from equinet.errors import EquinetError

_VERBS = (report, doctor, data, oc20, zoo, bench)
# Verbs whose arguments Hydra reads.
_COMPOSED = {
    "train": "train a model: equinet train +experiment=NAME [KEY=VALUE] ...",
    "evaluate": "measure a model's errors: equinet evaluate CHECKPOINT FILE [KEY=VALUE] ...",
    "sample": "make molecules from noise: equinet sample CHECKPOINT [n=1000] [KEY=VALUE] ...",
}
# The shell calls this verb, see equinet.command_line.completion.
_COMPLETE = "complete"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs; each verb sets ``run`` to a function that yields lines."""
    parser = Parser(
        prog="equinet",
        description="Equivariant networks. equinet VERB --help describes a verb and its options.",
    )
    parser.add_argument("--version", action="version", version=f"equinet {equinet.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name, description in _COMPOSED.items():
        verbs.add_parser(name, help=description, add_help=False)
    for verb in _VERBS:
        verb.add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Name of the verb and its arguments; None takes the arguments of this process.

    Returns:
        0 on success, 1 after an error that the user can mend (one sentence on standard error), 2
        for a mistake in the configuration, 130 when interrupted.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == [_COMPLETE]:
        return _complete()
    if words and words[0] in _COMPOSED:
        return _compose(words[0], words[1:])
    arguments = build_parser().parse_args(words)
    try:
        for line in arguments.run(arguments):
            print(line, flush=True)
    except EquinetError as error:
        sys.stderr.write(f"equinet: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("equinet: interrupted\n")
        return 130
    except BrokenPipeError:
        # The reader has ended, as `| head` does; otherwise the interpreter fails when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.filename is None:
            raise
        sys.stderr.write(f"equinet: {error.filename}: {error.strerror}; give another path\n")
        return 1
    return 0


def _complete() -> int:
    """Print what may stand at the end of the line that the shell is editing."""
    completion = importlib.import_module("equinet.command_line.completion")
    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "-1"))]
    found = completion.candidates(line, build_parser(), [*_COMPOSED])
    sys.stdout.writelines(f"{word}\n" for word in completion.after_break(found, line))
    return 0


def _compose(name: str, words: Sequence[str]) -> int:
    # Hydra and torch are slow to import, too slow for the help of the other verbs.
    configuration = importlib.import_module("equinet.configuration")

    def job(tree: dict[str, Any]) -> None:
        # Slow to import, and only needed once the command line is known to have no mistake.
        importlib.import_module(f"equinet.{name}").job(tree)

    return int(configuration.command(name, job, words))


if __name__ == "__main__":
    sys.exit(main())
