"""Two processes with a part of the batch each have the gradients of one that has it all.

The parts are uneven in structures, atoms and free atoms, so that a mean of the processes' own means
would be another gradient. Both are real processes, joined by gloo and averaged by torch's DDP.
"""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch_geometric.data import Batch

from equinet.data import to_graph
from equinet.models import EquiformerV2, MACEGaunt
from equinet.training import PotentialTask, RelaxedEnergyTask

TESTS = Path(__file__).resolve().parents[2]
KNOWN = {
    "elements": [6, 8, 29],
    "cutoff": 3.5,
    "reference_energies": [-1.0, -2.0, -3.0],
    "average_neighbors": 12.0,
    "scale": 0.5,
}
OC20_LOSS = {"loss": "absolute", "free_atoms_only": True, "energy_weight": 2.0}
CASES = {
    "oc20": OC20_LOSS,
    "oc20, nothing free on one": OC20_LOSS,
    "squared, with stress": {"stress_weight": 3.0},
    "is2re": {},
}
SPLIT = 2  # the first process has two of the five structures


def structures(case):
    """Five slabs of 6 to 14 atoms, with 2 to 8 of them free."""
    from oc20_files import slab

    graphs = []
    for place, metals in enumerate((4, 12, 7, 5, 9)):
        graph = to_graph(slab(place, metals=metals), KNOWN["cutoff"])
        graph.stress = torch.randn(
            1, 3, 3, generator=torch.Generator().manual_seed(place), dtype=torch.float64
        )
        if case == "oc20, nothing free on one" and place < SPLIT:
            graph.fixed = torch.ones_like(graph.fixed)
        graphs.append(graph)
    return graphs


class Step(nn.Module):
    """The training step of a task as a module, for DDP to wrap as Lightning does."""

    def __init__(self, case):
        super().__init__()
        torch.manual_seed(7)
        if "stress" in case:
            sizes = {"channels": 3, "layers": 1, "lmax_filter": 1, "lmax_hidden": 1}
            model = MACEGaunt(**KNOWN, **sizes, correlation=2, radial_hidden=(4,))
        else:
            sizes = {"channels": 4, "blocks": 1, "lmax": 2, "heads": 2, "attention_hidden": 4}
            sizes["forces"] = "gradient" if case == "is2re" else "direct"
            model = EquiformerV2(**KNOWN, **sizes, edge_channels=4, radial_basis=8)
        optimizer = partial(torch.optim.SGD, lr=0.1)
        kind, options = PotentialTask, {"early_energy_weight": None}  # no trainer has a budget
        if case == "is2re":
            kind, options = RelaxedEnergyTask, {}
        self.task = kind(model=model.double(), optimizer=optimizer, **options, **CASES[case])
        rate = SimpleNamespace(param_groups=[{"lr": 0.1}])
        # What the step tells Lightning, which is not there.
        object.__setattr__(self.task, "log", lambda *_, **__: None)
        object.__setattr__(self.task, "log_dict", lambda *_, **__: None)
        object.__setattr__(self.task, "_trainer", SimpleNamespace(optimizers=[rate]))

    def forward(self, graph):
        return self.task.training_step(graph, 0)


def gradients(step):
    return {name: p.grad.clone() for name, p in step.task.named_parameters()}


def run_process(rank, folder):
    """One of the two processes: all cases, one after another."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    for number, case in enumerate(CASES):
        graphs = structures(case)
        step = Step(case)
        mine = graphs[:SPLIT] if rank == 0 else graphs[SPLIT:]
        joined = DistributedDataParallel(step)  # kept: gradients are averaged as long as it lives
        joined(Batch.from_data_list(mine)).backward()
        torch.save(gradients(step), f"{folder}/{number}_{rank}.pt")
    distributed.barrier()
    os._exit(0)  # taking the group down may wait for ever for a process that was faster


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have left their gradients."""
    folder = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        # The first to fail leaves the other waiting, so that one speaks first.
        while all(process.poll() is None for process in started):
            time.sleep(0.2)
        for process in sorted(started, key=lambda each: each.poll() is None):
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stderr.close()
    return folder


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_whole_batch(folder, case):
    graphs = structures(case)
    free = [int((~graph.fixed).sum()) for graph in graphs]
    assert sum(free[:SPLIT]) * (len(graphs) - SPLIT) != sum(free[SPLIT:]) * SPLIT
    step = Step(case)
    step(Batch.from_data_list(graphs)).backward()
    expected = gradients(step)
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    assert scale > 1e-3
    for rank in (0, 1):
        found = torch.load(folder / f"{list(CASES).index(case)}_{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12 * scale)


if __name__ == "__main__":
    run_process(int(sys.argv[1]), sys.argv[2])
