"""Print the lowest release of every dependency that pyproject.toml allows, as pip takes them.

torch stays at the version of constraints.txt: it is the only CPU build on the package index, and
the native engine is compiled against it. Tools for tests are those of constraints.txt as well.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("atoms", "images", "oc20")
TOOLS = ("torch", "pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "beartype")


def main() -> None:
    """Print one requirement a line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    wanted = list(project["dependencies"])
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    wanted += [each for each in project["optional-dependencies"]["dev"] if "tensorboard" in each]
    found = {name: pinned[name] for name in TOOLS}
    for requirement in wanted:
        lowest = re.match(r"([\w-]+)\s*>=\s*([\w.]+)", requirement)
        if lowest and lowest[1] not in found:
            found[lowest[1]] = lowest[2]
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in found.items())


if __name__ == "__main__":
    main()
