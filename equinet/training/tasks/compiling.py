"""Whether networks can be compiled on this machine, and whether a training is long enough."""

from collections.abc import Sequence

import torch
from lightning.pytorch import Trainer

from equinet.models import Potential
from equinet.training.schedules import timers

_WORTH_IT = 590.0  # seconds left of ten minutes; compiling earns its time in about half of them


def pays_to_compile(networks: Sequence[Potential], trainer: Trainer) -> bool:
    """Return whether a training is long enough to earn the time that compiling takes.

    That holds for networks that are quick to compile, in one process on a CPU, with ten minutes or
    more left of ``max_time`` and no limit of steps.

    Args:
        networks: Networks that are trained.
        trainer: Trainer at the start of a training.
    """
    remaining = [timer.time_remaining() for timer in timers(trainer)]
    return (
        trainer.strategy.root_device.type == "cpu"
        and trainer.world_size == 1
        and trainer.max_steps < 0
        and any(seconds is not None and seconds >= _WORTH_IT for seconds in remaining)
        and all(network.quick_to_compile for network in networks)
    )


def obstacle_to_compiling() -> str | None:
    """Compile a small function, and return why that fails; None where it works."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8))
    # Whatever is missing (a compiler, headers, a folder to write) has an error class of its own.
    except Exception as error:  # noqa: BLE001 - see above
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """Return the first line of an error of the compiler that says what is wrong.

    Args:
        error: Error that was raised while something was compiled.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.endswith("raised:")]
    return told[0] if told else type(error).__name__
