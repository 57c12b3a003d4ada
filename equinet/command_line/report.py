"""``python -m equinet report``: draw the report of a run or of an evaluation anew."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    """Add ``report``."""
    parser = verbs.add_parser("report", help="draw report.html of a run or an evaluation anew")
    parser.add_argument(
        "folder", type=Path, help="directory of a run, or output folder of an evaluation"
    )
    parser.set_defaults(run=draw)


def draw(arguments: argparse.Namespace) -> Iterator[str]:
    """Write ``report.html`` from the files of a folder, and yield its path.

    Args:
        arguments: Parsed command line.

    Raises:
        ConfigError: The folder is that of no run and no evaluation.
        DataError: A file in the folder is damaged.
    """
    from equinet.evaluation.report import write_report

    yield str(write_report(arguments.folder))
