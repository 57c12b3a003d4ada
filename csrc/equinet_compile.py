"""Compile the CPU library of the native engine; also tools for compiling the CUDA library.

Objects, logs and libraries are kept in ``build/native``. A file is compiled again only if the
command, the compiler, the version of torch or the content of a source has changed.
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
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU_LIBRARY = "libequinet.so"

# Features that each copy of the CPU kernels may use. common/isa.cpp checks at run time for exactly
# these features.
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

# The oldest torch whose stable ABI is complete; the libraries work with it and with all later ones.
OLDEST_TORCH = (2, 10)
DEFINES = ("-DTORCH_TARGET_VERSION=0x020a000000000000",)
FLAGS = (
    "-std=c++17",
    "-O3",
    "-ffp-contract=fast",
    "-fPIC",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-Wall",
    "-Wextra",
)


class BuildError(Exception):
    """The native engine cannot be built; the message is for the user."""


class MissingToolError(BuildError):
    """A compiler or torch is not installed."""


@dataclass(frozen=True)
class Torch:
    """An installed torch, found without importing it.

    Attributes:
        folder: Folder of the installed package.
        version: Version, such as "2.13.0+cpu".
        cuda: CUDA version that torch was built with, or "".
    """

    folder: Path
    version: str
    cuda: str


@dataclass(frozen=True)
class Object:
    """An object file to make.

    Attributes:
        path: Path of the object file.
        source: Path of the source file.
        command: Compiler and flags, without input and output.
    """

    path: Path
    source: Path
    command: tuple[str, ...]


@dataclass(frozen=True)
class Toolchain:
    """Versions that an object depends on besides its sources.

    Attributes:
        compiler: Version of the compiler, in its own words.
        torch: Installed torch whose headers are used.
    """

    compiler: str
    torch: Torch

    def key(self, command: Iterable[str]) -> list[str]:
        """Return the words that must be unchanged for a result of the command to be used again.

        The folder of torch is left out, because pip installs it into another folder at every build.
        """
        here = [word.replace(str(self.torch.folder), "torch") for word in command]
        prefixes = [os.environ.get(f"NVCC_{place}_FLAGS", "") for place in ("PREPEND", "APPEND")]
        return [self.compiler, self.torch.version, *prefixes, *here]


def build_folder() -> Path:
    """Return the folder of objects, logs and libraries."""
    return ROOT / "build" / "native"


def find_torch() -> Torch | None:
    """Find an installed torch: in the environment of this Python, otherwise on its path.

    pip hides the environment from the import system while it builds a wheel, but not from the
    file system, so a torch that is installed need not be downloaded a second time.

    Returns:
        The first torch that is recent enough, or None.
    """
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path]
    for place in dict.fromkeys(places):
        folder = Path(place) / "torch"
        stated = folder / "version.py"
        if not (folder / "include/torch/csrc/stable/library.h").is_file() or not stated.is_file():
            continue
        text = stated.read_text(encoding="utf-8")
        version = re.search(r"__version__ = '((\d+)\.(\d+)[^']*)'", text)
        cuda = re.search(r"^cuda\b[^=]*= '([^']*)'", text, re.MULTILINE)
        if version and (int(version[2]), int(version[3])) >= OLDEST_TORCH:
            return Torch(folder, version[1], cuda[1] if cuda else "")
    return None


def find_compiler() -> tuple[str, ...]:
    """Return the C++ compiler: the words of ``CXX``, else the first of c++, g++, clang++.

    Raises:
        MissingToolError: There is no compiler, or the system is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise MissingToolError(f"it is built on Linux only, not on {sys.platform}")
    named = tuple(shlex.split(os.environ.get("CXX", "")))
    if named:
        if shutil.which(named[0]) is None:
            raise MissingToolError(f"CXX names the compiler {named[0]!r}, which is not on PATH")
        return named
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return (name,)
    raise MissingToolError("no C++ compiler was found on PATH (c++, g++ or clang++); install one")


def object_of(source: Path, suffix: str) -> Path:
    """Return the object file of a source, which has the same place in the build folder as in csrc.

    Different ops have files of the same name in their folders.
    """
    return (build_folder() / source.relative_to(ROOT / "csrc")).with_suffix(suffix)


def isas() -> list[str]:
    """List the instruction sets for which the CPU kernels are compiled on this machine."""
    return list(ISAS) if platform.machine() == "x86_64" else ["baseline"]


def build_cpu(torch: Torch) -> dict[str, object]:
    """Make the library of the CPU in the build folder.

    Returns:
        The compiler and the instruction sets, for ``build.json``.

    Raises:
        BuildError: There is no compiler, or it reports an error.
    """
    compiler = find_compiler()
    version = run([*compiler, "--version"], "the C++ compiler does not start").splitlines()[0]
    toolchain = Toolchain(version, torch)
    # The user's flags come first, so that they cannot override those of this module, such as -O3.
    command = [*compiler, *shlex.split(os.environ.get("CXXFLAGS", ""))]
    objects = list(cpu_objects(command, torch, isas()))
    make_objects(objects, toolchain)
    # An RPATH is not needed, because torch is always loaded before the library.
    command = [*compiler, "-shared", "-Wl,-z,defs", "-Wl,--as-needed"]
    lib = torch.folder / "lib"
    libraries = [f"-L{lib}", f"-Wl,-rpath-link,{lib}", "-ltorch_cpu"]
    link(build_folder() / CPU_LIBRARY, command, objects, libraries, toolchain)
    return {"compiler": version, "targets": isas()}


