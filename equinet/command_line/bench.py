"""``python -m equinet bench``: how long the ops take here, on every backend and on e3nn."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equinet.bench import OPS
from equinet.errors import ConfigError

if TYPE_CHECKING:
    from equinet.bench.contest import Result

_BUSY = 0.5
_STAMP = ("time", "command", "commit", "dirty", "versions")


def add_parser(verbs: Any) -> None:
    """Add ``bench``."""
    parser = verbs.add_parser(
        "bench",
        help="time the operations on this machine",
        description="Time forward, backward and double backward of each operation by degree, on "
        "every backend and on e3nn. Writes bench.json and bench.png.",
    )
    parser.add_argument("--ops", nargs="+", choices=OPS, default=OPS, metavar="OP")
    parser.add_argument(
        "--lmax", nargs="+", type=int, default=(1, 2, 3, 4, 6, 8), help="degrees (default: 1-4 6 8)"
    )
    parser.add_argument("--batch", type=int, default=256, help="functions, or edges (default: 256)")
    parser.add_argument("--channels", type=int, default=32, help="of each function (default: 32)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench"), help="folder (default: runs/bench)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the tables as they fill, then write the record and the picture.

    Raises:
        ConfigError: A size is not positive, there is no such device, or the folder cannot be made.
    """
    import torch

    from equinet.bench.contest import compete
    from equinet.bench.figure import draw
    from equinet.command_line import environment

    _check(arguments, environment.devices())
    machine = environment.hardware() | {"load_before": round(environment.load_of_others(), 2)}
    title = (
        f"{arguments.batch} × {arguments.channels} channels, {arguments.dtype}, "
        f"{_where(arguments.device, machine)}"
    )
    yield f"{title}; median ms a call (times faster than e3nn)"
    if machine["load_before"] > _BUSY:
        yield (
            f"WARNING: other programs kept {100 * machine['load_before']:.0f} % of the cores busy "
            "over the last minute; do not trust these times"
        )
    results: list[Result] = []
    for op in arguments.ops:
        yield ""
        yield from _head(op)
        for found in compete(
            op,
            sorted(arguments.lmax),
            batch=arguments.batch,
            channels=arguments.channels,
            dtype=getattr(torch, arguments.dtype),
            device=arguments.device,
        ):
            yield from table_rows(found)
            results += found
    names = ("ops", "lmax", "batch", "channels", "dtype", "device")
    settings = {name: getattr(arguments, name) for name in names}
    record = arguments.out / "bench.json"
    record.write_text(json.dumps(make_record(settings, machine, results), indent=2) + "\n")
    draw(results, arguments.out / "bench.png", title)
    yield ""
    yield f"Written: {record}, {arguments.out / 'bench.png'}"


def table_rows(results: "Sequence[Result]") -> Iterator[str]:
    """Lay out the results of one op at one degree: a row for each implementation.

    Args:
        results: With one entry for each implementation and stage.
    """
    for name in dict.fromkeys(result.implementation for result in results):
        row = [result for result in results if result.implementation == name]
        cells = "".join(f"{_cell(result):>23}" for result in row)
        yield f"{row[0].lmax:>4}  {name:<10}{cells}"


def make_record(
    settings: dict[str, Any], machine: dict[str, Any], results: "Sequence[Result]"
) -> dict[str, Any]:
    """Collect what a figure needs to be believed: settings, machine, versions, commit, samples.

    Args:
        settings: Of the command line.
        machine: As of :func:`equinet.command_line.environment.hardware`.
        results: All of them.
    """
    from equinet import config

    stamp = config.stamp(seed=0, fingerprint="")
    return {
        **{name: stamp[name] for name in _STAMP},
        "hardware": machine,
        "settings": settings,
        "results": [asdict(result) for result in results],
    }


def _check(arguments: argparse.Namespace, devices: list[str]) -> None:
    if min(arguments.lmax) < 1:
        raise ConfigError(f"--lmax must be at least 1, found {min(arguments.lmax)}")
    for name in ("batch", "channels"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, found {getattr(arguments, name)}")
    if arguments.device not in devices:
        raise ConfigError(f"--device {arguments.device}: torch finds none here; use cpu")
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {arguments.out} cannot be made: {error.strerror}") from error


def _where(device: str, machine: dict[str, Any]) -> str:
    if device == "cuda":
        return str(machine["gpus"][0])
    return f"{machine['cpu']}, {machine['threads']} threads"


def _head(op: str) -> Iterator[str]:
    columns = ("forward", "+ backward", "+ double backward")
    yield op
    yield f"lmax  {'':<10}" + "".join(f"{column:>23}" for column in columns)


def _cell(result: "Result") -> str:
    faster = "" if result.speedup is None else f"({result.speedup:.3g}×)"
    return f"{result.median_ms:.3f} {faster:>9}"
