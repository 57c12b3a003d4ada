"""Race MACEGaunt against mace-torch on 3BPA: a training step, energies and forces, peak memory.

    python -m venv MACE
    MACE/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    MACE/bin/pip install mace-torch==0.3.16
    python experiments/3bpa/against_mace.py --mace-python MACE/bin/python --data PATH_OF_3BPA

mace-torch pins e3nn 0.4.4, hence an environment of its own, with the CPU build of torch. Each
library runs in a process that lives for the whole race; the two take turns, one call each, so that
a busy moment of the machine hits both. Both see the same frames, edges and widths, in float32: two
layers, harmonics to degree 3, features to degree 2, correlation 3, a radial network [64, 64, 64] on
8 Bessel functions, amsgrad Adam, squared errors of energies and forces. Each is used as its own
training command uses it by default: mace-torch's model is not compiled as a whole and its Adam is
not fused; its reduced basis of many-body products, off by default, would need cuEquivariance.

Memory is the peak of the resident set during a phase, warm-up included, above what the process held
after its imports. Linux only. With ``--device cuda`` it is the peak that torch allocated there, and
mace-torch runs on cuEquivariance, which its environment must then have.
"""

import argparse
import hashlib
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

CUTOFF = 5.0  # Å
LMAX_FILTER, LMAX_HIDDEN, CORRELATION = 3, 2, 3
RADIAL_BASIS, RADIAL_HIDDEN, READOUT_HIDDEN = 8, [64, 64, 64], 16
ENERGY_WEIGHT, FORCES_WEIGHT = 1.0, 1000.0
LEARNING_RATE = 0.01
WARM_UP = 5  # TorchScript, which e3nn uses, specializes its code during the first calls
PHASES = ("inference", "training")
IMPORTS = {
    "equinet": ("equinet.data", "equinet.models", "equinet.evaluation.residuals", "ase.io"),
    "mace-torch": ("mace.data", "mace.modules", "mace.tools", "ase.io"),
}

FILE = "train_300K.xyz"

Work = dict[str, Callable[[], None]]


@dataclass(frozen=True)
class Figures:
    """What a phase took with one library."""

    ms: float  # median
    quartiles: list[float]  # ms
    peak_mb: float


def read(data: Path, frames: int) -> tuple[list[Any], dict[int, float]]:
    """Read the first training frames, and the energy of a lone atom of each element."""
    import ase.io

    lone = ase.io.read(data / "iso_atoms.xyz", ":")
    energies = {int(atom.numbers[0]): float(atom.get_potential_energy()) for atom in lone}
    return ase.io.read(data / FILE, f":{frames}"), energies


def equinet_work(
    atoms: list[Any], energies: dict[int, float], channels: int, device: str
) -> tuple[Work, int]:
    """Set up MACEGaunt: what each phase calls, and the number of edges."""
    import torch
    from torch_geometric.data import Batch

    from equinet.data import AtomicDataset
    from equinet.evaluation.residuals import LossWeights, residuals
    from equinet.models import MACEGaunt

    dataset = AtomicDataset(atoms, CUTOFF)
    batch = Batch.from_data_list(list(dataset)).to(device)
    model = MACEGaunt(
        elements=sorted(energies),
        reference_energies=[energies[z] for z in sorted(energies)],
        cutoff=CUTOFF,
        average_neighbors=dataset.average_neighbors,
        channels=channels,
        lmax_filter=LMAX_FILTER,
        lmax_hidden=LMAX_HIDDEN,
        correlation=CORRELATION,
        radial_basis=RADIAL_BASIS,
        radial_hidden=RADIAL_HIDDEN,
        readout_hidden=READOUT_HIDDEN,
    ).to(device)
    weights = LossWeights(ENERGY_WEIGHT, FORCES_WEIGHT)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, amsgrad=True, fused=True)

    def train() -> None:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        weights.loss(residuals(model(batch), batch)).backward()
        optimizer.step()

    def infer() -> None:
        model.eval()
        model(batch)

    return {"training": train, "inference": infer}, batch.edge_index.shape[1]


