"""Processes of other libraries, and of this one, that take steps when they are told to."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equinet.errors import BackendError

RIVALS = {"mace-torch": "mace", "symmetrix-xl": "symmetrix"}
"""Modules of the other libraries by the names of their packages."""


def installed_rivals(python: str) -> list[str]:
    """List the other libraries that a Python has.

    Args:
        python: Path of the interpreter.

    Raises:
        BackendError: The interpreter does not start.

    Example:
        >>> import sys
        >>> set(installed_rivals(sys.executable)) <= set(RIVALS)
        True
    """
    call = "import sys; from importlib.util import find_spec; print([bool(find_spec(each)) "
    call += "for each in sys.argv[1:]])"
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user named
            [python, "-c", call, *RIVALS.values()], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise BackendError(
            f"MACE_PYTHON names {python!r}, which is no Python that starts"
        ) from error
    there = json.loads(done.stdout.lower())
    return [name for name, is_there in zip(RIVALS, there, strict=True) if is_there]


class Worker:
    """Process with one library, which evaluates structures.

    Args:
        library: Name of the library, ``equinet`` or one of :data:`RIVALS`.
        python: Path of the interpreter that has it.
        model: Name of equinet's model, or the widths of another library's as JSON.
        device: Device on which to compute, ``cpu`` or ``cuda``.
        folder: Folder for files of the process.

    Attributes:
        versions: Versions of the library and of what it computes with.

    Raises:
        BackendError: The process ends, also while it works; its last words are on standard error.

    Example:
        >>> import sys, tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> worker = Worker("equinet", sys.executable, "mace-gaunt-3bpa", "cpu", folder)
        >>> worker.close()
        >>> "torch" in worker.versions
        True
    """

    def __init__(self, library: str, python: str, model: str, device: str, folder: Path) -> None:
        self.library = library
        place = folder / library
        place.mkdir()
        serve = str(Path(__file__).with_name("serve.py"))
        self._process = subprocess.Popen(  # noqa: S603 - the interpreter that the user named
            [python, "-W", "ignore", serve, library, model, device],
            cwd=place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions: dict[str, str] = self._answer()

    def take(self, structure: Path) -> None:
        """Read a structure, and let the peak of memory start anew."""
        self._say(["structure", str(structure)])
        self._answer()

    def step(self) -> tuple[float, int]:
        """Evaluate the structure, displaced; return the seconds and the peak of memory, bytes."""
        self._say(["step"])
        found = self._answer()
        return found["seconds"], found["peak"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _say(self, words: Sequence[str]) -> None:
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            self.close()
            raise BackendError(f"{self.library} stopped; its last words are above")
        return json.loads(line)
