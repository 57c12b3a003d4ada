"""Compile the native engine: ``csrc/**/*.cpp`` with a C++ compiler, ``csrc/cuda/*.cu`` with nvcc.

Objects and logs are kept below ``build/native``. An object is made again only if its command, its
compiler or the content of a file that it was made from has changed.
"""

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "csrc"
BUILD = ROOT / "build" / "native"

CPU_LIBRARY = "libequinet.so"
CUDA_LIBRARY = "libequinet_cuda.so"

# What each copy of the CPU kernels may use; cpu/isa.cpp asks the processor for exactly these.
ISAS = {
    "baseline": (),
    "avx2": ("-mavx2", "-mfma"),
    "avx512": (
        "-mavx2",
        "-mfma",
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mprefer-vector-width=512",
    ),
}

# The oldest torch whose stable ABI is complete; the libraries serve it and every later one.
OLDEST_TORCH = (2, 10)
_DEFINES = ("-DTORCH_TARGET_VERSION=0x020a000000000000",)
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-ffp-contract=fast",
    "-fPIC",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-Wall",
    "-Wextra",
)


class MissingToolError(Exception):
    """A compiler or torch's headers are not there."""


class CompileError(Exception):
    """A compiler or the linker refused."""


@dataclass(frozen=True)
class Torch:
    """An installed torch, found without importing it.

    Attributes:
        folder: Where it is installed.
        version: Such as "2.13.0+cpu".
        cuda: The CUDA version that it was built with, or "".
    """

    folder: Path
    version: str
    cuda: str

    @property
    def include(self) -> Path:
        """Folder of its headers."""
        return self.folder / "include"

    @property
    def lib(self) -> Path:
        """Folder of its libraries."""
        return self.folder / "lib"


@dataclass(frozen=True)
class Object:
    """One object file to make.

    Attributes:
        source: File to compile.
        path: Object file.
        command: Compiler and flags, without input and output.
    """

    source: Path
    path: Path
    command: tuple[str, ...]


def find_torch() -> Torch | None:
    """Find a torch to compile against: in the environment of this Python, else on its path.

    pip hides the environment from the import system while it builds a wheel, but not from the
    file system, so a torch that is installed need not be downloaded a second time.

    Returns:
        The first that is recent enough, or None.
    """
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path]
    for place in dict.fromkeys(places):
        folder = Path(place) / "torch"
        stated = folder / "version.py"
        if not (folder / "include/torch/csrc/stable/library.h").is_file() or not stated.is_file():
            continue
        text = stated.read_text(encoding="utf-8")
        version = re.search(r"__version__ = '(\d+)\.(\d+)([^']*)'", text)
        cuda = re.search(r"^cuda\b[^=]*= '([^']*)'", text, re.MULTILINE)
        if version and (int(version[1]), int(version[2])) >= OLDEST_TORCH:
            number = f"{version[1]}.{version[2]}{version[3]}"
            return Torch(folder, number, cuda[1] if cuda else "")
    return None


def find_compiler() -> tuple[str, ...]:
    """Return the C++ compiler: the words of ``CXX``, else the first of c++, g++, clang++.

    Raises:
        MissingToolError: There is none.
    """
    if not sys.platform.startswith("linux"):
        raise MissingToolError(f"the native engine is built on Linux only, not on {sys.platform}")
    named = tuple(shlex.split(os.environ.get("CXX", "")))
    if named:
        if shutil.which(named[0]) is None:
            raise MissingToolError(f"CXX names the compiler {named[0]!r}, which is not on PATH")
        return named
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return (name,)
    raise MissingToolError("no C++ compiler was found on PATH (c++, g++ or clang++)")


def describe(tool: Sequence[str]) -> str:
    """Return what a compiler says it is, in one line."""
    said = subprocess.run([*tool, "--version"], check=True, capture_output=True, text=True)
    lines = said.stdout.splitlines()
    release = [line for line in lines if "release" in line]  # nvcc says it in its fourth line
    return (release or lines)[0]


def isas() -> list[str]:
    """List the instruction sets for which the CPU kernels are compiled on this machine."""
    return list(ISAS) if platform.machine() == "x86_64" else ["baseline"]


