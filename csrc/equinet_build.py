"""Build backend of the package (PEP 517), and ``python csrc/equinet_build.py`` to compile in place.

setuptools makes the wheel; this module adds the native engine, if the necessary tools are
installed.

Environment variables:
    EQUINET_BUILD: "none", "cpu" or "cuda" asks for exactly that and fails where it cannot be had;
        unset, what can be built is built, and ``build.json`` tells what is missing and why.
    EQUINET_CUDA_ARCH: what to compile CUDA for, such as "90" or "80;90".
    EQUINET_FAIL_ON_SPILLS: "1" fails if a CUDA kernel needs more registers than there are.
    CXX, CXXFLAGS, CUDA_HOME: as everywhere.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from equinet_compile import (
    CPU_LIBRARY,
    ROOT,
    BuildError,
    MissingToolError,
    Torch,
    build_cpu,
    build_folder,
    find_compiler,
    find_torch,
)
from equinet_cuda import CUDA_LIBRARY, build_cuda, find_nvcc

PACKAGE = "equinet/ops/native"
LIBRARIES = {"cpu": CPU_LIBRARY, "cuda": CUDA_LIBRARY}
ARTIFACTS = (*LIBRARIES.values(), "build.json")
MODES = ("none", "cpu", "cuda")

Settings = Mapping[str, Any] | None


def build_wheel(
    wheel_directory: str,
    config_settings: Settings = None,
    metadata_directory: str | None = None,
) -> str:
    """Build a wheel with the native engine in it; PEP 517."""
    _build(keep_going=True)
    from setuptools import build_meta

    name = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    return add_native(Path(wheel_directory) / name, build_folder()).name


def build_editable(
    wheel_directory: str,
    config_settings: Settings = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the native engine in place and a wheel that points there; PEP 660."""
    _build(keep_going=True)
    place(build_folder(), ROOT / PACKAGE)
    from setuptools import build_meta

    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Pack the sources; PEP 517."""
    from setuptools import build_meta

    return build_meta.build_sdist(sdist_directory, config_settings)


def prepare_metadata_for_build_wheel(directory: str, config_settings: Settings = None) -> str:
    """Write the metadata; PEP 517."""
    from setuptools import build_meta

    return build_meta.prepare_metadata_for_build_wheel(directory, config_settings)


def prepare_metadata_for_build_editable(directory: str, config_settings: Settings = None) -> str:
    """Write the metadata; PEP 660."""
    from setuptools import build_meta

    return build_meta.prepare_metadata_for_build_editable(directory, config_settings)


def get_requires_for_build_sdist(_: Settings = None) -> list[str]:
    """List the packages that packing the sources needs besides setuptools; PEP 517."""
    return []


def get_requires_for_build_wheel(_: Settings = None) -> list[str]:
    """List the packages that the build needs besides setuptools, which is torch or none; PEP 517.

    pip does not pass its constraints to the build, so torch is pinned here to the version in them.
    """
    try:
        mode = _mode()
        if mode == "none" or find_torch():
            return []
        find_compiler()
    except MissingToolError as error:
        if mode:
            sys.exit(f"EQUINET_BUILD={mode} cannot be met: {error}")
        return []
    except BuildError as error:
        sys.exit(str(error))
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return re.findall(r"^torch==\S+", constraints, re.MULTILINE)


get_requires_for_build_editable = get_requires_for_build_wheel


def build(*, keep_going: bool) -> dict[str, dict[str, object]]:
    """Compile what ``EQUINET_BUILD`` asks for into the build folder, with ``build.json``.

    Args:
        keep_going: Whether a library that cannot be compiled is left out, if ``EQUINET_BUILD`` is
            not set.

    Returns:
        For "cpu" and "cuda" the reason why the library is not built, or "", and its properties.

    Raises:
        BuildError: What is asked for cannot be built.
    """
    mode = _mode()
    torch = find_torch()
    reasons = {"cpu": "", "cuda": ""}
    if mode == "none":
        reasons = dict.fromkeys(reasons, "EQUINET_BUILD=none was set; unset it")
    elif mode == "cpu":
        reasons["cuda"] = "EQUINET_BUILD=cpu was set; unset it"
    report = {
        "cpu": _attempt(build_cpu, torch, reasons["cpu"], mode, keep_going),
        "cuda": _attempt(_build_cuda, torch, reasons["cuda"], mode, keep_going),
    }
    folder = build_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for part, outcome in report.items():
        if outcome["reason"]:
            (folder / LIBRARIES[part]).unlink(missing_ok=True)
            print(f"{LIBRARIES[part]} is not built: {outcome['reason']}", flush=True)
    (folder / "build.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def place(source: Path, destination: Path) -> None:
    """Copy the libraries that were built into a folder, and remove those that were not."""
    for name in ARTIFACTS:
        if (source / name).is_file():
            # A running process may have mapped the old library, which must not change.
            draft = destination / f"{name}.{os.getpid()}"
            shutil.copyfile(source / name, draft)
            draft.replace(destination / name)
        else:
            (destination / name).unlink(missing_ok=True)


def add_native(wheel: Path, source: Path) -> Path:
    """Add the libraries that were built to a pure wheel.

    Args:
        wheel: Wheel made by setuptools with the tag py3-none-any; it is replaced.
        source: Folder of the libraries and ``build.json``.

    Returns:
        The path of the wheel. With libraries it has the tag of the platform, but of no version of
        Python, because the libraries do not depend on Python.
    """
    added = [path for path in map(source.joinpath, ARTIFACTS) if path.is_file()]
    is_native = (source / CPU_LIBRARY).is_file()
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    tag = f"py3-none-{platform}" if is_native else "py3-none-any"
    target = wheel.with_name(wheel.name.replace("py3-none-any", tag))
    draft = wheel.with_suffix(".draft")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as new:
        records = []
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                record = item.filename
                continue
            if item.filename.endswith(".dist-info/WHEEL") and is_native:
                content = content.replace(b"Root-Is-Purelib: true", b"Root-Is-Purelib: false")
                content = content.replace(b"py3-none-any", tag.encode())
            new.writestr(item, content, zipfile.ZIP_DEFLATED)
            records.append(_record(item.filename, content))
        for path in added:
            new.write(path, f"{PACKAGE}/{path.name}")
            records.append(_record(f"{PACKAGE}/{path.name}", path.read_bytes()))
        new.writestr(record, "".join([*records, f"{record},,\n"]))
    wheel.unlink()
    return draft.replace(target)


def main() -> None:
    """Compile the libraries and copy them to the place where the package looks for them."""
    _build(keep_going=False)
    place(build_folder(), ROOT / PACKAGE)


def _mode() -> str:
    mode = os.environ.get("EQUINET_BUILD", "")
    if mode and mode not in MODES:
        raise BuildError(f"EQUINET_BUILD must be unset, none, cpu or cuda, found {mode!r}")
    return mode


def _build(*, keep_going: bool) -> None:
    try:
        build(keep_going=keep_going)
    except BuildError as error:
        sys.exit(str(error))


def _build_cuda(torch: Torch) -> dict[str, object]:
    find_nvcc()
    if not torch.cuda and not _mode():
        raise MissingToolError(
            f"torch {torch.version} is built without CUDA; install a CUDA build of torch, "
            "or set EQUINET_BUILD=cuda"
        )
    return build_cuda(torch)


def _attempt(
    make: Callable[[Torch], dict[str, object]],
    torch: Torch | None,
    reason: str,
    mode: str,
    keep_going: bool,
) -> dict[str, object]:
    """Build one library; return its part of ``build.json``."""
    if reason:
        return {"reason": reason}
    try:
        if torch is None:
            raise MissingToolError("torch 2.10 or later is not installed; install it")
        return {"reason": "", "torch": torch.version, **make(torch)}
    except BuildError as error:
        if mode:
            raise BuildError(f"EQUINET_BUILD={mode} cannot be met: {error}") from error
        if not (keep_going or isinstance(error, MissingToolError)):
            raise
        complaint = str(error)
        if "\n" in complaint:
            print(complaint, flush=True)
        return {"reason": _in_one_line(complaint)}


def _in_one_line(complaint: str) -> str:
    """Return the line of a compiler's output that describes the error."""
    lines = complaint.splitlines()
    return next((line for line in lines if "error:" in line), lines[0])


def _record(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


if __name__ == "__main__":
    main()
