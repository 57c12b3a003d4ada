"""``python -m equinet doctor``: check this installation, or one model."""

import argparse
import os
import platform
from collections.abc import Iterator
from typing import Any

from equinet.errors import BackendError, ConfigError, EquinetError


def add_parser(verbs: Any) -> None:
    """Add the verb ``doctor``."""
    parser = verbs.add_parser("doctor", help="check this installation, or a model, by numbers")
    parser.add_argument("--model", help="potential to check: zoo name, run or model folder")
    parser.add_argument("--data", help="structures to check it on; made up if not given")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the report, section after section.

    Args:
        arguments: Parsed command line.

    Raises:
        BackendError: A backend fails or is less accurate than its precision allows.
        EquinetError: The model fails a check, or it or its structures cannot be used.
    """
    if arguments.model is not None:
        yield from describe_model(arguments.model, arguments.data)
        return
    if arguments.data is not None:
        raise ConfigError(f"--data {arguments.data} needs a model to check on it; give --model")
    yield from describe_machine()
    yield ""
    yield from describe_packages()
    yield ""
    yield from describe_native()
    yield from describe_backends()
    yield ""
    yield from describe_accuracy()


def describe_machine() -> Iterator[str]:
    """Yield lines on versions, processor, GPUs and warnings."""
    import torch

    import equinet
    from equinet.command_line import environment
    from equinet.configuration import hardware

    machine = hardware()
    yield f"equinet {equinet.__version__}, Python {platform.python_version()}"
    yield f"torch   {torch.__version__}, CUDA {torch.version.cuda or 'none'}"
    yield (
        f"CPU     {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['instructions']}"
    )
    if machine["gpus"]:
        nccl = "with" if torch.distributed.is_nccl_available() else "without"
        yield f"GPU     {', '.join(machine['gpus'])}, {nccl} NCCL"
    else:
        yield "GPU     none that torch can use"
    for warning in environment.warnings(os.environ):
        yield f"WARNING {warning}"


def describe_packages() -> Iterator[str]:
    """Yield lines on the packages that equinet uses, and how to install those that are absent."""
    from equinet.command_line import environment

    found = {name: environment.version(name) for name in environment.REQUIRED}
    yield "required: " + ", ".join(f"{name} {number or 'ABSENT'}" for name, number in found.items())
    for name, (purpose, source) in environment.OPTIONAL.items():
        state = environment.version(name) or (f"absent; {source}" if source else "absent")
        note = purpose if source else f"not needed: {purpose}"
        yield f"optional: {name:<13} {state} ({note})"


def describe_native() -> Iterator[str]:
    """Yield lines on the compiled libraries, and whether they run on this machine."""
    import torch

    from equinet.ops import native

    report = native.build_report()
    reason = native.load()
    if reason:
        yield f"native engine: {reason}"
        return
    built = report["cpu"]
    yield (
        f"native engine: {native.LIBRARY} by {built['compiler']} for {', '.join(built['targets'])};"
        f" {torch.ops.equinet.cpu_capability()} runs here"
    )
    reason = native.load_cuda()
    if reason:
        yield f"native engine: no CUDA, {reason}"
        return
    built = report["cuda"]
    yield (
        f"native engine: {native.CUDA_LIBRARY} by {built['compiler']} for "
        f"{', '.join(built['targets'])}; {built['kernels']} kernels with at most "
        f"{built['registers']} registers, {built['spilling']} of them spill"
    )


def describe_backends() -> Iterator[str]:
    """Yield, for each op, the backend that "auto" takes and the reason why others cannot run."""
    from equinet.command_line import environment
    from equinet.ops import OPS, available_backends, resolve_backend

    unusable: dict[str, list[str]] = {}
    for device in environment.devices():
        for op in OPS:
            backends = available_backends(op, device)
            usable = [name for name, reason in backends.items() if not reason]
            choice = resolve_backend(op, "auto", device)
            yield f"{op} on {device}: auto takes {choice}, of {', '.join(usable)}"
            for name, reason in backends.items():
                if reason:
                    place = f"no {name} on {device}: {reason}"
                    unusable.setdefault(place, []).append(op)
    for place, names in unusable.items():
        yield f"{', '.join(names)}: {place}"


def describe_model(name: str, file: str | None) -> Iterator[str]:
    """Check a potential, and yield a line for each check and a summary.

    Args:
        name: Name in the zoo, or path of a run, of a model folder or of a file in one.
        file: Path of a file of structures; None makes some up.

    Raises:
        EquinetError: A check fails, or the model or the structures cannot be used.
    """
    from equinet.command_line.model_checks import check_model, load_potential, structures_for

    model = load_potential(name)
    frames = structures_for(model, file)
    atoms = ", ".join(str(len(frame)) for frame in frames)
    origin = f"of {file}" if file else "made up of the elements of the model"
    yield f"{name}: {type(model).__name__}, in float64, on structures of {atoms} atoms {origin}"
    total, failed = 0, []
    for finding in check_model(model, frames):
        yield str(finding)
        total += finding.error is not None
        if not finding.is_good:
            failed.append(finding.name)
    if failed:
        raise EquinetError(
            f"{name}: {len(failed)} of {total} checks fail: {', '.join(failed)}; do not trust its "
            "predictions before the cause is found"
        )
    yield f"All {total} checks pass."


def describe_accuracy() -> Iterator[str]:
    """Run all checks of accuracy, and yield a table and a summary.

    Raises:
        BackendError: At least one check fails.
    """
    from equinet.command_line.accuracy import check_ops

    yield "largest errors relative to the float64 reference"
    yield _row("op", "backend", "device", "dtype", "forward", "backward", "double backward")
    total, failed = 0, []
    for check in check_ops():
        errors = [f"{error:.0e}" for error in check.errors] or [check.reason]
        mark = "" if check.is_good else "FAILS"
        yield _row(check.op, check.backend, check.device, check.dtype, *errors, mark)
        total += 1
        if not check.is_good:
            failed.append(f"{check.op} {check.backend} {check.device} {check.dtype}")
    yield ""
    if failed:
        raise BackendError(f"{len(failed)} of {total} checks fail: {', '.join(failed)}")
    yield f"All {total} checks pass."


def _row(op: str, backend: str, device: str, dtype: str, *cells: str) -> str:
    start = f"{op:<24} {backend:<10} {device:<7} {dtype:<9}"
    return (start + "".join(f"{cell:>9} " for cell in cells)).rstrip()
