"""How far EquiformerV2 is from equivariant: python experiments/oc20/equivariance.py.

Networks with random weights, in float64, on a molecule of 12 random atoms, turned three times.
Prints the largest error of a force over the root mean square of all, for quadratures of several
degrees in the feed-forward networks, and the number of their points.
"""

import torch
from torch_geometric.data import Data

from equinet.data import Frame, to_graph
from equinet.models import EquiformerV2
from equinet.o3 import quadrature
from equinet.testing import geometry, random_rotations, vector

CUTOFF = 3.0
SIZES = ((3, 1), (3, 2), (4, 2), (6, 2))
MULTIPLES = (2, 3, 4, 6, 8)


def molecule() -> Data:
    """Twelve atoms of three kinds, some of them close."""
    generator = torch.Generator().manual_seed(0)
    pos = 2.0 * torch.randn(12, 3, dtype=torch.float64, generator=generator)
    numbers = torch.tensor([1, 6, 8])[torch.randint(0, 3, (12,), generator=generator)]
    cell = torch.zeros(3, 3, dtype=torch.float64)
    pbc = torch.zeros(3, dtype=torch.bool)
    return to_graph(
        Frame(numbers.numpy(), pos.numpy(), cell.numpy(), pbc.numpy(), source="molecule"), CUTOFF
    )


def network(lmax: int, mmax: int, grid_degree: int | None) -> EquiformerV2:
    torch.manual_seed(0)
    return (
        EquiformerV2(
            elements=[1, 6, 8],
            cutoff=CUTOFF,
            reference_energies=[0.0] * 3,
            average_neighbors=6.0,
            channels=16,
            blocks=2,
            lmax=lmax,
            mmax=mmax,
            heads=2,
            attention_hidden=8,
            alpha_channels=8,
            value_channels=8,
            feed_forward_hidden=16,
            edge_channels=16,
            radial_basis=16,
            grid_degree=grid_degree,
        )
        .double()
        .eval()
    )


@torch.no_grad()
def error(model: EquiformerV2, data: Data) -> float:
    forces = model(data)["forces"]
    worst = 0.0
    for rotation in random_rotations(3, generator=torch.Generator().manual_seed(1)):
        found = model(geometry(data, rotation))["forces"]
        worst = max(worst, float((found - vector(forces, rotation)).abs().max()))
    return worst / float(forces.square().mean().sqrt())


def main() -> None:
    data = molecule()
    print("| L, M | default | " + " | ".join(f"{multiple} L" for multiple in MULTIPLES) + " |")
    print("|" + "---|" * (2 + len(MULTIPLES)))
    for lmax, mmax in SIZES:
        cells = []
        for degree in (max(23, 4 * lmax), *(multiple * lmax for multiple in MULTIPLES)):
            points = len(quadrature(degree).weights)
            cells.append(f"{points}: {error(network(lmax, mmax, degree), data):.0e}")
        print(f"| {lmax}, {mmax} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
