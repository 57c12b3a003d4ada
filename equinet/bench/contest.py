"""Time each op, its value and derivatives, on every backend and in other libraries."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from equinet.bench import cuequivariance_products
from equinet.bench.differentiation import derivatives, draw_probes
from equinet.bench.limits import Limits, free_memory, measure_limits
from equinet.bench.problems import FORMS, NEIGHBORS, Problem, make_problem
from equinet.bench.published import Series
from equinet.bench.timing import Timing, race, synchronizer
from equinet.bench.work import allocated_bytes, minimal_bytes, multiply_adds
from equinet.ops import aligned_convolution, available_backends

STAGES = ("forward", "forward+backward", "forward+backward+double backward")
"""Computations that are timed; each contains the one before it."""

_RIVALS = ("e3nn", "cuequivariance")

_LONGEST_CALL = 0.5
"""Time of one call, seconds, above which an implementation skips a stage at higher degrees."""

_MEMORY_FRACTION = 0.5
"""Fraction of the free memory above which an implementation skips a problem."""


@dataclass(frozen=True)
class Result:
    """Times of one implementation in one stage of one problem.

    Attributes:
        series: Publication that the problem size is from; "" for a size of the command line.
        op: Name of the op.
        lmax: Highest degree of the first operand.
        lmax_y: Highest degree of the second operand or of the filter.
        lmax_out: Highest degree of the result.
        batch: Number of functions to multiply, or of edges.
        channels: Number of channels of the first operand and of the result.
        implementation: Name of a backend or a library, one of :func:`implementations`.
        stage: Computation that was timed, one of :data:`STAGES`.
        median_ms: Median time of one call, milliseconds.
        best_ms: Shortest time of one call, milliseconds.
        spread_ms: Distance between the quartiles, milliseconds.
        rounds: Number of samples of the time.
        speedup: Ratio of the time of e3nn to this one; None where e3nn did not run.
        minimal_bytes: Size of operands and results, bytes.
        multiply_adds: Number of multiply-adds of the cheapest known algorithm; None if unknown.
        bandwidth: Limit of this machine for this working set, bytes a second.
        multiply_add_rate: Limit of this machine for this working set, multiply-adds a second.
        limit_ms: Shortest time that the two limits allow, milliseconds.
        of_bandwidth: Rate of minimal bytes, as a fraction of the limit.
        of_multiply_add_rate: Rate of multiply-adds, as a fraction of the limit; None if unknown.

    Example:
        >>> series = Series("", "gaunt_product", ({"lmax": 1, "batch": 2, "channels": 2},))
        >>> [results] = compete(series, seconds=0.0, only=["grid"])
        >>> isinstance(results[0], Result), results[0].implementation
        (True, 'grid')
    """

    series: str
    op: str
    lmax: int
    lmax_y: int
    lmax_out: int
    batch: int
    channels: int
    implementation: str
    stage: str
    median_ms: float
    best_ms: float
    spread_ms: float
    rounds: int
    speedup: float | None
    minimal_bytes: int
    multiply_adds: int | None
    bandwidth: float
    multiply_add_rate: float
    limit_ms: float
    of_bandwidth: float
    of_multiply_add_rate: float | None


def compete(
    series: Series,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    seconds: float = 0.2,
    only: Sequence[str] = (),
) -> Iterator[list[Result]]:
    """Time one op on all its implementations.

    Args:
        series: Problems, small ones first.
        dtype: Floating-point type of all operands.
        device: Type of the device, "cpu" or "cuda".
        seconds: Time to spend on each implementation and stage.
        only: Names of the implementations to time; empty for all.

    Yields:
        The results of one problem. An implementation that fails, or whose previous call took longer
        than half a second, is missing from them.

    Example:
        >>> series = Series("", "gaunt_product", ({"lmax": 1, "batch": 2, "channels": 2},))
        >>> [results] = compete(series, seconds=0.0, only=["grid"])
        >>> [result.stage for result in results]
        ['forward', 'forward+backward', 'forward+backward+double backward']
    """
    names = [name for name in implementations(series.op, device) if not only or name in only]
    out: set[tuple[str, str]] = set()
    for size in series.sizes:
        problem = make_problem(series.op, **size, device=device).to(device, dtype)
        limits = measure_limits(minimal_bytes(problem, 0), dtype, device, seconds)
        results = []
        for order, stage in enumerate(STAGES):
            calls: dict[str, Callable[[], object]] = {}
            for name in names:
                if (name, stage) in out:
                    continue
                try:
                    call = _ready(series.op, size, problem, name, order)
                except _RivalError as failure:
                    warnings.warn(f"{name} {stage} is left out: {failure}", stacklevel=2)
                    out.add((name, stage))
                else:
                    calls |= {name: call} if call else {}
            timings = race(calls, synchronize=synchronizer(device), seconds=seconds)
            results += _results(series.name, problem, order, timings, limits)
        yield results
        out |= {(r.implementation, r.stage) for r in results if r.best_ms > 1000 * _LONGEST_CALL}


def implementations(op: str, device: str) -> list[str]:
    """List the backends and other libraries that can run an op here.

    The rivals of an op stand in its :class:`equinet.bench.Form`. ``orientation_convolution`` has
    only its own backends, of which ``grid`` sums messages edge by edge, as published.

    Args:
        op: Name of the op, one of :data:`equinet.ops.OPS`.
        device: Type of the device, "cpu" or "cuda".

    Example:
        >>> "grid" in implementations("gaunt_product", "cpu")
        True
    """
    names = [name for name, reason in available_backends(op, device).items() if not reason]
    is_there = {
        "aligned": True,
        "e3nn": find_spec("e3nn") is not None,
        "cuequivariance": cuequivariance_products.is_available(device),
    }
    return names + [name for name in FORMS[op].rivals if is_there[name]]


def contender(problem: Problem, name: str) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """Set up an implementation of a problem.

    Args:
        problem: Problem to run, with its precision and device.
        name: Name of a backend or a library, one of :func:`implementations`.

    Returns:
        A function and the arguments to call it with.
    """
    if name == "aligned":

        def convolve(x: Tensor, directions: Tensor, radial: Tensor) -> Tensor:
            return aligned_convolution(x, directions, radial, problem.edge_index, problem.lmax_out)

        return convolve, problem.inputs
    if name == "e3nn":
        from equinet.bench import e3nn_products

        return e3nn_products.build(problem)
    if name == "cuequivariance":
        return cuequivariance_products.build(problem)
    return partial(problem.call, backend=name), problem.inputs


def _call(problem: Problem, name: str, order: int) -> Callable[[], object]:
    function, inputs = contender(problem, name)
    return partial(derivatives, function, inputs, _probes(function, inputs, order), order)


def _probes(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], order: int
) -> tuple[Tensor, ...]:
    if order == 0:
        return ()
    with torch.no_grad():
        return draw_probes(function(*inputs), inputs, device=inputs[0].device)


class _RivalError(Exception):
    """Failure of another library on a problem."""


def _ready(
    op: str, size: Mapping[str, Any], problem: Problem, name: str, order: int
) -> Callable[[], object] | None:
    """Return the call to time; None where memory may not suffice."""
    try:
        if not _fits(op, size, problem, name, order):
            return None
        call = _call(problem, name, order)
        if name in _RIVALS:
            call()
            synchronizer(problem.inputs[0].device.type)()
    except Exception as error:
        if name not in _RIVALS:
            raise
        raise _RivalError(f"it fails on {op}, lmax {problem.lmax}: {error}") from error
    return call


def _fits(op: str, size: Mapping[str, Any], problem: Problem, name: str, order: int) -> bool:
    """Tell whether memory suffices, by extrapolation from the allocations of two small problems."""
    few = 4 * size.get("neighbors", NEIGHBORS)
    if size["batch"] <= 2 * few:
        return True
    x = problem.inputs[0]
    small, twice = (
        allocated_bytes(
            _call(make_problem(op, **{**size, "batch": n}).to(x.device, x.dtype), name, order)
        )
        for n in (few, 2 * few)
    )
    allocated = small + (twice - small) / few * (size["batch"] - few)
    needed = allocated + minimal_bytes(problem, order)  # the latter for operands and probes
    return needed < _MEMORY_FRACTION * free_memory(x.device.type)


def _results(
    series: str, problem: Problem, order: int, timings: Mapping[str, Timing], limits: Limits
) -> list[Result]:
    moved, work = minimal_bytes(problem, order), multiply_adds(problem, order)
    rival = timings.get("e3nn")
    return [
        Result(
            series=series,
            op=problem.op,
            lmax=problem.lmax,
            lmax_y=problem.lmax_y,
            lmax_out=problem.lmax_out,
            batch=problem.batch,
            channels=problem.channels,
            implementation=name,
            stage=STAGES[order],
            median_ms=1000 * timing.median,
            best_ms=1000 * timing.best,
            spread_ms=1000 * timing.spread,
            rounds=len(timing.samples),
            speedup=rival.median / timing.median if rival else None,
            minimal_bytes=moved,
            multiply_adds=work,
            bandwidth=limits.bandwidth,
            multiply_add_rate=limits.multiply_add_rate,
            limit_ms=limits.milliseconds(moved, work),
            of_bandwidth=moved / timing.median / limits.bandwidth,
            of_multiply_add_rate=work and work / timing.median / limits.multiply_add_rate,
        )
        for name, timing in timings.items()
    ]
