"""Measure how far networks on a grid of orientations are from equivariant, grid by grid.

python experiments/orientation/equivariance_error.py

Networks of three layers with 32 channels and random weights, calibrated, on clouds of eight points
drawn from a standard normal; one scalar and one vector go in, four of each come out. Root mean
squares over seeds and rotations of the difference between turning before and after, scalars
relative to their standard deviation, vectors to their root mean square. Prints a Markdown table.
"""

import argparse
import copy
from unittest import mock

import torch
from torch_geometric.data import Batch, Data

from equinet.models import Ponita
from equinet.models.graphs import ponita_spaces
from equinet.nn import axial_invariants
from equinet.testing import random_rotations

GRIDS = (
    "octahedron6",
    "icosahedron12",
    "fibonacci12",
    "fibonacci16",
    "dodecahedron20",
    "fibonacci20",
    "union32",
    "fibonacci32",
    "repulsion32",
    "repulsion64",
)
KERNELS: dict[str, dict[str, object]] = {
    "mlp, published": {"kernel": "mlp"},
    "mlp": {"kernel": "mlp"},
    **{f"zonal {lmax}": {"kernel": "zonal", "lmax": lmax} for lmax in (1, 2, 3, 4)},
}
POINTS, CLOUDS, OUTPUTS = 8, 4, 4


def cloud(generator: torch.Generator) -> Data:
    """Eight points, each joined to all others."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    pairs = (1 - torch.eye(POINTS)).nonzero().T
    return Data(x=draw(POINTS, 1), vec=draw(POINTS, 1, 3), pos=draw(POINTS, 3), edge_index=pairs)


def published_invariants(vectors: torch.Tensor, orientations: torch.Tensor) -> torch.Tensor:
    """The invariants with the distance from the axis itself, which has a kink there."""
    along, square = axial_invariants(vectors, orientations).unbind(-1)
    return torch.stack([along, square.clamp(min=0).sqrt()], dim=-1)


@torch.no_grad()
def errors(grid: str, options: dict[str, object], seed: int, rotations: int) -> torch.Tensor:
    """Squared relative errors of scalars and vectors [rotations, 2]."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    batch = Batch.from_data_list([cloud(generator) for _ in range(CLOUDS)])
    model = Ponita(
        in_scalars=1,
        in_vectors=1,
        out_scalars=OUTPUTS,
        out_vectors=OUTPUTS,
        channels=32,
        layers=3,
        grid=grid,
        **options,
    ).double()
    model.calibrate(batch)
    expected = model(batch)
    spread = expected["scalars"].std(0).square().mean()
    size = expected["vectors"].square().mean()
    found = []
    for rotation in random_rotations(rotations, generator=generator):
        turned = copy.copy(batch)
        turned.pos, turned.vec = batch.pos @ rotation.T, batch.vec @ rotation.T
        result = model(turned)
        scalars = (result["scalars"] - expected["scalars"]).square().mean() / spread
        vectors = (result["vectors"] - expected["vectors"] @ rotation.T).square().mean() / size
        found.append(torch.stack([scalars, vectors]))
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--rotations", type=int, default=8)
    arguments = parser.parse_args()
    print(f"| grid | {' | '.join(KERNELS)} |")
    print("|---" * (len(KERNELS) + 1) + "|")
    for grid in GRIDS:
        cells = []
        for name, options in KERNELS.items():
            published = name == "mlp, published"
            invariants = published_invariants if published else axial_invariants
            with mock.patch.object(ponita_spaces, "axial_invariants", invariants):
                squares = torch.cat(
                    [
                        errors(grid, options, seed, arguments.rotations)
                        for seed in range(arguments.seeds)
                    ]
                )
            scalars, vectors = squares.mean(0).sqrt().tolist()
            cells.append(f"{scalars:.1e} / {vectors:.1e}")
        print(f"| {grid} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
