"""Compile the CUDA library of the native engine and read the report of ptxas on its kernels."""

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from equinet_compile import (
    DEFINES,
    ROOT,
    BuildError,
    MissingToolError,
    Object,
    Toolchain,
    Torch,
    build_folder,
    find_compiler,
    link,
    log_of,
    make_objects,
    object_of,
    run,
)

CUDA_LIBRARY = "libequinet_cuda.so"

# Turing, Ampere, Hopper and Blackwell. A binary also runs on later GPUs of its generation (80 on 86
# and 89), and the PTX of the newest one runs on all later GPUs.
ARCHITECTURES = ("75", "80", "90", "100", "120")


@dataclass(frozen=True)
class Kernel:
    """Report of ptxas on a kernel.

    Attributes:
        name: Mangled name of the kernel.
        architecture: Architecture such as "sm_90".
        registers: Number of registers of a thread.
        spills: Bytes that a thread stores to and loads from memory because registers are missing.
    """

    name: str
    architecture: str
    registers: int
    spills: int


def find_nvcc() -> str:
    """Return nvcc: that of ``CUDA_HOME`` if it is set, otherwise on PATH or in NVIDIA's folder.

    Raises:
        MissingToolError: nvcc is not found.
    """
    home = os.environ.get("CUDA_HOME")
    if home:
        places = [Path(home) / "bin" / "nvcc"]
    else:
        places = [Path(shutil.which("nvcc") or ""), Path("/usr/local/cuda/bin/nvcc")]
    for place in places:
        if place.is_file():
            return str(place)
    where = f"below CUDA_HOME={home}" if home else "on PATH or in /usr/local/cuda/bin"
    raise MissingToolError(f"nvcc was not found {where}; install the CUDA toolkit")


def architectures(nvcc: str) -> list[str]:
    """Return the architectures to compile for: those of ``EQUINET_CUDA_ARCH``, or the default.

    Raises:
        BuildError: nvcc cannot compile for one of them.
    """
    listed = run([nvcc, "--list-gpu-arch"], f"{nvcc} does not start")
    known = re.findall(r"compute_(\w+)", listed)
    named = re.findall(r"[^\s;,]+", os.environ.get("EQUINET_CUDA_ARCH", ""))
    for name in named:
        if name.rstrip("af") not in known:
            raise BuildError(
                f"EQUINET_CUDA_ARCH names {name!r}, for which {nvcc} cannot compile; "
                f"it knows {', '.join(known)}"
            )
    return named or [name for name in ARCHITECTURES if name in known]


def build_cuda(torch: Torch) -> dict[str, object]:
    """Compile the CUDA library in the build folder, and write ``ptxas.log``.

    Returns:
        The compiler, the architectures and the largest number of registers, for ``build.json``.

    Raises:
        BuildError: A tool is missing or reports an error, or a kernel spills registers and
            ``EQUINET_FAIL_ON_SPILLS=1`` is set.
    """
    nvcc, compiler = find_nvcc(), find_compiler()
    # nvcc takes the compiler alone, which is g++ in CXX="ccache g++ -m64".
    host = next(word for word in reversed(compiler) if not word.startswith("-"))
    targets = architectures(nvcc)
    said = run([nvcc, "--version"], f"{nvcc} does not start").splitlines()
    version = "nvcc " + next(line.partition("release ")[2] for line in said if "release" in line)
    toolchain = Toolchain(version, torch)
    objects = _cuda_objects(nvcc, host, targets, torch)
    make_objects(objects, toolchain)
    kernels = check_kernels([log_of(each.path) for each in objects])
    command = [nvcc, "-shared", "-ccbin", host]
    # A torch without CUDA has no libtorch_cuda to link with. An empty library of that name is
    # enough, because at run time the loader finds the real one, which torch has loaded, by its
    # name.
    stub = build_folder() / "stub" / "libtorch_cuda.so"
    stub.parent.mkdir(exist_ok=True)
    empty = [*compiler, "-shared", "-x", "c++", os.devnull, "-Wl,-soname,libtorch_cuda.so"]
    run([*empty, "-o", str(stub)], f"{stub.name} does not link")
    needed = [f"-L{stub.parent}", f"-L{torch.folder / 'lib'}"]
    libraries = ["-Xlinker", "--no-as-needed", *needed, "-ltorch_cuda", "-ltorch_cpu"]
    link(build_folder() / CUDA_LIBRARY, command, objects, libraries, toolchain)
    most = max(kernel.registers for kernel in kernels)
    return {
        "compiler": version,
        "targets": [f"sm_{name}" for name in targets],
        "kernels": len(kernels),
        "registers": most,
        "spilling": sum(kernel.spills > 0 for kernel in kernels),
    }


def _cuda_objects(nvcc: str, host: str, targets: Sequence[str], torch: Torch) -> list[Object]:
    sources = sorted((ROOT / "csrc").glob("*/*.cu"))
    binaries = [f"-gencode=arch=compute_{name},code=sm_{name}" for name in targets]
    portable = f"-gencode=arch=compute_{targets[-1]},code=compute_{targets[-1]}"
    command = (
        nvcc,
        "-std=c++17",
        "-O3",
        *DEFINES,
        "-DUSE_CUDA",
        "--compiler-options=-fPIC,-fvisibility=hidden,-Wall,-Wextra",
        "--ptxas-options=-v",
        f"--threads={len(os.sched_getaffinity(0))}",
        "-ccbin",
        host,
        *binaries,
        portable,
        "-isystem",
        str(torch.folder / "include"),
    )
    return [Object(object_of(each, ".cu.o"), each, command) for each in sources]


def check_kernels(logs: Iterable[Path]) -> list[Kernel]:
    """Read the kernels from the compiler's logs and join the logs in ``ptxas.log``.

    Raises:
        BuildError: ``EQUINET_FAIL_ON_SPILLS=1`` is set and some kernels spill registers.
    """
    text = "".join(log.read_text(encoding="utf-8") for log in logs)
    (build_folder() / "ptxas.log").write_text(text, encoding="utf-8")
    kernels = read_kernels(text)
    spilling = [kernel for kernel in kernels if kernel.spills]
    if spilling and os.environ.get("EQUINET_FAIL_ON_SPILLS") == "1":
        listed = "; ".join(
            f"{kernel.name} for {kernel.architecture} ({kernel.spills} bytes, "
            f"{kernel.registers} registers)"
            for kernel in spilling
        )
        raise BuildError(f"{len(spilling)} of {len(kernels)} CUDA kernels spill: {listed}")
    return kernels


def read_kernels(log: str) -> list[Kernel]:
    """Read the report of ``ptxas -v`` on each kernel.

    Args:
        log: Text of the report, which may contain messages of other tools.

    Returns:
        One entry for each kernel and architecture.
    """
    kernels = []
    blocks = re.split(r"Compiling entry function ", log)[1:]
    for block in blocks:
        head = re.match(r"'([^']+)' for '([^']+)'", block)
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", block)
        registers = re.search(r"Used (\d+) registers", block)
        if head is None or spills is None or registers is None:
            raise BuildError(
                f"the report of ptxas has a form that this build does not understand: {block[:300]}"
            )
        bytes_spilled = int(spills[1]) + int(spills[2])
        kernels.append(Kernel(head[1], head[2], int(registers[1]), bytes_spilled))
    return kernels
