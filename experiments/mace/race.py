"""Race an imported MACE against the original of mace-torch: training steps, energies and forces.

    python -m venv MACE
    MACE/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    MACE/bin/pip install mace-torch==0.3.16
    python experiments/mace/race.py --mace-python MACE/bin/python --data PATH_OF_3BPA

mace-torch makes a model with random weights and saves it, equinet imports the file, and both
evaluate it on the same graphs in float32: five frames of 3BPA for a training step (energies and
forces in the loss, Adam), one frame of 27 atoms, and a grid of molecules of about 500 atoms. Each
library runs in a process that lives for the whole race; the two take turns, one call each. Times
are processor times of one thread, which other programs on the machine disturb less than the clock.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

CUTOFF = 5.0  # Å
PHASES = ("training", "27 atoms", "513 atoms")
WARM_UP = 3


def structures(data: Path) -> dict[str, list[Any]]:
    """Read five frames, and set up a molecule and a grid of 19 molecules."""
    import ase.io
    import numpy as np

    frames = ase.io.read(data / "train_300K.xyz", ":5")
    grid = frames[0][:0]
    for place in list(np.ndindex(3, 3, 3))[:19]:
        copy = frames[0].copy()
        copy.translate(9.0 * np.array(place))
        grid += copy
    return {"training": frames, "27 atoms": frames[:1], "513 atoms": [grid]}


def mace_work(arguments: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Make and save the model, and set up the work of mace-torch."""
    import numpy as np
    import torch
    from e3nn import o3
    from mace import data, modules
    from mace.tools import AtomicNumberTable, torch_geometric

    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    channels, lmax = arguments.channels, arguments.lmax
    residual = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=residual,
        interaction_cls_first=residual,
        num_interactions=2,
        num_elements=4,
        hidden_irreps=o3.Irreps([(channels, (ell, (-1) ** ell)) for ell in range(lmax + 1)]),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(4),
        avg_num_neighbors=16.6,
        atomic_numbers=[1, 6, 7, 8],
        correlation=3,
        gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    torch.save(model, arguments.model)
    table = AtomicNumberTable([1, 6, 7, 8])
    batches = {}
    for name, atoms in structures(arguments.data).items():
        graphs = [
            data.AtomicData.from_config(data.config_from_atoms(each), table, CUTOFF)
            for each in atoms
        ]
        batches[name] = torch_geometric.Batch.from_data_list(graphs)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6, amsgrad=True)

    def train() -> Any:
        optimizer.zero_grad(set_to_none=True)
        found = model(batches["training"].to_dict(), training=True)
        (found["energy"].square().mean() + 1000 * found["forces"].square().mean()).backward()
        optimizer.step()

    def evaluate(name: str) -> Any:
        return model(batches[name].to_dict())["forces"].tolist()

    return {"training": train, **{name: partial(evaluate, name) for name in PHASES[1:]}}


def equinet_work(arguments: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Import the model, and set up the work of equinet."""
    import torch
    from torch_geometric.data import Batch

    from equinet import zoo
    from equinet.data import AtomicDataset

    model, _ = zoo.import_mace(arguments.model)
    batches = {
        name: Batch.from_data_list(list(AtomicDataset(atoms, CUTOFF)))
        for name, atoms in structures(arguments.data).items()
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6, amsgrad=True, fused=True)

    def train() -> Any:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        found = model(batches["training"])
        (found["energy"].square().mean() + 1000 * found["forces"].square().mean()).backward()
        optimizer.step()
        model.eval()

    def evaluate(name: str) -> Any:
        return model(batches[name])["forces"].tolist()

    return {"training": train, **{name: partial(evaluate, name) for name in PHASES[1:]}}


def serve(arguments: argparse.Namespace) -> None:
    """Do what each line on standard input names, and answer with its time and result."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    import torch

    torch.set_num_threads(1)
    set_up = equinet_work if arguments.serve == "equinet" else mace_work
    work = set_up(arguments)
    answers.write(json.dumps({"threads": torch.get_num_threads()}) + "\n")
    for line in sys.stdin:
        start = time.process_time()
        result = work[line.strip()]()
        seconds = time.process_time() - start
        answers.write(json.dumps({"ms": 1000 * seconds, "result": result}) + "\n")


class Runner:
    """A process with one library, which works when it is told to."""

    def __init__(self, python: str, library: str, arguments: argparse.Namespace) -> None:
        command = [python, "-W", "ignore", __file__, "--serve", library]
        for name in ("data", "model", "channels", "lmax"):
            command += [f"--{name}", str(getattr(arguments, name))]
        environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
        self.library = library
        self._process = subprocess.Popen(  # noqa: S603 - the interpreter that the user named
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._answer()

    def call(self, phase: str) -> dict[str, Any]:
        """Go through a phase once; returns its time and result."""
        assert self._process.stdin
        self._process.stdin.write(phase + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"race.py: {self.library} stopped; its last words are above")
        return json.loads(line)


def difference(ours: Any, theirs: Any) -> float:
    """Largest difference of two lists of forces."""
    pairs = zip(ours, theirs, strict=True)
    return max(abs(a - b) for x, y in pairs for a, b in zip(x, y, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mace-python", help="an interpreter that has mace-torch")
    parser.add_argument("--data", type=Path, required=True, help="folder of the 3BPA files")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--lmax", type=int, default=1, help="highest degree of the features")
    parser.add_argument("--rounds", type=int, default=5, help="timed calls of each phase")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments.model = Path(folder) / "race.model"
        theirs = Runner(arguments.mace_python, "mace-torch", arguments)
        ours = Runner(sys.executable, "equinet", arguments)
        entries = []
        for phase in ("27 atoms", "513 atoms", "training"):
            turns = []
            for turn in range(WARM_UP + arguments.rounds):
                turns.append([runner.call(phase) for runner in (ours, theirs)])
                print(phase, turn, [round(each["ms"], 1) for each in turns[-1]], file=sys.stderr)
            timed = turns[WARM_UP:]
            ms = [statistics.median(turn[i]["ms"] for turn in timed) for i in (0, 1)]
            row = {"phase": phase, "equinet": ms[0], "mace-torch": ms[1], "ratio": ms[1] / ms[0]}
            if phase != "training":
                row["largest force difference"] = difference(*(each["result"] for each in turns[0]))
            entries.append(row)
            print(json.dumps(row))
    if arguments.out:
        from equinet.configuration import hardware, make_stamp

        stamp, machine = make_stamp(seed=0, fingerprint=""), hardware()
        common = {
            "channels": arguments.channels,
            "lmax_hidden": arguments.lmax,
            "rounds": arguments.rounds,
            "dtype": "float32",
            "threads": 1,
            "unit": "ms of processor time",
            "command": " ".join(["python", *stamp["command"]]),
            "hardware": f"{machine['cpu']}, {machine['cores']} cores, {machine['instructions']}",
            "date": stamp["time"][:10],
            "commit": stamp["commit"],
            "dirty": stamp["dirty"],
        }
        rows = [
            {"metric": f"{row['phase']}, {key}", "value": value, **common}
            for row in entries
            for key, value in row.items()
            if key != "phase"
        ]
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
