"""Records of runs: time, command, machine, versions, commit, seed and checksum of the data."""

import importlib
import platform
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from equinet.configuration.hardware import hardware

_HERE = Path(__file__).resolve().parent
_PACKAGES = ("torch", "lightning", "numpy", "e3nn", "torch-geometric", "hydra-core", "ase")


def make_stamp(*, seed: int | None, fingerprint: str, data: str = "") -> dict[str, Any]:
    """Record what a result depends on beside its configuration.

    Args:
        seed: Seed of the run; None where no random numbers are drawn.
        fingerprint: Checksum of the data.
        data: Description of the data in one line, with units that were converted.

    Returns:
        JSON-ready mapping: time, command, host, hardware, versions, commit and whether the checkout
        had uncommitted changes (``None`` outside a git checkout), seed, checksum of the data.

    Example:
        >>> make_stamp(seed=0, fingerprint="abc")["data_fingerprint"]
        'abc'
    """
    versions = {"python": platform.python_version(), "equinet": _equinet_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    commit, is_dirty = _git_state(_HERE)
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command_line(),
        "hostname": socket.gethostname(),
        "platform": platform.platform(),
        "hardware": hardware(),
        "versions": versions,
        "commit": commit,
        "dirty": is_dirty,
        "seed": seed,
        "data_fingerprint": fingerprint,
        "data": data,
    }


def _command_line() -> list[str]:
    """Return the command as typed; ``python -m`` replaces its module's name by a path."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return [Path(sys.argv[0]).name, *sys.argv[1:]]
    return ["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]


def _equinet_version() -> str:
    return str(importlib.import_module("equinet").__version__)


def _git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the checkout around a folder and whether files differ from it."""
    git = shutil.which("git")
    if git is None:
        return None, None

    def run(*arguments: str) -> str | None:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [git, "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else None

    commit = run("rev-parse", "HEAD")
    # A package installed inside another project's checkout must not report that project's commit.
    if commit is None or run("ls-files", "--error-unmatch", "stamp.py") is None:
        return None, None
    return commit, bool(run("status", "--porcelain", "--untracked-files=no"))
