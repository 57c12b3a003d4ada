"""Which implementation of an op runs: names, reasons and the rule behind ``backend="auto"``."""

from dataclasses import dataclass
from typing import Literal

from equinet.errors import BackendError
from equinet.ops import native

Backend = Literal["auto", "reference", "fourier", "grid", "native"]
"""Implementation of an op; "auto" takes the fastest that runs."""


@dataclass(frozen=True)
class _Implementations:
    """Implementations of an op.

    Attributes:
        portable: Names of the backends that run everywhere, the fastest last.
        kernel: Name of the native op that the backend "native" is made of; "" if there is none.
    """

    portable: tuple[str, ...] = ("reference", "fourier", "grid")
    kernel: str = ""


_OPS = {
    "gaunt_product": _Implementations(kernel="sphere_forms"),
    "bracket_product": _Implementations(kernel="sphere_forms"),
    "gaunt_powers": _Implementations(kernel="sphere_forms"),
    "gaunt_convolution": _Implementations(kernel="filter_sum"),
    # An op on samples has no transform to do in a Fourier basis.
    "orientation_convolution": _Implementations(("reference", "grid"), kernel="filter_sum"),
}
OPS = tuple(_OPS)
"""Names of the ops that have several backends, which doctor checks and bench times."""


def available_backends(op: str, device: str = "cpu") -> dict[str, str]:
    """List the implementations of an op and whether each runs here.

    Args:
        op: Name of a function of ``equinet.ops`` that takes ``backend``, for example
            ``"gaunt_product"``.
        device: Type of the device that the op should run on, for example ``"cuda"``.

    Returns:
        Backend name -> "" where it runs on this machine, else the reason why it does not.

    Raises:
        ValueError: If there is no such op.

    Example:
        >>> [name for name, reason in available_backends("gaunt_product").items() if not reason][:3]
        ['reference', 'fourier', 'grid']
    """
    if op not in _OPS:
        raise ValueError(f"op must be one of {', '.join(_OPS)}, found {op!r}")
    entry = _OPS[op]
    reasons = dict.fromkeys(entry.portable, "")
    if entry.kernel:
        reasons["native"] = native.unavailable(entry.kernel, device)
    return reasons


def resolve_backend(op: str, backend: str, device: str = "cpu") -> str:
    """Return the name of the backend of a call, which replaces "auto".

    The rule: "auto" is the native engine where it runs, else the fastest portable backend. For most
    ops that is the grid, which beats the others at every degree (measured on two CPU cores,
    float32, 256 x 32 channels, lmax 1 to 6).

    Args:
        op: Name of the op, for example ``"gaunt_product"``.
        backend: Name of the backend, ``"auto"`` or a key of ``available_backends(op)``.
        device: Type of the device that the arguments are on, for example ``"cuda"``.

    Returns:
        The name of a backend that runs here.

    Raises:
        BackendError: If the backend cannot run here.
        ValueError: If there is no such backend.

    Example:
        >>> resolve_backend("gaunt_product", "grid")
        'grid'
    """
    if backend == "auto":
        entry = _OPS[op]
        is_native = entry.kernel and not native.unavailable(entry.kernel, device)
        return "native" if is_native else entry.portable[-1]
    reasons = available_backends(op, device)
    if backend not in reasons:
        raise ValueError(
            f"backend must be 'auto' or one of {', '.join(reasons)}, found {backend!r}"
        )
    if reasons[backend]:
        usable = ", ".join(name for name, reason in reasons.items() if not reason)
        raise BackendError(
            f"backend {backend!r} of {op} does not run here: {reasons[backend]}; "
            f"use 'auto' or one of {usable}"
        )
    return backend
