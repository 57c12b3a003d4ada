"""Compile the CPU sources for other systems, as a check: nothing is linked or installed.

``python csrc/equinet_portable.py`` needs the package ``ziglang``, a clang that brings along the
headers of macOS and Windows. Objects are kept in ``build/native``, and only what has changed is
compiled again. A warning is an error.
"""

import importlib.util
import sys

from equinet_compile import (
    ISAS,
    BuildError,
    MissingToolError,
    Toolchain,
    Torch,
    cpu_objects,
    find_torch,
    make_objects,
    run,
)

# Instruction sets by system, as clang names the processor and the system.
SYSTEMS = {"aarch64-macos": ("baseline",), "x86_64-windows-gnu": tuple(ISAS)}


def check_systems() -> None:
    """Compile the sources for every system.

    Raises:
        MissingToolError: ziglang or torch is not installed.
        BuildError: A source does not compile; all have been tried for all systems.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise MissingToolError("ziglang is not installed; install it: pip install ziglang")
    torch = find_torch()
    if torch is None:
        raise MissingToolError("torch 2.10 or later is not installed; install it")
    complaints = [complaint for system in SYSTEMS if (complaint := _complaint(system, torch))]
    if complaints:
        raise BuildError("\n".join(complaints))


def _complaint(system: str, torch: Torch) -> str:
    """Compile the sources for one system; return the reason why that fails, or ""."""
    zig = [sys.executable, "-m", "ziglang", "c++"]
    try:
        version = run([*zig, "--version"], "ziglang does not start").splitlines()[0]
        # Information for debuggers, which zig adds unless told otherwise, takes time and space.
        compiler = [*zig, "-target", system, "-g0", "-Werror"]
        objects = list(cpu_objects(compiler, torch, SYSTEMS[system], system))
        make_objects(objects, Toolchain(version, torch))
    except BuildError as error:
        return f"{system}: {error}"
    print(f"{system}: {len(objects)} objects compile without a warning", flush=True)
    return ""


if __name__ == "__main__":
    try:
        check_systems()
    except BuildError as error:
        sys.exit(str(error))