def mace_work(
    atoms: list[Any], energies: dict[int, float], channels: int, device: str
) -> tuple[Work, int]:
    """Set up MACE of the same widths, as mace-torch's own training does."""
    import numpy as np
    import torch
    from e3nn import o3
    from mace import data, modules
    from mace.modules.wrapper_ops import CuEquivarianceConfig
    from mace.tools import AtomicNumberTable, torch_geometric

    torch.set_default_dtype(torch.float32)
    table = AtomicNumberTable(sorted(energies))
    names = data.KeySpecification(info_keys={"energy": "energy"}, arrays_keys={"forces": "forces"})
    for frame in atoms:
        frame.info["energy"] = frame.get_potential_energy()
        frame.arrays["forces"] = frame.get_forces()
    graphs = [
        data.AtomicData.from_config(data.config_from_atoms(frame, names), table, CUTOFF)
        for frame in atoms
    ]
    batch = torch_geometric.Batch.from_data_list(graphs).to(device)
    edges = batch.edge_index.shape[1]
    cuequivariance = CuEquivarianceConfig(
        enabled=True, layout="ir_mul", group="O3_e3nn", optimize_all=True, conv_fusion=True
    )
    residual = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=RADIAL_BASIS,
        num_polynomial_cutoff=5,
        max_ell=LMAX_FILTER,
        interaction_cls=residual,
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(table),
        hidden_irreps=o3.Irreps([(channels, (ell, (-1) ** ell)) for ell in range(LMAX_HIDDEN + 1)]),
        MLP_irreps=o3.Irreps(f"{READOUT_HIDDEN}x0e"),
        atomic_energies=np.array([energies[z] for z in table.zs]),
        avg_num_neighbors=edges / len(batch.positions),
        atomic_numbers=table.zs,
        correlation=CORRELATION,
        gate=torch.nn.functional.silu,
        radial_MLP=RADIAL_HIDDEN,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        use_reduced_cg=device == "cuda",
        cueq_config=cuequivariance if device == "cuda" else None,
    ).to(device)
    loss = modules.WeightedEnergyForcesLoss(ENERGY_WEIGHT, FORCES_WEIGHT).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, amsgrad=True)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(pred=model(batch.to_dict(), training=True), ref=batch).backward()
        optimizer.step()

    def infer() -> None:
        model(batch.to_dict())

    return {"training": train, "inference": infer}, edges


def serve(library: str, arguments: argparse.Namespace) -> None:
    """Do what each line on standard input names: a phase once, or "forget" the peak of memory."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    for name in IMPORTS[library]:
        importlib.import_module(name)
    import torch

    memory = Memory(arguments.device)
    atoms, energies = read(arguments.data, arguments.batch)
    set_up = equinet_work if library == "equinet" else mace_work
    work, edges = set_up(atoms, energies, arguments.channels, arguments.device)
    packages = [library, "torch", "e3nn"]
    if arguments.device == "cuda" and library == "mace-torch":
        packages += ["cuequivariance-torch"]
    versions = {name: metadata.version(name) for name in packages}
    about = {
        "versions": versions,
        "threads": torch.get_num_threads(),
        "edges": edges,
        "backends": backends(library, arguments.device),
    }
    answers.write(json.dumps(about) + "\n")
    for line in sys.stdin:
        phase = line.strip()
        if phase == "forget":
            memory.forget()
            continue
        start = time.perf_counter()
        work[phase]()
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        answers.write(json.dumps({"ms": 1000 * seconds, "peak_mb": memory.peak()}) + "\n")


def backends(library: str, device: str) -> dict[str, str]:
    """Name the backends that serve equinet's operations in this process."""
    if library != "equinet":
        return {}
    from equinet.ops.backends import resolve_backend

    return {op: resolve_backend(op, "auto", device) for op in ("gaunt_convolution", "gaunt_powers")}


class Memory:
    """The peak of memory above what the process holds when this is made, in MB."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._before = self._read("VmRSS")

    def forget(self) -> None:
        """Let the peak start anew."""
        if self._device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> float:
        """Return the peak since the last start."""
        if self._device == "cuda":
            import torch

            return torch.cuda.max_memory_allocated() / 2**20
        return self._read("VmHWM") - self._before

    def _read(self, field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


class Runner:
    """A process with one library, which works when it is told to."""

    def __init__(self, python: str, library: str, arguments: argparse.Namespace) -> None:
        # mace-torch draws a warning of TorchScript's from every module.
        command = [
            python,
            "-W",
            "ignore",
            __file__,
            "--serve",
            library,
            "--data",
            str(arguments.data),
        ]
        for name in ("batch", "channels", "device"):
            command += [f"--{name}", str(getattr(arguments, name))]
        self.library = library
        self._process = subprocess.Popen(  # noqa: S603 - the interpreter that the user named
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.about = self._answer()

    def call(self, phase: str) -> dict[str, float]:
        """Go through a phase once; returns its time and the peak of memory so far."""
        self._say(phase)
        return self._answer()

    def forget(self) -> None:
        """Let the peak of memory start anew."""
        self._say("forget")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"against_mace.py: {self.library} stopped; its last words are above")
        return json.loads(line)


def race(runners: list[Runner], rounds: int) -> dict[str, dict[str, Figures]]:
    """Let the runners take turns; returns the figures by phase and library."""
    found: dict[str, dict[str, Figures]] = {}
    for phase in PHASES:
        for runner in runners:
            runner.forget()
            for call in range(WARM_UP):
                # Compilers of other libraries can take minutes here; a race cut short says so.
                seconds = runner.call(phase)["ms"] / 1000
                print(
                    f"{runner.library} {phase}, call {call + 1}: {seconds:.1f} s", file=sys.stderr
                )
        turns = [[runner.call(phase) for runner in runners] for _ in range(rounds)]
        found[phase] = {}
        for runner, answers in zip(runners, zip(*turns, strict=True), strict=True):
            low, median, high = statistics.quantiles([each["ms"] for each in answers], n=4)
            found[phase][runner.library] = Figures(median, [low, high], answers[-1]["peak_mb"])
    return found


def table(found: dict[str, dict[str, Figures]]) -> str:
    """Lay out medians and peaks, and how the libraries compare."""
    rows = ["| phase | library | median | peak memory |", "|---|---|---|---|"]
    for phase, figures in found.items():
        for library, each in figures.items():
            rows.append(f"| {phase} | {library} | {each.ms:.1f} ms | {each.peak_mb:.0f} MB |")
        faster, smaller = ratios(figures)
        rows.append(f"| {phase} | ratio | {faster:.1f}× faster | {100 * smaller:.0f} % |")
    return "\n".join(rows)


def ratios(figures: dict[str, Figures]) -> tuple[float, float]:
    """How many times faster equinet is, and its memory as a fraction of the other's."""
    ours, theirs = figures.values()
    return theirs.ms / ours.ms, ours.peak_mb / theirs.peak_mb


