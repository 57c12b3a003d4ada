"""Count what a training step of the published networks computes and moves.

    python experiments/oc20/operations.py FOLDER --out experiments/oc20/operations.json

FOLDER holds S2EF files of OC20. Every network sees three frames, one after the other, forward and
backward, with the 20 nearest neighbors of every atom within 12 Å, under bfloat16 autocast. Matrix
products are counted by the precision that they are computed in, two operations a multiply-add. What
moves is what all operations other than views read and write, as if each were a kernel of its own
and no cache kept anything: an estimate for code without fusion. Both are A + B times the number of
atoms: the smallest frame and a larger one give A, of a step, and B, here times the atoms of a mean
frame; "off" is how far that is from the count of the third frame.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from provenance import provenance
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch_geometric.data import Batch

from equinet.configuration import compose, instantiate
from equinet.data import read_s2ef, to_graph
from equinet.training import LossWeights, residuals

CUTOFF, NEIGHBORS, ATOMS = 12.0, 20, 77.81317  # the last: of a mean frame of OC20, as published
MODELS = {
    "equiformer_v2_l4": ["model=equiformer_v2_l4"],
    "equiformer_v2_l6": ["model=equiformer_v2_l6"],
    "equiformer_v2_l6 model.mmax=3 model.blocks=20": [
        *("model=equiformer_v2_l6", "model.mmax=3", "model.blocks=20"),
    ],
}


class Count(TorchDispatchMode):
    """Adds up the operations of matrix products by precision, and the bytes of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given, made = tensors((args, kwargs)), tensors(out)
        if func._overloadpacket in flop_registry:  # noqa: SLF001 - as torch's own counter does
            flops = flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)  # noqa: SLF001
            self.operations[str(made[0].dtype).removeprefix("torch.")] += flops
        if not func.is_view:
            self.bytes += sum(map(size, given)) + sum(map(size, made))
        return out


def tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def size(tensor: torch.Tensor) -> int:
    """Bytes; what is repeated by a stride of zero counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def count(overrides: list[str], graph: Any) -> dict[str, float]:
    """Operations and bytes of a step on one frame."""
    tree = compose("train", ["+experiment=oc20", *overrides])
    model = instantiate(
        {**tree["model"], "alpha_dropout": 0.0, "drop_path": 0.0},
        "model",
        elements=list(range(1, 91)),
        reference_energies=[0.0] * 90,
        average_neighbors=float(NEIGHBORS),
        cutoff=CUTOFF,
    ).train()
    batch = Batch.from_data_list([graph])
    weights = LossWeights(2.0, 100.0, kind="absolute")
    with Count() as counted:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = weights.loss(residuals(model(batch), batch, free_atoms_only=True))
        loss.backward()
    found = {f"{name}_operations": float(n) for name, n in counted.operations.items()}
    return {
        **found,
        "bytes": float(counted.bytes),
        "parameters": float(sum(p.numel() for p in model.parameters())),
    }


def entries(name: str, graphs: list[Any], counts: list[dict[str, float]]) -> list[dict[str, Any]]:
    """The line through the first two frames, and how far it is from the third."""
    atoms = [graph.num_nodes for graph in graphs]
    found = []
    for metric in counts[0]:
        values = [count[metric] for count in counts]
        slope = (values[1] - values[0]) / (atoms[1] - atoms[0])
        constant = values[0] - slope * atoms[0]
        off = (constant + slope * atoms[2]) / values[2] - 1
        figures = {"a frame": slope * ATOMS, "a step": constant}
        if metric == "parameters":
            figures = {"": values[0]}
        for unit, value in figures.items():
            found.append(
                {
                    "metric": metric,
                    "implementation": name,
                    "value": float(f"{value:.5g}"),
                    "unit": f"B {unit}" if metric == "bytes" else unit,
                    "off": float(f"{off:.2g}"),
                    "atoms": atoms,
                    "edges": [graph.num_edges for graph in graphs],
                    **provenance(),
                    "command": " ".join(["python", *sys.argv]),
                }
            )
            print(name, metric, f"{value:.4g}", found[-1]["unit"], f"off {off:.2g}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    frames = sorted(read_s2ef(arguments.folder), key=len)
    graphs = [
        to_graph(frames[len(frames) * share // 100], CUTOFF, max_neighbors=NEIGHBORS)
        for share in (0, 15, 8)
    ]
    found = []
    for name, overrides in MODELS.items():
        found += entries(name, graphs, [count(overrides, graph) for graph in graphs])
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
