"""The potential as a whole: symmetries, batching, exact derivatives, precision, bad input."""

import copy
from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data

from equinet.errors import DataError
from equinet.models import EquiformerV2, MACEGaunt, PonitaPotential

CUTOFF = 3.0
ELEMENTS = (1, 6, 8)


def model(**options: Any) -> MACEGaunt:
    torch.manual_seed(0)
    arguments = {
        "elements": ELEMENTS,
        "cutoff": CUTOFF,
        "reference_energies": (-13.6, -1029.5, -2041.9),
        "average_neighbors": 6.0,
        "scale": 0.9,
        "shift": -4.5,
        "channels": 8,
        "radial_hidden": (16, 16),
    } | options
    return MACEGaunt(**arguments).double().eval()


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


def molecule(atoms: int = 7, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pos = 2.0 * torch.randn(atoms, 3, dtype=torch.float64, generator=generator)
    numbers = torch.tensor(ELEMENTS)[torch.randint(0, 3, (atoms,), generator=generator)]
    return graph(pos, numbers)


def crystal() -> Data:
    data = molecule(5)
    cell = 4.0 * torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(3, 3, dtype=torch.float64)
    return graph(data.pos, data.atomic_numbers, cell)


@pytest.mark.parametrize("improper", [False, True])
def test_energy_is_invariant_and_forces_turn(improper: bool, random_rotation: torch.Tensor) -> None:
    rotation = -random_rotation if improper else random_rotation
    network, data = model(), molecule()
    moved = graph(data.pos @ rotation.T + torch.tensor([3.0, -1.0, 40.0]), data.atomic_numbers)
    before, after = network(data), network(moved)
    torch.testing.assert_close(after["energy"], before["energy"], rtol=0, atol=1e-10)
    torch.testing.assert_close(after["forces"], before["forces"] @ rotation.T, rtol=0, atol=1e-10)


def test_convolutions_may_be_wider_than_the_rest(random_rotation: torch.Tensor) -> None:
    network, data = model(convolution_channels=20), molecule()
    turned = graph(data.pos @ random_rotation.T, data.atomic_numbers)
    before, after = network(data)["energy"], network(turned)["energy"]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-10)
    assert network.interactions[1].up.weight.shape == (3, 8, 20)
    assert network.interactions[1].density.weight.shape == (4, 20, 8)


def test_factors_of_pairs_do_not_decay_as_matrices_do() -> None:
    network = model(pair_radial=True)
    decaying = {id(parameter) for parameter in network.weight_decay_parameters()}
    assert id(network.pairs) not in decaying
    matrices = [p for name, p in network.named_parameters() if p.ndim >= 2 and name != "pairs"]
    assert decaying == {id(parameter) for parameter in matrices}


def test_elements_whose_factors_are_zero_do_not_see_each_other() -> None:
    data = molecule(24)
    network = model(pair_radial=True)
    assert network.pairs is not None
    torch.testing.assert_close(network(data)["energy"], model()(data)["energy"])
    with torch.no_grad():
        network.pairs.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(0))
        network.pairs[0, 1] = 0.0  # hydrogen does not see carbon, carbon sees hydrogen
    sender, receiver = (data.atomic_numbers[end] for end in data.edge_index)
    kept = ~((receiver == ELEMENTS[0]) & (sender == ELEMENTS[1]))
    assert 0 < int(kept.sum()) < len(kept)
    fewer = data.clone()
    fewer.edge_index, fewer.edge_shift = data.edge_index[:, kept], data.edge_shift[kept]
    for name, value in network(data).items():
        torch.testing.assert_close(value, network(fewer)[name])
    unseen = network(data)["energy"]
    with torch.no_grad():
        network.pairs[0, 1] = 1.0
    assert bool((unseen - network(data)["energy"]).abs() > 1e-3)


def test_order_of_atoms_does_not_matter() -> None:
    network, data = model(), molecule()
    order = torch.randperm(len(data.pos))
    before, after = network(data), network(graph(data.pos[order], data.atomic_numbers[order]))
    torch.testing.assert_close(after["energy"], before["energy"], rtol=0, atol=1e-10)
    torch.testing.assert_close(after["forces"], before["forces"][order], rtol=0, atol=1e-10)


def test_batching_changes_nothing() -> None:
    network = model()
    graphs = [molecule(7, 0), molecule(1, 1), molecule(4, 2), crystal()]
    together = network(Batch.from_data_list(graphs), stress=True)
    alone = [network(data, stress=True) for data in graphs]
    for key in ("energy", "forces", "stress"):
        expected = torch.cat([result[key] for result in alone])
        torch.testing.assert_close(together[key], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("data", [molecule(), crystal()], ids=["molecule", "crystal"])
def test_forces_are_minus_the_gradient_and_sum_to_zero(data: Data) -> None:
    network = model()
    forces = network(data)["forces"]
    direction = torch.randn_like(data.pos)
    step, slope = 1e-4, 0.0
    # Five points: the third derivative of such steep energies shows at 1e-4 with two.
    for multiple, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
        moved = copy.copy(data)
        moved.pos = data.pos + multiple * step * direction
        slope += weight / step * network(moved, forces=False)["energy"].item()
    assert abs(slope + (forces * direction).sum().item()) < 1e-6
    assert forces.sum(0).abs().max() < 1e-10


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)], ids=["one hand", "other hand"])
def test_stress_is_the_strain_derivative_with_ases_sign(order: tuple[int, ...]) -> None:
    network, data = model(), crystal()
    data = graph(data.pos, data.atomic_numbers, data.cell[0][list(order)])
    stress = network(data, stress=True)["stress"][0]
    torch.testing.assert_close(stress, stress.T)
    strain = torch.randn(3, 3, dtype=torch.float64)
    strain = (strain + strain.T) / 2
    step, energies = 1e-5, []
    for sign in (1, -1):
        deformation = torch.eye(3, dtype=torch.float64) + sign * step * strain
        moved = copy.copy(data)
        moved.pos, moved.cell = data.pos @ deformation, data.cell @ deformation
        energies.append(network(moved, forces=False)["energy"].item())
    slope = (energies[0] - energies[1]) / (2 * step)
    volume = torch.linalg.det(data.cell[0]).abs()
    assert slope == pytest.approx((stress * strain).sum().item() * volume.item(), abs=1e-6)


