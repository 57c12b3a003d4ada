"""Write the files of this release that later releases must read.

``PYTHONPATH=.:tests python tests/versions/make.py`` writes ``tests/versions/VERSION``, once for a
release. What is there is never written again.
"""

import json
import sys
from pathlib import Path

from contents import KINDS, answer
from damage import digest

import equinet
from equinet import zoo

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Write one folder for each kind, and what is in it."""
    release = HERE / equinet.__version__
    if release.exists():
        sys.exit(f"{release} is there; files of a release are written once")
    expected = {}
    for kind, (write, read) in KINDS.items():
        folder = release / kind.replace(" ", "_")
        folder.mkdir(parents=True)
        write(folder)
        expected[kind] = {"digest": digest(read(folder))}
        if kind.startswith("model "):
            expected[kind]["answer"] = answer(zoo.load(folder))
    (release / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
