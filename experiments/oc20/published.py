"""Build the published networks and let each take one training step on real frames.

python experiments/oc20/published.py FOLDER [--models equiformer_v2_l4 ...] [--frames 1]

FOLDER holds N.extxyz.xz files of OC20. Neighbors as published: the 20 nearest within 12 Å. Prints
the number of parameters, the seconds of the step and the largest memory of the process; one process
a model, or the second one's memory would be that of the first.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch_geometric.data import Batch, Data

from equinet.configuration import compose, instantiate
from equinet.data import read_frames, to_graph
from equinet.training import LossWeights, residuals

CUTOFF, NEIGHBORS = 12.0, 20


def nearest(graph: Data) -> Data:
    """Keep the nearest neighbors of every atom."""
    sender, receiver = graph.edge_index
    vectors = graph.pos[sender] - graph.pos[receiver] + graph.edge_shift @ graph.cell[0]
    distances = vectors.norm(dim=-1)
    by_distance = distances.argsort(stable=True)
    order = by_distance[receiver[by_distance].argsort(stable=True)]
    first = torch.searchsorted(receiver[order].contiguous(), torch.arange(graph.num_nodes))
    rank = torch.arange(len(order)) - first[receiver[order]]
    kept = order[rank < NEIGHBORS]
    graph.edge_index, graph.edge_shift = graph.edge_index[:, kept], graph.edge_shift[kept]
    return graph


def step(name: str, folder: Path, frames: int, overrides: list[str]) -> str:
    """Take one step and say what it cost."""
    found = read_frames(min(folder.glob("*.extxyz*")), energy_key="energy")[:frames]
    batch = Batch.from_data_list([nearest(to_graph(frame, CUTOFF)) for frame in found])
    batch.energy = torch.zeros_like(batch.energy)  # raw totals; of a step only the cost matters
    tree = compose("train", ["+experiment=oc20", f"model={name}", *overrides])
    model = instantiate(
        tree["model"],
        "model",
        elements=list(range(1, 91)),
        reference_energies=[0.0] * 90,
        average_neighbors=float(NEIGHBORS),
        cutoff=CUTOFF,
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    start = time.perf_counter()
    weights = LossWeights(2.0, 100.0, kind="absolute")
    loss = weights.loss(residuals(model(batch), batch, free_atoms_only=True))
    loss.backward()
    optimizer.step()
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    count = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"| {name} {' '.join(overrides)} | {count / 1e6:.1f} M | {batch.num_nodes} atoms, "
        f"{batch.num_edges} edges | {seconds:.0f} s | {memory:.1f} GiB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=["equiformer_v2_l4", "equiformer_v2_l6"])
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--overrides", nargs="*", default=[])
    arguments = parser.parse_args()
    if len(arguments.models) == 1:
        name = arguments.models[0]
        print(step(name, arguments.folder, arguments.frames, arguments.overrides), flush=True)
        return
    for name in arguments.models:
        command = [sys.executable, __file__, str(arguments.folder), "--models", name]
        command += ["--frames", str(arguments.frames), "--overrides", *arguments.overrides]
        subprocess.run(command, check=True)  # noqa: S603


if __name__ == "__main__":
    main()
