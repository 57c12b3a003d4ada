"""What bench times: each op on every backend and on e3nn, values and derivatives, by degree."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from equinet.bench.problems import Problem, derivatives, draw_probes, make_problem
from equinet.bench.timing import race
from equinet.ops import available_backends

STAGES = ("forward", "forward+backward", "forward+backward+double backward")
"""What is timed; each contains the one before it."""

_PATIENCE = 0.5
"""Seconds; who takes longer for one call is left out at higher degrees."""


@dataclass(frozen=True)
class Result:
    """Time of one implementation.

    Attributes:
        op: Name of the op.
        lmax: Of its operands and its result.
        implementation: A backend, or "e3nn".
        stage: One of :data:`STAGES`.
        median_ms: Milliseconds.
        best_ms: Smallest sample, milliseconds.
        spread_ms: Distance of the quartiles, milliseconds.
        rounds: Number of samples.
        speedup: Time of e3nn over this one; None where e3nn did not run.
    """

    op: str
    lmax: int
    implementation: str
    stage: str
    median_ms: float
    best_ms: float
    spread_ms: float
    rounds: int
    speedup: float | None


def compete(
    op: str,
    degrees: Sequence[int],
    *,
    batch: int,
    channels: int,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    seconds: float = 0.1,
) -> Iterator[list[Result]]:
    """Time one op on all its implementations.

    Args:
        op: One of :data:`equinet.bench.OPS`.
        degrees: lmax of the problems, ascending.
        batch: Functions to multiply, or edges.
        channels: Of all operands.
        dtype: Of all operands.
        device: "cpu" or "cuda".
        seconds: To spend on each implementation and stage.

    Yields:
        For each degree, the results of those that still take part.
    """
    names = [name for name, reason in available_backends(op).items() if not reason]
    if importlib.util.find_spec("e3nn"):
        names.append("e3nn")
    for lmax in degrees:
        problem = make_problem(op, lmax, batch=batch, channels=channels).to(device, dtype)
        results = _compete_at(problem, names, seconds)
        yield results
        slow = {r.implementation for r in results if r.best_ms > 1000 * _PATIENCE}
        names = [name for name in names if name not in slow]


def _compete_at(problem: Problem, names: Sequence[str], seconds: float) -> list[Result]:
    contenders = {name: _contender(problem, name) for name in names}
    synchronize: Callable[[], Any] = (
        torch.cuda.synchronize if problem.inputs[0].is_cuda else lambda: None
    )
    results = []
    for order, stage in enumerate(STAGES):
        calls = {
            name: partial(derivatives, function, inputs, probes, order)
            for name, (function, inputs, probes) in contenders.items()
        }
        timings = race(calls, synchronize=synchronize, seconds=seconds)
        rival = timings.get("e3nn")
        for name, timing in timings.items():
            results.append(
                Result(
                    problem.op,
                    problem.lmax,
                    name,
                    stage,
                    1000 * timing.median,
                    1000 * timing.best,
                    1000 * timing.spread,
                    len(timing.samples),
                    rival.median / timing.median if rival else None,
                )
            )
    return results


def _contender(
    problem: Problem, name: str
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Set up an implementation: a function, its arguments, the probes of its derivatives."""
    if name == "e3nn":
        from equinet.bench import e3nn_products

        function, inputs = e3nn_products.build(problem)
    else:
        function, inputs = partial(problem.call, backend=name), problem.inputs
    return function, inputs, draw_probes(function(*inputs), inputs)