def cpu_objects(
    compiler: Sequence[str], torch: Torch, instruction_sets: Sequence[str], system: str = ""
) -> Iterator[Object]:
    """Yield the objects of the CPU library.

    Args:
        compiler: Compiler and its first flags.
        torch: Installed torch whose headers are used.
        instruction_sets: Names among ``ISAS`` for which the kernels are compiled.
        system: Name of another system, which its objects have in their names; "" for this one.
    """
    # Messages contain file names, from which the folders of this machine are removed.
    places = [f"-ffile-prefix-map={ROOT}/=", f"-ffile-prefix-map={torch.folder}=torch"]
    include = ["-isystem", str(torch.folder / "include")]
    command = (*compiler, *FLAGS, *DEFINES, *places, *include)
    mark = f".{system}" if system else ""
    for source in [ROOT / "csrc/schemas.cpp", *sorted((ROOT / "csrc").glob("*/*.cpp"))]:
        if not source.stem.endswith("_kernels"):
            yield Object(object_of(source, f"{mark}.o"), source, command)
            continue
        for isa in instruction_sets:
            path = object_of(source, f"{mark}.{isa}.o")
            yield Object(path, source, (*command, *ISAS[isa], f"-DEQUINET_ISA={isa}"))


def run(command: Sequence[str], complaint: str) -> str:
    """Run a command and return its output.

    Args:
        command: Words of the command.
        complaint: Beginning of the error message if the command fails.

    Raises:
        BuildError: The command fails.
    """
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode:
        raise BuildError(f"{complaint}: {said.strip()}")
    return said


def make_objects(objects: Sequence[Object], toolchain: Toolchain) -> None:
    """Compile the objects that are out of date, on all cores that this process may use.

    Raises:
        BuildError: Some objects cannot be compiled; all have been tried.
    """
    for each in objects:
        each.path.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        errors = list(pool.map(lambda each: _complaint(each, toolchain), objects))
    found = [error for error in errors if error]
    if found:
        raise BuildError("\n".join(found))


def log_of(path: Path) -> Path:
    """Return the file that keeps the messages of the compiler for an object."""
    return path.with_suffix(".log")


def link(
    path: Path,
    command: Sequence[str],
    objects: Sequence[Object],
    libraries: Sequence[str],
    toolchain: Toolchain,
) -> None:
    """Link a library unless it is up to date.

    Raises:
        BuildError: The linker reports an error.
    """
    words = [*command, *(str(each.path) for each in objects), *libraries]
    key = toolchain.key(words)
    if not _is_current(path, key):
        draft = path.with_suffix(f".{os.getpid()}.so")
        run([*words, "-o", str(draft)], f"{path.name} does not link")
        draft.replace(path)
        _record(path, key, [str(each.path) for each in objects])
        print(f"linked {path.name}", flush=True)


def _complaint(each: Object, toolchain: Toolchain) -> str:
    """Compile one object unless it is up to date; return the reason why that fails, or ""."""
    key = toolchain.key(each.command)
    if _is_current(each.path, key):
        return ""
    # Another process may build in the same folder, so a file gets its name only when it is
    # complete.
    draft = each.path.with_suffix(f".{os.getpid()}.o")
    rule = draft.with_suffix(".d")
    files = ["-MMD", "-MF", str(rule), "-c", str(each.source), "-o", str(draft)]
    start = time.time()
    try:
        said = run([*each.command, *files], f"{each.source.relative_to(ROOT)} does not compile")
        inputs = _prerequisites(rule.read_text(encoding="utf-8"))
    except BuildError as error:
        return str(error)
    finally:
        rule.unlink(missing_ok=True)
    draft.replace(each.path)
    log_of(each.path).write_text(said, encoding="utf-8")
    # If a source was edited during compilation, the object must be compiled again.
    if all(Path(name).stat().st_mtime < start for name in inputs):
        _record(each.path, key, inputs)
    warnings = said.count("warning:")
    note = f", {warnings} warnings in {log_of(each.path).relative_to(ROOT)}" if warnings else ""
    name = each.path.relative_to(build_folder())
    print(f"{time.time() - start:6.1f} s  {name}{note}", flush=True)
    return ""


def _prerequisites(rule: str) -> list[str]:
    """Return the files of this project that a dependency rule of a compiler names."""
    _, _, files = rule.replace("\\\n", " ").partition(": ")
    names = [name.replace("\\ ", " ") for name in re.findall(r"(?:\\ |\S)+", files)]
    return [name for name in names if Path(name).resolve().is_relative_to(ROOT)]


def _record(path: Path, key: list[str], inputs: Iterable[str]) -> None:
    draft = path.with_suffix(f".{os.getpid()}.json")
    draft.write_text(json.dumps({"key": key, "inputs": _digests(inputs)}), encoding="utf-8")
    draft.replace(path.with_suffix(".json"))


def _is_current(path: Path, key: list[str]) -> bool:
    record = path.with_suffix(".json")
    if not path.is_file() or not record.is_file():
        return False
    made = json.loads(record.read_text(encoding="utf-8"))
    return made["key"] == key and made["inputs"] == _digests(made["inputs"])


def _digests(files: Iterable[str]) -> dict[str, str]:
    """Return the digest of the content of each file, "" if the file does not exist."""
    return {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest() if Path(name).is_file() else ""
        for name in files
    }
