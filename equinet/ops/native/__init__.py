"""The native engine: compiled kernels, loaded at first use.

Each op has its Python half in a file here: fake kernels and derivatives, in a function
``register()`` that this loader calls once the kernels are there.
"""

import functools
import importlib
import json
import pkgutil
import threading
from pathlib import Path
from typing import Any

import torch

from equinet.errors import BackendError

__all__ = [
    "CUDA_LIBRARY",
    "FOLDER",
    "LIBRARY",
    "build_report",
    "edge_harmonics",
    "filter_sum",
    "forms",
    "gaunt_network",
    "interaction",
    "load",
    "load_cuda",
    "radial_spline",
    "sphere_forms",
    "unavailable",
]

FOLDER = Path(__file__).parent
LIBRARY = "libequinet.so"
CUDA_LIBRARY = "libequinet_cuda.so"

# Every call of an op asks; several threads may be the first.
_reasons: dict[tuple[str, str], str] = {}
_LOCK = threading.Lock()

_ADVICE = "install equinet again, or run 'make native' in a clone"


def unavailable(op: str, device: str = "cpu") -> str:
    """Load the compiled kernels if need be and tell whether an op runs.

    Args:
        op: Name of the op in ``torch.ops.equinet``.
        device: Type of the device that the op should run on.

    Returns:
        "" where it runs, else the reason why not, with what to do about it.

    Example:
        >>> from equinet.ops import native
        >>> native.unavailable("sphere_forms", "mps")
        'its kernels are made for cpu and cuda, not for mps'
    """
    if (op, device) not in _reasons:
        with _LOCK:
            _reasons[op, device] = _find_reason(op, device)
    return _reasons[op, device]


# This does the same as torch.compiler.assume_constant_result, which would take 1.5 s to import: a
# compiled program must not look for files or load libraries.
unavailable._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's own mark


@functools.cache
def load() -> str:
    """Load the kernels of the CPU and register the Python halves, once.

    Returns:
        "" or the reason why it cannot be done.

    Raises:
        BackendError: If ``EQUINET_CPU_CAPABILITY`` names no instruction set.

    Example:
        >>> from equinet.ops import native
        >>> bool(native.load()) == bool(native.unavailable("sphere_forms"))
        True
    """
    reason = _load_library(LIBRARY, "cpu")
    if not reason:
        try:
            torch.ops.equinet.cpu_capability()
        except RuntimeError as error:
            raise BackendError(str(error)) from None
        for op in _complete_ops():
            importlib.import_module(f"{__name__}.{op}").register()
    return reason


@functools.cache
def load_cuda() -> str:
    """Load the CUDA kernels, once, after those of the CPU.

    Returns:
        "" or the reason why it cannot be done.

    Example:
        >>> from equinet.ops import native
        >>> bool(native.load_cuda()) == bool(native.unavailable("sphere_forms", "cuda"))
        True
    """
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; install a CUDA build of torch"
    return load() or _load_library(CUDA_LIBRARY, "cuda")


def build_report() -> dict[str, Any]:
    """Return the report that the build wrote; an empty dictionary if nothing was built.

    Example:
        >>> from equinet.ops import native
        >>> set(native.build_report()) <= {"cpu", "cuda"}
        True
    """
    path = FOLDER / "build.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _find_reason(op: str, device: str) -> str:
    if device not in {"cpu", "cuda", "meta"}:
        return f"its kernels are made for cpu and cuda, not for {device}"
    reason = load() or (load_cuda() if device == "cuda" else "")
    if reason:
        return reason
    name, key = (CUDA_LIBRARY, "CUDA") if device == "cuda" else (LIBRARY, "CPU")
    if op in _complete_ops() and torch._C._dispatch_has_kernel_for_dispatch_key(
        f"equinet::{op}", key
    ):
        return ""
    return f"{FOLDER / name} has no kernel of {op!r}; {_ADVICE}"


def _complete_ops() -> list[str]:
    """List the ops of the loaded library whose Python half is a file of this folder."""
    files = (module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in files if hasattr(torch.ops.equinet, name)]


def _load_library(name: str, part: str) -> str:
    path = FOLDER / name
    if not path.is_file():
        reason = build_report().get(part, {}).get("reason", "nothing has been compiled yet")
        return f"{name} is not built: {reason}; mend that, then {_ADVICE}"
    try:
        torch.ops.load_library(path)
    except OSError as error:
        return f"{path} does not load: {error}; {_ADVICE}"
    return ""
