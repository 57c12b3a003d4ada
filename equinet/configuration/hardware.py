"""Description of the machine that a program runs on."""

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equinet.errors import ConfigError

if TYPE_CHECKING:
    import torch


def hardware() -> dict[str, Any]:
    """Describe the machine in plain JSON: processor, cores, threads that torch uses, GPUs.

    Example:
        >>> sorted(hardware())
        ['cores', 'cpu', 'gpus', 'instructions', 'platform', 'threads']
    """
    import torch

    return {
        "cpu": _cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "platform": platform.platform(),
    }


def device_named(name: str) -> "torch.device":
    """Return the device that an option names.

    Args:
        name: Name of the device, ``auto``, ``cpu`` or ``cuda``; ``auto`` takes a GPU if there is
            one.

    Raises:
        ConfigError: There is no such device.

    Example:
        >>> device_named("cpu")
        device(type='cpu')
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    refused = ConfigError(f"device must be auto, cpu or cuda, found {name!r}")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise refused from error
    if device.type not in {"cpu", "cuda"}:
        raise refused
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: there is no GPU that torch can use here; say device=cpu")
    return device


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
