"""Build the native engine in place: ``python csrc/equinet_build.py``."""

import json
import os
import shutil
import sys
from pathlib import Path

from equinet_compile import (
    BUILD,
    CPU_LIBRARY,
    ROOT,
    CompileError,
    MissingToolError,
    build_cpu,
    find_torch,
)

PACKAGE = ROOT / "equinet" / "ops" / "native"


def main() -> None:
    """Build and put the libraries where the package looks for them."""
    torch = find_torch()
    if torch is None:
        sys.exit("torch 2.10 or later is not installed beside this Python")
    try:
        report = {"torch": torch.version, "cpu": build_cpu(torch)}
    except (CompileError, MissingToolError) as error:
        sys.exit(str(error))
    _place(BUILD / CPU_LIBRARY)
    (PACKAGE / "build.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _place(library: Path) -> None:
    # A library that a running process has mapped must not change under it.
    draft = PACKAGE / f"{library.stem}.{os.getpid()}.so"
    shutil.copyfile(library, draft)
    draft.replace(PACKAGE / library.name)


if __name__ == "__main__":
    main()
