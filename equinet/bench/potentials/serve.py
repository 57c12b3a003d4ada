"""A process with one library, which takes steps of energies and forces when it is told to.

Run as a file by the Python that has the library; it imports nothing of equinet unless that is the
library. Each line of the input is a JSON list: ``["structure", FILE]`` reads a structure and sets
the peak of memory back, ``["step"]`` displaces its atoms by 0.02 Å and evaluates it. Each is
answered by one line.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

_DISPLACEMENT = 0.02  # standard deviation from the first positions, Å
_PACKAGES = {
    "equinet": ("equinet", "torch"),
    "mace-torch": ("mace-torch", "torch"),
    "symmetrix-xl": ("symmetrix-xl", "mace-torch"),
}


def equinet(model: str, device: str) -> Any:
    """Return the calculator of a model of equinet."""
    # Other libraries' Pythons run this file without equinet.
    calculators = importlib.import_module("equinet.integrations.ase")
    return calculators.EquinetCalculator(model, device=device)


def mace(widths: dict[str, Any], device: str) -> Any:
    """Return the calculator of an untrained MACE of mace-torch."""
    from mace.calculators import MACECalculator

    return MACECalculator(model_paths=_saved_mace(widths), device=device, default_dtype="float32")


def symmetrix(widths: dict[str, Any], _: str) -> Any:
    """Return the calculator of the same MACE in symmetrix-xl, without its compiler."""
    from symmetrix import Symmetrix

    return Symmetrix(_saved_mace(widths), dtype="float32", streamed_edges="non-compiled")


LIBRARIES: dict[str, Callable[[Any, str], Any]] = {
    "equinet": equinet,
    "mace-torch": mace,
    "symmetrix-xl": symmetrix,
}


def _saved_mace(widths: dict[str, Any]) -> str:
    """Build a MACE with random weights, save it into the working folder and return its name."""
    # As mace-torch sets it, for the tables of its e3nn, which are no plain tensors.
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    import torch
    from e3nn import o3
    from mace import modules

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    blocks = modules.interaction_classes
    degrees = range(widths["lmax_hidden"] + 1)
    model = modules.ScaleShiftMACE(
        r_max=widths["cutoff"],
        num_bessel=widths["radial_basis"],
        num_polynomial_cutoff=5,
        max_ell=widths["lmax_filter"],
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        num_interactions=widths["layers"],
        num_elements=len(widths["elements"]),
        hidden_irreps=o3.Irreps([(widths["channels"], (ell, (-1) ** ell)) for ell in degrees]),
        MLP_irreps=o3.Irreps(f"{widths['readout_hidden']}x0e"),
        atomic_energies=np.array(widths["reference_energies"]),
        avg_num_neighbors=widths["average_neighbors"],
        atomic_numbers=widths["elements"],
        correlation=widths["correlation"],
        gate=torch.nn.functional.silu,
        radial_MLP=widths["radial_hidden"],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    torch.save(model, "mace.model")
    return "mace.model"


class Memory:
    """Peak of memory above what the process holds when this is made, bytes; Linux only."""

    def __init__(self) -> None:
        self._before = self._read("VmRSS")

    def forget(self) -> None:
        """Let the peak start anew."""
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak(self) -> int:
        """Return the peak since the last start."""
        return self._read("VmHWM") - self._before

    def _read(self, field: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(each.split()[1]) * 1024 for each in lines if each.startswith(f"{field}:"))


def main(library: str, model: str, device: str) -> None:
    """Answer lines until the input ends.

    Args:
        library: Name of the library.
        model: Name of equinet's model, or the widths of another library's as JSON.
        device: Device, ``cpu`` or ``cuda``.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    import ase.io

    given = model if library == "equinet" else json.loads(model)
    calculator = LIBRARIES[library](given, device)
    memory, random = Memory(), np.random.default_rng(0)
    answers.write(json.dumps({name: metadata.version(name) for name in _PACKAGES[library]}) + "\n")
    for line in sys.stdin:
        action, *words = json.loads(line)
        if action == "structure":
            atoms: Any = ase.io.read(words[0], "0")
            atoms.calc, first = calculator, atoms.positions.copy()
            memory.forget()
            answers.write("{}\n")
            continue
        atoms.positions = first + random.normal(scale=_DISPLACEMENT, size=first.shape)
        start = time.perf_counter()
        atoms.get_forces()
        atoms.get_potential_energy()
        seconds = time.perf_counter() - start
        answers.write(json.dumps({"seconds": seconds, "peak": memory.peak()}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