def build_cpu(torch: Torch) -> dict[str, object]:
    """Make the library of the CPU below ``BUILD``.

    Returns:
        What was built, for ``build.json``.

    Raises:
        MissingToolError: No compiler.
        CompileError: It refuses.
    """
    compiler = find_compiler()
    identity = describe(compiler)
    objects = list(_cpu_objects(compiler, torch))
    make_objects(objects, identity)
    libraries = [f"-L{torch.lib}", f"-Wl,-rpath-link,{torch.lib}", "-ltorch_cpu"]
    link(
        [*compiler, "-shared", "-Wl,-z,defs", "-Wl,--as-needed"],
        [each.path for each in objects],
        libraries,
        BUILD / CPU_LIBRARY,
    )
    return {"compiler": identity, "targets": isas()}


def _cpu_objects(compiler: Sequence[str], torch: Torch) -> Iterator[Object]:
    flags = shlex.split(os.environ.get("CXXFLAGS", ""))
    common = (*compiler, *_FLAGS, *_DEFINES, f"-I{SOURCES}", "-isystem", str(torch.include), *flags)
    for source in [SOURCES / "schemas.cpp", *sorted((SOURCES / "cpu").glob("*.cpp"))]:
        if not source.stem.endswith("_kernels"):
            yield Object(source, BUILD / "objects" / f"{source.stem}.o", common)
            continue
        for isa in isas():
            path = BUILD / "objects" / f"{source.stem}.{isa}.o"
            yield Object(source, path, (*common, *ISAS[isa], f"-DEQUINET_ISA={isa}"))


def make_objects(objects: Sequence[Object], identity: str) -> None:
    """Make the objects that are out of date, on as many cores as this process may use.

    Args:
        objects: What to make.
        identity: Of the compiler; another one makes everything again.

    Raises:
        CompileError: The first refusal, after all have been tried.
    """
    (BUILD / "objects").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        errors = list(pool.map(lambda each: _make(each, identity), objects))
    for error in errors:
        if error:
            raise CompileError(error)


def _make(each: Object, identity: str) -> str:
    """Make one object unless it is up to date; return the compiler's complaint, or ""."""
    record = each.path.with_suffix(".json")
    key = [identity, *each.command, os.environ.get("NVCC_APPEND_FLAGS", "")]
    if each.path.is_file() and record.is_file():
        made = json.loads(record.read_text(encoding="utf-8"))
        if made["key"] == key and made["inputs"] == _digests(made["inputs"]):
            return ""
    # Others may build in the same folder: only finished files get their names.
    draft = each.path.with_suffix(f".{os.getpid()}.o")
    listing = draft.with_suffix(".d")
    start = time.perf_counter()
    done = subprocess.run(
        [*each.command, "-MMD", "-MF", str(listing), "-c", str(each.source), "-o", str(draft)],
        check=False,
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    name = each.source.relative_to(ROOT)
    if done.returncode:
        return f"{name} does not compile:\n{shlex.join(each.command)}\n{said}"
    each.path.with_suffix(".log").write_text(said, encoding="utf-8")
    inputs = _digests(_prerequisites(listing.read_text(encoding="utf-8")))
    listing.unlink()
    draft.replace(each.path)
    record.write_text(json.dumps({"key": key, "inputs": inputs}), encoding="utf-8")
    print(f"{time.perf_counter() - start:6.1f} s  {each.path.name}", flush=True)
    if "warning" in said:
        print(said, flush=True)
    return ""


def _prerequisites(rule: str) -> list[str]:
    """Return the files that a compiler's dependency rule names."""
    _, _, files = rule.replace("\\\n", " ").partition(": ")
    return [name.replace("\\ ", " ") for name in re.findall(r"(?:\\ |\S)+", files)]


def _digests(files: Iterator[str] | Sequence[str] | dict[str, str]) -> dict[str, str]:
    """Return the digest of each file's content, "" where it is gone."""
    return {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest() if Path(name).is_file() else ""
        for name in files
    }


def link(
    command: Sequence[str], objects: Sequence[Path], libraries: Sequence[str], path: Path
) -> None:
    """Link a library unless it is newer than its objects.

    Raises:
        CompileError: The linker refuses.
    """
    newest = max(each.stat().st_mtime_ns for each in objects)
    record = path.with_suffix(".json")
    words = [*command, *map(str, objects), *libraries]
    if (
        path.is_file()
        and path.stat().st_mtime_ns >= newest
        and record.is_file()
        and json.loads(record.read_text(encoding="utf-8")) == words
    ):
        return
    draft = path.with_suffix(f".{os.getpid()}.so")
    done = subprocess.run([*words, "-o", str(draft)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise CompileError(f"{path.name} does not link:\n{done.stdout}{done.stderr}")
    draft.replace(path)
    record.write_text(json.dumps(words), encoding="utf-8")
    print(f"linked {path.name}", flush=True)
