"""Describe this machine and the packages that are installed on it."""

import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

import torch

_BUSY = 0.5  # fraction of the cores, above which times are disturbed

REQUIRED = (
    "torch",
    "numpy",
    "scipy",
    "e3nn",
    "torch-geometric",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "safetensors",
    "jaxtyping",
    "matplotlib",
)

OPTIONAL: Mapping[str, tuple[str, str]] = {
    "ase": (
        "reading files, the embedded set, the calculator",
        "pip install '.[atoms]' in the clone",
    ),
    "vesin": ("neighbor lists", "pip install '.[atoms]' in the clone"),
    "scikit-image": ("superpixels", "pip install '.[images]' in the clone"),
    "scikit-learn": ("digits without a download", "pip install '.[images]' in the clone"),
    "lmdb": ("LMDB files", "pip install '.[oc20]' in the clone"),
    "tensorboard": ("the TensorBoard log", "pip install '.[log]' in the clone"),
    "wandb": ("the Weights & Biases log", "pip install '.[log]' in the clone"),
    "matscipy": ("vesin lists the neighbors", ""),
    "torch-scatter": ("torch itself reduces segments", ""),
}
"""Optional packages: for each what it adds and how to install it, or what replaces it."""


def version(package: str) -> str | None:
    """Return the installed version of a package; None where it is absent.

    Args:
        package: Name of the package, as ``pip`` knows it.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def load_of_others() -> float:
    """Return the fraction of the cores that was busy over the last minute; 0 where unknown."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def devices() -> list[str]:
    """List the types of device that torch can use here, "cpu" and possibly "cuda"."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def warnings(environment: Mapping[str, str]) -> list[str]:
    """List warnings of settings that make this process unsafe.

    Args:
        environment: Environment variables by name, such as ``os.environ``.
    """
    found = []
    variable = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    if environment.get(variable, "0").lower() in {"1", "y", "yes", "true"}:
        found.append(
            f"{variable} is set: torch.load runs code from the files it reads, in every library of "
            "this process; unset it (importing mace-torch sets it)"
        )
    return found


def name_of(device: str, machine: Mapping[str, Any]) -> str:
    """Name the GPU, or the processor and its threads.

    Args:
        device: Type of the device, "cpu" or "cuda".
        machine: Description of the machine, from :func:`equinet.configuration.hardware`.
    """
    if device == "cuda":
        return str(machine["gpus"][0])
    return f"{machine['cpu']}, {machine['threads']} threads"


def warn_of_load(load: float) -> Iterator[str]:
    """Yield a line if other programs disturb times.

    Args:
        load: Fraction of the cores that other programs keep busy, from :func:`load_of_others`.
    """
    if load > _BUSY:
        yield (
            f"WARNING: other programs kept {100 * load:.0f} % of the cores busy over the last "
            "minute; do not trust these times"
        )