def test_energy_is_continuous_where_a_neighbor_leaves() -> None:
    network = model()
    numbers = torch.tensor([6, 8])
    distances = [CUTOFF - 1e-3, CUTOFF - 1e-4, CUTOFF + 1e-4]
    energies = [
        network(graph(torch.tensor([[0.0, 0, 0], [d, 0, 0]], dtype=torch.float64), numbers))
        for d in distances
    ]
    inside, near, outside = (result["energy"].item() for result in energies)
    # The envelope has a triple zero, so the energy approaches the free atoms as the cube.
    assert abs(near - outside) < 2e-3 * abs(inside - outside) + 1e-12


def test_single_atom_has_reference_plus_constant_and_no_force() -> None:
    result = model()(molecule(1))
    assert torch.isfinite(result["energy"]).all()
    assert torch.equal(result["forces"], torch.zeros(1, 3, dtype=torch.float64))


def test_float32_keeps_the_reference_energies_exact() -> None:
    network, data = model(), molecule()
    exact = network(data)["energy"]
    rounded = network.float()(data)["energy"]
    assert rounded.dtype == torch.float64
    assert network.reference_energies.energies.dtype == torch.float64
    # Through float32 the total of some thousands of eV would be off by more than 1e-4.
    torch.testing.assert_close(rounded, exact, rtol=0, atol=1e-4)
    assert network(data)["forces"].dtype == torch.float64


def test_many_atoms_cost_no_digits() -> None:
    network, data = model().float(), molecule(1)
    alone = network(data)["energy"].item()
    copies = graph(10.0 * torch.arange(500.0).double().repeat(3, 1).T, torch.full((500,), 6))
    copies.atomic_numbers[:] = data.atomic_numbers[0]
    assert network(copies)["energy"].item() == pytest.approx(500 * alone, rel=1e-14)


@pytest.mark.parametrize("pair_radial", [False, True])
def test_force_loss_reaches_every_parameter(pair_radial: bool) -> None:
    network, data = model(pair_radial=pair_radial).train(), molecule()
    result = network(data)
    (result["energy"].sum() + result["forces"].square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_unknown_element_is_named() -> None:
    data = molecule()
    data.atomic_numbers[0] = 79
    with pytest.raises(DataError, match="not trained for Au; it knows H, C, O"):
        model()(data)


@pytest.mark.parametrize(
    ("name", "value", "lowest"),
    [
        ("convolution_channels", 0, 1),
        *((name, 0, 1) for name in ("channels", "layers", "correlation", "radial_basis")),
        ("radial_hidden", (16, 0), 1),
        ("lmax_filter", -1, 0),
        ("lmax_hidden", -1, 0),
    ],
)
def test_sizes_out_of_range_are_named(name: str, value: Any, lowest: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least {lowest}, found"):
        model(**{name: value})


def test_arguments_are_remembered() -> None:
    network = model()
    twin = MACEGaunt(**network.arguments).double().eval()
    twin.load_state_dict(network.state_dict())
    data = molecule()
    assert torch.equal(twin(data)["energy"], network(data)["energy"])
    assert copy.deepcopy(network).arguments == network.arguments


def test_references_must_match_elements() -> None:
    with pytest.raises(ValueError, match="one per element"):
        model(reference_energies=(1.0,))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"elements": [1, 1, 8]}, r"each element once, found 1 twice in \[1, 1, 8\]"),
        ({"elements": [-1, 6, 8]}, "atomic numbers from 1 to 118, found -1"),
        ({"elements": [0, 6, 8]}, "atomic numbers from 1 to 118, found 0"),
        ({"elements": [1, 6, 119]}, "atomic numbers from 1 to 118, found 119"),
        (
            {"average_neighbors": 0.0},
            "average_neighbors must be a finite number above 0, found 0.0",
        ),
        ({"average_neighbors": -3.0}, "average_neighbors must be a finite number above 0"),
        ({"average_neighbors": float("nan")}, "average_neighbors must be a finite number above 0"),
        ({"cutoff": -5.0}, "cutoff must be a finite number above 0"),
    ],
)
@pytest.mark.parametrize("kind", [MACEGaunt, EquiformerV2, PonitaPotential])
def test_impossible_constants_are_refused(kind: type, wrong: dict[str, Any], reason: str) -> None:
    known = {"elements": [1, 6, 8], "cutoff": 5.0, "average_neighbors": 12.0}
    with pytest.raises(ValueError, match=reason):
        kind(**{**known, "reference_energies": [0.0] * 3, **wrong})
