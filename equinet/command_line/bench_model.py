"""``python -m equinet bench --model NAME``: time and memory of a potential against its size."""

import argparse
import json
import os
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equinet.errors import ConfigError
from equinet.files import write_bytes

if TYPE_CHECKING:
    from equinet.bench.potentials import Point, Worker
    from equinet.models import Potential

ATOMS = (100, 1000, 10000)
_STAMP = ("time", "command", "commit", "dirty")
_HEAD = (
    f"{'atoms':>8} {'neighbors':>9}  {'library':<13}{'ms a step':>11}{'µs an atom':>12}"
    f"{'kB an atom':>12}{'equinet is':>16}"
)
_LEGEND = (
    "A step is one call of the ASE calculator for energy and forces after all atoms have moved by "
    "0.02 Å, with neighbor list and stress where the library computes it; the median of steps that "
    "the libraries take by turns. Memory is the peak above that of the loaded model. The other "
    "libraries run a MACE of the same widths with random weights, in float32."
)


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the rows of the table as they are timed, then write the record and the figure.

    Args:
        arguments: Parsed and checked command line, see :mod:`equinet.command_line.bench`.

    Raises:
        ConfigError: No model has the name, the model is not a potential, or a size is below one.
        BackendError: ``MACE_PYTHON`` names no Python that starts, or a library does not start.
    """
    from equinet import zoo
    from equinet.bench.potentials import draw_curves, race_sizes
    from equinet.command_line import environment
    from equinet.configuration import hardware
    from equinet.models import Potential

    if min(arguments.atoms) < 1:
        raise ConfigError(f"--atoms must be at least 1, found {min(arguments.atoms)}")
    model = zoo.load(arguments.model)
    if not isinstance(model, Potential):
        raise ConfigError(f"--model {arguments.model} is no potential but a {type(model).__name__}")
    machine = hardware() | {"load_before": round(environment.load_of_others(), 2)}
    place = environment.name_of(arguments.device, machine)
    title = f"{arguments.model}, {type(model).__name__} on {place}"
    yield title
    yield from textwrap.wrap(_LEGEND, 100)
    yield from environment.warn_of_load(machine["load_before"])
    with tempfile.TemporaryDirectory() as folder:
        workers: list[Worker] = []
        try:
            yield from _start(workers, arguments, model, Path(folder))
            yield ""
            yield _HEAD
            points: list[Point] = []
            for found in race_sizes(workers, model.elements, model.neighborhood, arguments.atoms):
                if isinstance(found, str):
                    yield found
                    continue
                points += found
                yield from table_rows(found)
        finally:
            for worker in workers:
                worker.close()
    record = arguments.out / "bench_model.json"
    content = make_record(arguments, machine, workers, points)
    write_bytes(f"{json.dumps(content, indent=1)}\n".encode(), record)
    draw_curves(points, record.with_suffix(".png"), title)
    yield ""
    yield f"Written: {record}, {record.with_suffix('.png')}"


def table_rows(points: "Sequence[Point]") -> Iterator[str]:
    """Lay out the points of one size, a row for each library.

    Args:
        points: Points of one size, at most one for each library.
    """
    ours = next((point.ms for point in points if point.library == "equinet"), None)
    for index, point in enumerate(points):
        size = f"{point.atoms:>8} {point.neighbors:>9.1f}" if index == 0 else " " * 18
        faster = "" if ours in (None, point.ms) else f"{point.ms / ours:.1f}× as fast"
        yield (
            f"{size}  {point.library:<13}{point.ms:>11.2f}{point.us_per_atom:>12.1f}"
            f"{point.kb_per_atom:>12.1f}{faster:>16}"
        ).rstrip()


def make_record(
    arguments: argparse.Namespace,
    machine: dict[str, Any],
    workers: "Sequence[Worker]",
    points: "Sequence[Point]",
) -> dict[str, Any]:
    """Collect the points with model, machine, versions and commit, so that they can be repeated.

    Args:
        arguments: Parsed command line.
        machine: Description of the machine, from :func:`equinet.configuration.hardware`.
        workers: Processes of the libraries.
        points: Points of all libraries and sizes.
    """
    from equinet.configuration import make_stamp

    stamp = make_stamp(seed=0, fingerprint="")
    return {
        **{name: stamp[name] for name in _STAMP},
        "versions": {worker.library: worker.versions for worker in workers},
        "hardware": machine,
        "model": str(arguments.model),
        "device": arguments.device,
        "points": [
            {**asdict(point), "us_per_atom": point.us_per_atom, "kb_per_atom": point.kb_per_atom}
            for point in points
        ],
    }


def _start(
    workers: "list[Worker]", arguments: argparse.Namespace, model: "Potential", folder: Path
) -> Iterator[str]:
    """Start a process for each library, and say which others are not there and why."""
    from equinet.bench.potentials import RIVALS, Worker, installed_rivals, widths_of
    from equinet.errors import BackendError

    name = (
        str(Path(arguments.model).resolve()) if Path(arguments.model).exists() else arguments.model
    )
    workers.append(Worker("equinet", sys.executable, name, arguments.device, folder))
    python, widths = os.environ.get("MACE_PYTHON", ""), widths_of(model)
    if widths is None:
        yield f"No other library has a network of the widths of a {type(model).__name__}."
        return
    there = installed_rivals(python) if python else []
    for library in there:
        try:
            workers.append(Worker(library, python, json.dumps(widths), arguments.device, folder))
        except BackendError as error:
            yield str(error)
    absent = [library for library in RIVALS if library not in there]
    if absent:
        yield f"Not compared: {' and '.join(absent)}, which no Python named by MACE_PYTHON has"
