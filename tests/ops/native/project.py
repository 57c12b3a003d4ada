"""A small copy of the project to build in, with compilers that are fake or there or not."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# Answers as a compiler does; makes empty objects and true dependency rules at once.
FAKE = """#!/bin/sh
echo "$*" >> {log}
for word; do
  case "$word" in
    --version) echo "fake release 13.0"; exit;;
    --list-gpu-arch) echo compute_80 compute_90 compute_120; exit;;
  esac
done
while [ $# -gt 0 ]; do
  case "$1" in
    -o) out=$2;;
    -MF) rule=$2;;
    -c) source=$2;;
  esac
  shift
done
case "$source" in
  *isa.cpp) header={csrc}/common/isa.h;;
esac
test -z "$rule" || echo "object: $source $header" > "$rule"
{and_then}
echo made > "$out"
"""

PTXAS = """
echo "ptxas info    : Compiling entry function 'product' for 'sm_90'" >&2
echo "    0 bytes stack frame, {spills} bytes spill stores, {spills} bytes spill loads" >&2
echo "ptxas info    : Used 255 registers, used 0 barriers" >&2
"""


class Project:
    """Sources, a Python environment of its own, and a PATH with nothing on it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.csrc = self.root / "csrc"
        self.package = self.root / "equinet" / "ops" / "native"
        self.package.mkdir(parents=True)
        shutil.copytree(ROOT / "csrc" / "common", self.csrc / "common", ignore=_all_but_isa)
        for path in (*(ROOT / "csrc").glob("equinet_*.py"), ROOT / "csrc" / "schemas.cpp"):
            shutil.copy(path, self.csrc)
        shutil.copy(ROOT / "constraints.txt", self.root)
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.log = folder / "commands.txt"
        self.environment = folder / "environment"
        venv.create(self.environment, with_pip=False, symlinks=True)

    @property
    def torch(self) -> Path:
        """Where torch is in the project's environment, if it is."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.environment / "lib" / version / "site-packages" / "torch"

    def add_torch(self, version: str = "2.13.0+cpu", cuda: str = "None") -> None:
        """Install what looks like a torch."""
        header = self.torch / "include/torch/csrc/stable/library.h"
        header.parent.mkdir(parents=True)
        header.touch()
        text = f"__version__ = '{version}'\ncuda: Optional[str] = {cuda}\n"
        (self.torch / "version.py").write_text(text)

    def add_tool(self, name: str, and_then: str = "") -> None:
        """Put a fake compiler on the PATH."""
        path = self.bin / name
        path.write_text(FAKE.format(log=self.log, csrc=self.csrc, and_then=and_then))
        path.chmod(0o755)

    def add_zig(self, and_then: str = "") -> None:
        """Install what looks like the package ziglang."""
        self.add_tool("zig", and_then)
        module = self.torch.parent / "ziglang" / "__main__.py"
        module.parent.mkdir(exist_ok=True)
        (module.parent / "__init__.py").touch()
        call = f"os.execv({str(self.bin / 'zig')!r}, ['zig', *sys.argv[1:]])"
        module.write_text(f"import os, sys\n{call}\n")

    def add_source(self, name: str) -> None:
        """Put an empty source into the folder of an op."""
        path = self.csrc / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def add_cuda(self, spills: int = 0) -> None:
        """Put a fake nvcc on the PATH and a source for it into the project."""
        self.add_tool("nvcc", PTXAS.format(spills=spills))
        self.add_source("product/cuda.cu")

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the project's Python with nothing but the tools that were added."""
        # The machine's own CUDA must not be found.
        cuda = {"CUDA_HOME": str(self.bin.parent)}
        return subprocess.run(
            [self.environment / "bin" / "python", *words],
            cwd=self.root,
            env={"PATH": str(self.bin), **cuda, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def build(self, **variables: str) -> dict:
        """Build in place and return ``build.json``."""
        done = self.run("csrc/equinet_build.py", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((self.package / "build.json").read_text())

    def refusal(self, **variables: str) -> str:
        """Build in place, which must fail, and return what is said."""
        done = self.run("csrc/equinet_build.py", **variables)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr.strip()

    def hook(self, call: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Call something of the build backend, as pip does."""
        script = f"import sys; sys.path.insert(0, 'csrc'); import equinet_build as b; print({call})"
        return self.run("-c", script, **variables)

    def compiled(self) -> list[str]:
        """Names of the sources that were compiled since the last call."""
        text = self.log.read_text() if self.log.is_file() else ""
        self.log.unlink(missing_ok=True)
        words = [line.split() for line in text.splitlines()]
        return [Path(line[line.index("-c") + 1]).name for line in words if "-c" in line]


def _all_but_isa(_: str, names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("isa.")}
