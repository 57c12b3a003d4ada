"""``python -m equinet bench``: time the ops on every backend and in other libraries.

``--model`` times a whole potential instead, see :mod:`equinet.command_line.bench_model`.
"""

import argparse
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equinet.command_line import bench_model
from equinet.errors import ConfigError
from equinet.files import write_bytes

if TYPE_CHECKING:
    from equinet.bench import Growth, Result, Series

_STAMP = ("time", "command", "commit", "dirty", "versions")
_OWN_SIZES = {"lmax": (1, 2, 3, 4, 5, 6, 7, 8, 10), "batch": 256, "channels": 32}
_LEGEND = (
    "Columns of each stage: median time in ms, speed relative to e3nn, percentages of the "
    "measured bandwidth and multiply-add rate of this machine. First row of each degree: least "
    "time in ms that these limits allow, and bytes of operands and results."
)


def add_parser(verbs: Any) -> None:
    """Add the verb ``bench``."""
    parser = verbs.add_parser(
        "bench",
        help="time the operations on this machine",
        description="Time forward, backward and double backward of each operation by degree, on "
        "every backend, on e3nn and, if it is installed, on cuEquivariance, and compare with the "
        "measured limits of this machine. Write bench.json and bench.png. With --model, time steps "
        "of energies and forces of a potential by the number of atoms, beside a MACE of the same "
        "widths in mace-torch and symmetrix-xl, if the variable MACE_PYTHON names a Python that "
        "has them. Write bench_model.json and bench_model.png.",
    )
    parser.add_argument(
        "--model", metavar="NAME", help="name from the zoo, run directory or model folder to time"
    )
    parser.add_argument(
        "--atoms",
        nargs="+",
        type=int,
        help="numbers of atoms for --model (default: 100 1000 10000)",
    )
    parser.add_argument("--ops", nargs="+", metavar="OP", help="names of ops (default: all)")
    parser.add_argument(
        "--sizes",
        choices=("own", "published"),
        default="own",
        help="sizes of the problems: own takes --lmax, --batch and --channels; published takes "
        "those of the literature that fit into memory (default: own)",
    )
    parser.add_argument("--lmax", nargs="+", type=int, help="highest degrees (default: 1-8 10)")
    parser.add_argument("--batch", type=int, help="number of functions or edges (default: 256)")
    parser.add_argument("--channels", type=int, help="number of channels (default: 32)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="backends and libraries to time, such as native e3nn (default: all that run here)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench"), help="folder to write (default: runs/bench)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the rows of the tables as they are timed, then write the record and the figure.

    Args:
        arguments: Parsed command line.

    Raises:
        ConfigError: A size is not positive or not used with ``--sizes published``, there is no such
            device or implementation, the folder cannot be made, or nothing could be timed.
    """
    import torch

    from equinet.bench import compete, draw, fit_growth
    from equinet.command_line import environment
    from equinet.configuration import hardware

    _check(arguments, environment.devices())
    if arguments.model is not None:
        yield from bench_model.run(arguments)
        return
    machine = hardware() | {"load_before": round(environment.load_of_others(), 2)}
    place = environment.name_of(arguments.device, machine)
    title = f"{_sizes(arguments)}, {arguments.dtype}, {place}"
    yield title
    yield from textwrap.wrap(_LEGEND, 100)
    yield from environment.warn_of_load(machine["load_before"])
    results: list[Result] = []
    for series in _series(arguments):
        yield ""
        yield from _head(series)
        dtype = getattr(torch, arguments.dtype)
        for found in compete(series, dtype=dtype, device=arguments.device, only=arguments.only):
            yield from table_rows(found)
            results += found
    if not results:
        raise ConfigError(
            "nothing was timed: every implementation fails or needs more memory than there is; "
            "lower --batch, or name others with --only"
        )
    growth = fit_growth(results)
    if growth:
        yield ""
        yield from growth_rows(growth)
    record = arguments.out / "bench.json"
    content = json.dumps(make_record(arguments, machine, results, growth), indent=2)
    write_bytes(f"{content}\n".encode(), record)
    draw(results, arguments.out / "bench.png", title)
    yield ""
    yield f"Written: {record}, {arguments.out / 'bench.png'}"


def table_rows(results: "Sequence[Result]") -> Iterator[str]:
    """Lay out the results of one problem: the limits, then a row for each implementation.

    Args:
        results: Times of one problem, at most one for each implementation and stage.
    """
    from equinet.bench import STAGES

    limits = {result.stage: result for result in results}
    if not limits:
        return
    first = results[0]
    degrees = f"{first.lmax} {first.lmax_y} {first.lmax_out}"
    cells = (_limit_cell(limits.get(stage)) for stage in STAGES)
    yield f"{degrees:<9}{'limit':<14}{''.join(cells)}".rstrip()
    for name in dict.fromkeys(result.implementation for result in results):
        found = {result.stage: result for result in results if result.implementation == name}
        cells = (_cell(found.get(stage)) for stage in STAGES)
        yield f"{'':<9}{name:<14}{''.join(cells)}".rstrip()


def growth_rows(fits: "Sequence[Growth]") -> Iterator[str]:
    """Say how the cost of each implementation grows with the degree.

    Args:
        fits: Fits that :func:`equinet.bench.fit_growth` returns.
    """
    for each in fits:
        degrees = ", ".join(str(degree) for degree in each.degrees)
        what = " ".join(filter(None, (each.series, each.op, each.implementation, each.stage)))
        yield f"{what}: time grows as lmax^{each.exponent:.2f} (lmax {degrees})"


def make_record(
    arguments: argparse.Namespace,
    machine: dict[str, Any],
    results: "Sequence[Result]",
    growth: "Sequence[Growth]",
) -> dict[str, Any]:
    """Collect the times with settings, machine, versions and commit, so that they can be repeated.

    Args:
        arguments: Parsed command line.
        machine: Description of the machine, from
            :func:`equinet.configuration.hardware`.
        results: Times of all problems.
        growth: Power laws fitted to the times.
    """
    from equinet.bench import MEANING
    from equinet.command_line import environment
    from equinet.configuration import make_stamp

    stamp = make_stamp(seed=0, fingerprint="")
    versions = stamp["versions"] | {
        name: environment.version(name) or "absent"
        for name in ("cuequivariance-torch", *(f"cuequivariance-ops-torch-cu{n}" for n in (12, 13)))
    }
    names = ("ops", "sizes", "lmax", "batch", "channels", "dtype", "device", "only")
    return {
        **{name: stamp[name] for name in _STAMP},
        "versions": versions,
        "hardware": machine,
        "settings": {name: getattr(arguments, name) for name in names},
        "limits": MEANING,
        "growth": [asdict(fit) for fit in growth],
        "results": [asdict(result) for result in results],
    }


def _check(arguments: argparse.Namespace, devices: list[str]) -> None:
    """Refuse arguments that cannot be run, and fill in the sizes that were not given."""
    _check_kind(arguments)
    for name, default in _OWN_SIZES.items():
        value = getattr(arguments, name)
        if value is not None and arguments.sizes == "published":
            raise ConfigError(f"--{name} has no meaning with --sizes published; leave it out")
        if value is None and arguments.sizes == "own":
            setattr(arguments, name, default)
    if arguments.sizes == "own":
        for name in _OWN_SIZES:
            value = getattr(arguments, name)
            least = min(value) if name == "lmax" else value
            if least < 1:
                raise ConfigError(f"--{name} must be at least 1, found {least}")
    if arguments.device not in devices:
        raise ConfigError(f"--device {arguments.device}: torch finds none here; use cpu")
    _check_names(arguments)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--out {arguments.out} cannot be made ({error.strerror}); give another folder"
        ) from error


def _check_kind(arguments: argparse.Namespace) -> None:
    """Refuse options of operations beside ``--model``, and those of models without it."""
    if arguments.model is None and arguments.atoms:
        raise ConfigError("--atoms has a meaning with --model alone; leave it out")
    given = [name for name in ("ops", *_OWN_SIZES, "only") if getattr(arguments, name)]
    if arguments.model is not None and given:
        raise ConfigError(f"--{given[0]} has no meaning with --model; leave it out")
    arguments.atoms = arguments.atoms or bench_model.ATOMS


def _check_names(arguments: argparse.Namespace) -> None:
    from equinet.bench import implementations
    from equinet.ops import OPS

    arguments.ops = arguments.ops or list(OPS)
    for op in arguments.ops:
        if op not in OPS:
            raise ConfigError(f"--ops {op}: there is no such op; choose from {', '.join(OPS)}")
    known = {name for op in arguments.ops for name in implementations(op, arguments.device)}
    for name in arguments.only:
        if name not in known:
            raise ConfigError(
                f"--only {name}: nothing of that name runs {' or '.join(arguments.ops)} on "
                f"{arguments.device} here; there are {', '.join(sorted(known))}"
            )


def _series(arguments: argparse.Namespace) -> "list[Series]":
    from equinet.bench import PUBLISHED, Series

    if arguments.sizes == "published":
        return [series for series in PUBLISHED if series.op in arguments.ops]
    sizes = tuple(
        {"lmax": lmax, "batch": arguments.batch, "channels": arguments.channels}
        for lmax in sorted(arguments.lmax)
    )
    return [Series("", op, sizes) for op in arguments.ops]


def _sizes(arguments: argparse.Namespace) -> str:
    if arguments.sizes == "published":
        return "published sizes"
    return f"{arguments.batch} × {arguments.channels} channels"


def _head(series: "Series") -> Iterator[str]:
    sizes = series.sizes[0]
    about = f": {series.name}, {sizes['batch']} × {sizes['channels']} channels"
    yield series.op + (about if series.name else "")
    columns = ("forward", "+ backward", "+ double backward")
    yield f"{'lmax x y out':<23}" + "".join(f"{column:>28}" for column in columns)


def _limit_cell(result: "Result | None") -> str:
    if result is None:
        return " " * 28
    return f"{result.limit_ms:>12.4f}{result.minimal_bytes / 1e6:>13.3g} MB"


def _cell(result: "Result | None") -> str:
    if result is None:
        return f"{'–':>12}" + " " * 16
    faster = "" if result.speedup is None else f"{result.speedup:.3g}×"
    arithmetic = result.of_multiply_add_rate
    work = "" if arithmetic is None else f"{100 * arithmetic:.0f}%"
    return f"{result.median_ms:>12.4f}{faster:>7}{f'{100 * result.of_bandwidth:.0f}%':>5}{work:>4}"
