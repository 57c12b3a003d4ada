"""Which implementation of an op runs: names, reasons and the rule behind ``backend="auto"``."""

from typing import Literal

from equinet.errors import BackendError
from equinet.ops import native

Backend = Literal["auto", "reference", "fourier", "grid", "native"]
"""Implementation of an op; "auto" takes the fastest that runs."""

# Each op with the native op that it is made of.
_OPS = {
    "gaunt_product": "sphere_forms",
    "bracket_product": "sphere_forms",
    "gaunt_powers": "sphere_forms",
    "gaunt_convolution": "filter_sum",
    "orientation_convolution": "filter_sum",
}
OPS = tuple(_OPS)
"""Names of the ops that have several backends, which doctor checks and bench times."""

# Ops on samples have no transform to do in a Fourier basis.
_ON_SAMPLES = {"orientation_convolution"}


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
    portable = ("reference", "grid") if op in _ON_SAMPLES else ("reference", "fourier", "grid")
    return {**dict.fromkeys(portable, ""), "native": native.unavailable(_OPS[op], device)}


def resolve_backend(op: str, backend: str, device: str = "cpu") -> str:
    """Return the name of the backend of a call, which replaces "auto".

    The rule: "auto" is the native engine where it runs, else the grid, which beats the others at
    every degree (measured on two CPU cores, float32, 256 x 32 channels, lmax 1 to 6).

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
        return "grid" if native.unavailable(_OPS[op], device) else "native"
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