def entries(found: dict[str, dict[str, Figures]], common: dict[str, Any]) -> list[dict[str, Any]]:
    """One entry a figure, each with everything that it depends on."""
    results = []
    for phase, figures in found.items():
        rows: list[tuple[str, str, float, str]] = []
        for library, each in figures.items():
            rows.append((f"{phase} time", library, each.ms, "ms"))
            rows.append((f"{phase} time, lower quartile", library, each.quartiles[0], "ms"))
            rows.append((f"{phase} time, upper quartile", library, each.quartiles[1], "ms"))
            rows.append((f"{phase} peak memory", library, each.peak_mb, "MB"))
        faster, smaller = ratios(figures)
        rows.append((f"{phase} speedup", "equinet", faster, "×"))
        rows.append((f"{phase} peak memory ratio", "equinet", smaller, "×"))
        results += [
            {"metric": metric, "library": library, "value": round(value, 3), "unit": unit} | common
            for metric, library, value, unit in rows
        ]
    return results


def provenance(arguments: argparse.Namespace, runners: list[Runner]) -> dict[str, Any]:
    """What all figures share."""
    from equinet.command_line import environment
    from equinet.configuration import hardware, make_stamp

    data = (arguments.data / FILE).read_bytes()
    stamp = make_stamp(seed=0, fingerprint=hashlib.sha256(data).hexdigest())
    machine = hardware()
    return {
        "rounds": arguments.rounds,
        "channels": arguments.channels,
        "batch": arguments.batch,
        "edges": runners[0].about["edges"],
        "dtype": "float32",
        "threads": runners[0].about["threads"],
        "backends": runners[0].about["backends"],
        "versions": {runner.library: runner.about["versions"] for runner in runners},
        "data": f"first {arguments.batch} frames of {FILE}",
        "data_sha256": stamp["data_fingerprint"],
        "command": " ".join(["python", *stamp["command"]]),
        "hardware": ", ".join(
            [
                f"{machine['cpu']}, {machine['cores']} cores, {machine['instructions']}",
                *(machine["gpus"] if arguments.device == "cuda" else []),
            ]
        ),
        "load_before": round(environment.load_of_others(), 2),
        "date": stamp["time"][:10],
        "commit": stamp["commit"],
        "dirty": stamp["dirty"],
        "note": arguments.note,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mace-python", help="an interpreter that has mace-torch")
    parser.add_argument("--data", type=Path, required=True, help="folder of the 3BPA files")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--batch", type=int, default=5, help="frames")
    parser.add_argument("--rounds", type=int, default=25, help="timed calls of each phase")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--note", default="", help="what else mattered, such as the cores used")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--serve", choices=IMPORTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments)
        return
    if not shutil.which(arguments.mace_python or ""):
        parser.error("--mace-python must name an interpreter; --help says how to make one")
    if not (arguments.data / FILE).is_file():
        parser.error(f"--data {arguments.data}: {FILE} is not there")
    if min(arguments.batch, arguments.channels, arguments.rounds - 1) < 1:
        parser.error("--batch and --channels must be at least 1, --rounds at least 2")
    pythons = zip(IMPORTS, (sys.executable, arguments.mace_python), strict=True)
    runners = [Runner(python, library, arguments) for library, python in pythons]
    edges = {runner.library: runner.about["edges"] for runner in runners}
    if len(set(edges.values())) > 1:
        sys.exit(f"against_mace.py: the libraries find different numbers of edges: {edges}")
    common = provenance(arguments, runners)
    found = race(runners, arguments.rounds)
    for runner in runners:
        runner.close()
    print(table(found))
    if arguments.out:
        arguments.out.write_text(json.dumps(entries(found, common), indent=1) + "\n")
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
