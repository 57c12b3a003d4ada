"""MACE as a potential: symmetries, derivatives, precision, more elements, bad input."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from equinet import zoo
from equinet.models import MACE, extended

CUTOFF = 3.0
ELEMENTS = (1, 6, 8)


def graph(pos: torch.Tensor, numbers: torch.Tensor, cell: torch.Tensor | None = None) -> Data:
    """Brute-force neighbor graph; with a cell, all images within one repetition."""
    images = torch.zeros(1, 3, dtype=torch.float64)
    if cell is not None:
        images = torch.cartesian_prod(*[torch.arange(-1.0, 2.0, dtype=torch.float64)] * 3)
    offsets = images @ (torch.zeros(3, 3, dtype=torch.float64) if cell is None else cell)
    vectors = pos[None, :, None] - pos[:, None, None] + offsets
    near = (vectors.norm(dim=-1) < CUTOFF) & (vectors.norm(dim=-1) > 0)
    receiver, sender, image = near.nonzero().T
    return Data(
        pos=pos,
        atomic_numbers=numbers,
        cell=torch.zeros(1, 3, 3, dtype=torch.float64) if cell is None else cell[None],
        edge_index=torch.stack([sender, receiver]),
        edge_shift=images[image],
    )


def molecule(atoms: int = 7) -> Data:
    generator = torch.Generator().manual_seed(0)
    pos = 2.0 * torch.randn(atoms, 3, dtype=torch.float64, generator=generator)
    numbers = torch.tensor(ELEMENTS)[torch.randint(0, 3, (atoms,), generator=generator)]
    return graph(pos, numbers)


def crystal() -> Data:
    data = molecule(5)
    cell = 4.0 * torch.eye(3, dtype=torch.float64)
    cell[0, 1], cell[1, 2], cell[2, 2] = 0.3, -0.4, -4.2  # left-handed
    return graph(data.pos, data.atomic_numbers, cell)


def model(**options: Any) -> MACE:
    torch.manual_seed(0)
    arguments = {
        "elements": ELEMENTS,
        "cutoff": CUTOFF,
        "reference_energies": (-13.6, -1029.5, -2041.9),
        "average_neighbors": 6.0,
        "scale": 0.9,
        "shift": -4.5,
        "channels": 4,
        "radial_hidden": (8,),
        "lmax_filter": 2,
    } | options
    return MACE(**arguments).double().eval()


VARIANTS: dict[str, dict[str, Any]] = {
    "two layers": {},
    "three layers of degree two": {"layers": 3, "lmax_hidden": 2},
    "one layer": {"layers": 1},
    "without residual": {"residual_first": False, "residual": False},
    "density": {"density": True, "residual_first": False},
    "pairs": {"transformed": True, "repulsion": True},
}


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_energy_is_invariant_and_forces_rotate(
    name: str, improper: bool, random_rotation: torch.Tensor
) -> None:
    rotation = -random_rotation if improper else random_rotation
    network, data = model(**VARIANTS[name]), molecule()
    moved = graph(data.pos @ rotation.T + torch.tensor([3.0, -1.0, 40.0]), data.atomic_numbers)
    before, after = network(data), network(moved)
    assert before["forces"].abs().max() > 1e-3
    torch.testing.assert_close(after["energy"], before["energy"], rtol=0, atol=1e-10)
    torch.testing.assert_close(after["forces"], before["forces"] @ rotation.T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", VARIANTS)
def test_forces_are_minus_the_gradient(name: str) -> None:
    network, data = model(**VARIANTS[name]), crystal()
    forces = network(data)["forces"]
    direction = torch.randn_like(data.pos)
    slope = 0.0
    for multiple, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
        moved = SimpleNamespace(**data.to_dict(), batch=None)
        moved.pos = data.pos + multiple * 1e-4 * direction
        slope += weight / 1e-4 * network(moved, forces=False)["energy"].item()
    assert abs(slope + (forces * direction).sum().item()) < 1e-6


def test_losses_on_forces_can_be_differentiated() -> None:
    network = model().train()
    network(molecule())["forces"].square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_saved_model_is_the_same(tmp_path: Any) -> None:
    network = model(**VARIANTS["density"])
    zoo.save(network, tmp_path, {})
    data = molecule()
    assert torch.equal(zoo.load(tmp_path)(data)["forces"], network(data)["forces"])


def test_elements_can_be_added() -> None:
    network = model()
    more = extended(
        network,
        elements=[*ELEMENTS, 16],
        reference_energies=[*network.reference_energies.energies.tolist(), -10.0],
    )
    data = molecule()
    torch.testing.assert_close(more(data)["forces"], network(data)["forces"], rtol=0, atol=1e-12)
    data.atomic_numbers[data.atomic_numbers == 8] = 16
    assert torch.isfinite(more(data)["energy"]).all()


def test_an_order_beyond_three_is_refused() -> None:
    with pytest.raises(ValueError, match="correlation must be from 1 to 3, found 4"):
        model(correlation=4)
