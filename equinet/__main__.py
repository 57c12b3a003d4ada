"""The command line: ``python -m equinet {doctor,data,oc20,zoo,bench}``."""

import argparse
import os
import sys
from collections.abc import Sequence

import equinet
from equinet.command_line import bench, data, doctor, oc20, zoo
from equinet.errors import EquinetError

_VERBS = (doctor, data, oc20, zoo, bench)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs; each verb sets ``run`` to a function that yields lines."""
    parser = argparse.ArgumentParser(
        prog="python -m equinet",
        description="Equivariant networks. To train and evaluate: python -m equinet.train --help, "
        "python -m equinet.evaluate --help.",
    )
    parser.add_argument("--version", action="version", version=f"equinet {equinet.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in _VERBS:
        verb.add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Name of the verb and its arguments; None takes the arguments of this process.

    Returns:
        0 on success, 1 after an error that the user can mend (one sentence on standard error), 130
        when interrupted.
    """
    arguments = build_parser().parse_args(argv)
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
