"""How far messages reach: the number that a model states, measured on a row of atoms."""

import pytest
import torch

from equinet.models import (
    MACE,
    Committee,
    EquiformerV2,
    Fallback,
    MACEGaunt,
    PonitaPotential,
    Potential,
)

COMMON = {"elements": [1], "cutoff": 3.0, "reference_energies": [0.0], "average_neighbors": 2.0}
EQUIFORMER = {"channels": 8, "blocks": 2, "lmax": 2, "mmax": 1, "heads": 2, "radial_basis": 8}
MODELS = {
    "mace_gaunt": lambda: MACEGaunt(**COMMON, channels=8, layers=3),
    "mace": lambda: MACE(**COMMON, channels=8),
    "bundle": lambda: PonitaPotential(**COMMON, channels=8, layers=2),
    "full": lambda: PonitaPotential(
        **COMMON, channels=8, layers=2, kernel="full", grid="octahedron6"
    ),
    "lifted": lambda: PonitaPotential(**COMMON, channels=8, layers=2, mode="lifted"),
    "position": lambda: PonitaPotential(**COMMON, channels=8, layers=3, mode="position"),
    "equiformer": lambda: EquiformerV2(**COMMON, **EQUIFORMER, forces="gradient"),
    "equiformer_direct": lambda: EquiformerV2(**COMMON, **EQUIFORMER),
    "committee": lambda: Committee.of([MACEGaunt(**COMMON, channels=8) for _ in range(2)]),
}


def reach(model: Potential) -> int:
    """Number of edges to the farthest atom that the first one's energy or force depends on."""
    count = 8
    start = torch.arange(count - 1)
    edge_index = torch.stack([torch.cat([start + 1, start]), torch.cat([start, start + 1])])
    pos = 0.3 * torch.rand(count, 3, dtype=torch.float64)
    pos[:, 0] += 2.0 * torch.arange(count)
    pos.requires_grad_()
    vectors = pos[edge_index[0]] - pos[edge_index[1]]
    species = torch.zeros(count, dtype=torch.int64)
    members = getattr(model, "members", [model])
    energies, forces = members[0].atomic_energies_and_forces(
        species, vectors, edge_index, torch.zeros_like(species), 1
    )
    value = energies[0] if forces is None else forces[0, 1]
    (slope,) = torch.autograd.grad(value, pos)
    return int(slope.abs().sum(1).nonzero().max())


@pytest.mark.parametrize("name", MODELS)
def test_energies_reach_as_far_as_the_model_says(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    for parameter in model.parameters():  # as after training: no output is zero
        torch.nn.init.normal_(parameter, std=0.3)
    assert reach(model) == model.message_passes


def test_a_choice_by_the_whole_structure_has_no_reach() -> None:
    known, other = (MACEGaunt(**COMMON, channels=4) for _ in range(2))
    assert Fallback.of(known, other, pairs=[]).message_passes is None
