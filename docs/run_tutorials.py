"""Run the tutorials and keep their pictures: ``python docs/run_tutorials.py [NAME] ...``.

A tutorial is a page of Markdown. Its blocks marked ``python`` and ``bash`` are one program: they
run one after the other, as a reader would type them, in an empty folder. The pictures that they
save are those that the page shows.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "tutorials"

_BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def program(page: str) -> str:
    """Join the blocks of a page into one Python program.

    Args:
        page: Text of the page.

    Example:
        >>> program("```bash\\nls\\n```\\ntext\\n```python\\nx = 1\\n```\\n").splitlines()[-1]
        'x = 1'
    """
    parts = ["import subprocess"]
    for language, code in re.findall(
        r"^```(python|bash)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
    ):
        is_shell = language == "bash"
        parts.append(f"subprocess.run(['bash', '-ec', {code!r}], check=True)" if is_shell else code)
    return "\n".join(parts)


def pictures(page: str) -> list[str]:
    """List the pictures that a page shows.

    Args:
        page: Text of the page.

    Example:
        >>> pictures("![Errors](errors.png)")
        ['errors.png']
    """
    return re.findall(r"!\[[^\]]*\]\(([\w-]+\.png)\)", page)


def run(name: str, folder: Path) -> str:
    """Run a tutorial in a folder, and return what it printed.

    Args:
        name: Name of the page without its ending.
        folder: Empty folder, which keeps all that the tutorial writes.

    Raises:
        subprocess.CalledProcessError: A step of the tutorial failed.
    """
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    (folder / "tutorial.py").write_text(program(page), encoding="utf-8")
    shim = folder / "bin" / "equinet"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m equinet "$@"\n')
    shim.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{shim.parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",
    }
    found = subprocess.run(
        [sys.executable, "tutorial.py"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if found.returncode:
        sys.stdout.write(found.stdout)
        raise subprocess.CalledProcessError(found.returncode, f"the tutorial {name}")
    return found.stdout


def main(names: list[str]) -> None:
    """Run some tutorials, or all, and copy their pictures beside the pages."""
    for name in names or sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index"):
        with tempfile.TemporaryDirectory() as place:
            sys.stdout.write(f"== {name}\n{run(name, Path(place))}")
            for picture in pictures((FOLDER / f"{name}.md").read_text(encoding="utf-8")):
                (FOLDER / picture).write_bytes(Path(place, picture).read_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
