"""Run every backend of every op against the float64 reference, derivatives included."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from equinet.bench import Problem, derivatives, draw_probes, make_problem
from equinet.command_line.environment import devices
from equinet.ops import OPS, available_backends
from equinet.testing import OPERATION

_DTYPES = {
    "cpu": (torch.float64, torch.float32),
    "cuda": (torch.float64, torch.float32, torch.bfloat16, torch.float16),
}


@dataclass(frozen=True)
class Check:
    """Accuracy of one backend of one op at one precision on one device.

    Attributes:
        op: Name of the op.
        backend: Name of the backend.
        device: Type of the device, "cpu" or "cuda".
        dtype: Name of the type of the arguments, without "torch.".
        errors: Largest error of the value, the gradient and the second gradient, relative to the
            largest number of the reference; empty if the backend fails.
        reason: Error message of a backend that fails, or "".
        is_good: Whether all errors are within the tolerance of the precision.
    """

    op: str
    backend: str
    device: str
    dtype: str
    errors: tuple[float, ...]
    reason: str
    is_good: bool


def check_ops(lmax: int = 4, batch: int = 32, channels: int = 8) -> Iterator[Check]:
    """Check every backend of every op that can run on this machine.

    Args:
        lmax: Highest degree of the operands.
        batch: Number of functions, or of edges.
        channels: Number of channels of the operands.

    Yields:
        One check for each op, backend, device and precision.
    """
    for op in OPS:
        problem = make_problem(op, lmax, batch=batch, channels=channels)
        for device in devices():
            usable = [name for name, reason in available_backends(op, device).items() if not reason]
            for dtype in _DTYPES[device]:
                for backend in usable:
                    yield check_backend(problem, backend, device, dtype)


def check_backend(problem: Problem, backend: str, device: str, dtype: torch.dtype) -> Check:
    """Compare one backend with the reference in float64 on the same, rounded arguments.

    Args:
        problem: Op and arguments to check with.
        backend: Name of the backend.
        device: Type of the device, "cpu" or "cuda".
        dtype: Floating-point type that the arguments are rounded to.
    """
    rounded = problem.to(device, dtype)
    exact = rounded.to("cpu", torch.float64)
    name = str(dtype).removeprefix("torch.")
    try:
        truth = _differentiate(exact, "reference")
        found = _differentiate(rounded, backend)
    # A backend that fails in any way must not keep the others from being checked.
    except Exception as error:  # noqa: BLE001 - whatever fails is what is reported
        reason = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        return Check(problem.op, backend, device, name, (), reason, is_good=False)
    errors = tuple(
        max(relative_error(x, y) for x, y in zip(ours, theirs, strict=True))
        for ours, theirs in zip(found, truth, strict=True)
    )
    is_good = all(error <= OPERATION.of(dtype) for error in errors)
    return Check(problem.op, backend, device, name, errors, "", is_good)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest expected number; infinite for NaN.

    Args:
        found: Values to check.
        expected: Values of the reference, of the same shape.
    """
    expected = expected.detach().double().cpu()
    difference = (found.detach().double().cpu() - expected).abs()
    if bool(difference.isnan().any()):
        return float("inf")
    return difference.max().item() / (expected.abs().max().item() or 1.0)


def _differentiate(problem: Problem, backend: str) -> list[tuple[Tensor, ...]]:
    function = partial(problem.call, backend=backend)
    probes = draw_probes(function(*problem.inputs), problem.inputs)
    return derivatives(function, problem.inputs, probes, order=2)
