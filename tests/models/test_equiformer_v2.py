"""EquiformerV2: size as published, symmetries, both kinds of forces, regularization."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import fcc111, molecule
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from equinet.data import frame_from_atoms, read_frames, to_graph
from equinet.models import EquiformerV2
from equinet.nn import SelfMix
from equinet.testing import (
    Tolerance,
    assert_conservative,
    assert_equivariant,
    geometry,
    invariant,
    matrix,
    vector,
)

CUTOFF = 3.5
ELEMENTS = (1, 6, 8, 29)
MIXINGS = ("none", "cg", "gaunt", "gaunt+odd")
# What the quadrature of the activations on the sphere leaves in any precision.
GRID = Tolerance(double=1e-4, single=1e-4, half=1e-1)
ROUNDING = {"rtol": 0, "atol": 1e-10}


def model(**options: Any) -> EquiformerV2:
    """A small model whose energy is of the order of one, without reference energies."""
    torch.manual_seed(0)
    arguments = {
        "elements": ELEMENTS,
        "cutoff": CUTOFF,
        "reference_energies": (0.0,) * 4,
        "average_neighbors": 9.0,
        "channels": 8,
        "blocks": 2,
        "lmax": 3,
        "mmax": 2,
        "heads": 2,
        "attention_hidden": 6,
        "alpha_channels": 4,
        "value_channels": 5,
        "feed_forward_hidden": 8,
        "edge_channels": 8,
        "radial_basis": 8,
    } | options
    network = EquiformerV2(**arguments).double().eval()
    for module in network.modules():
        if isinstance(module, SelfMix):  # it starts at zero and would take no part
            nn.init.normal_(module.out.weight, std=0.3)
    return network


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 2), vacuum=6.0) + Atoms("CO", [[1.3, 0.8, 9.9], [1.4, 0.9, 11.0]])
    atoms.pbc = True
    atoms.rattle(0.1, seed=1)
    return atoms


def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=2)
    return atoms


def graph(atoms: Atoms) -> Data:
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return to_graph(frame_from_atoms(bare), CUTOFF)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], **tolerance: float) -> None:
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, **tolerance, msg=lambda m, key=key: key + m)


# --- size ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "published"),
    [
        ({}, 83.2e6),
        ({"lmax": 4}, 44.8e6),
        ({"lmax": 8}, 134.3e6),
        ({"mmax": 3}, 95.1e6),
        ({"mmax": 6}, 106.6e6),
    ],
)
def test_is_as_large_as_published(sizes: dict[str, int], published: float) -> None:
    with torch.device("meta"):
        network = EquiformerV2(
            elements=list(range(1, 91)),
            cutoff=12.0,
            reference_energies=[0.0] * 90,
            average_neighbors=20.0,
            **sizes,
        )
    count = sum(parameter.numel() for parameter in network.parameters())
    # The published energy head is a feed-forward network of which only degree zero has an effect;
    # here the rest is not there.
    assert count == pytest.approx(published, rel=3e-3)


# --- symmetries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("selfmix", MIXINGS)
@pytest.mark.parametrize("forces", ["direct", "gradient"])
def test_turns_with_the_structure(selfmix: str, forces: str) -> None:
    network = model(selfmix=selfmix, forces=forces)
    out = {"energy": invariant, "forces": vector}
    for atoms in (slab(), ethanol()):
        assert_equivariant(network, [graph(atoms)], [geometry], out, improper=False, tolerance=GRID)


def test_only_the_quadrature_breaks_equivariance() -> None:
    """A finer one in the feed-forward network leaves what the azimuths of the edges do."""
    data, errors = graph(ethanol()), []
    for degree in (9, 15, 41):
        network = model(grid_degree=degree)
        turned = geometry(data, ROTATION)
        before, after = network(data)["forces"], network(turned)["forces"]
        error = (after - vector(before, ROTATION)).abs().max() / before.abs().max()
        errors.append(float(error.detach()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-3
    assert errors[2] < 1e-5


ROTATION = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(5)).double())[
    0
]
ROTATION = ROTATION * torch.linalg.det(ROTATION)


def test_stress_turns_with_the_structure() -> None:
    network = model(forces="gradient")
    assert_equivariant(
        lambda data: network(data, stress=True),
        [graph(slab())],
        [geometry],
        {"stress": matrix},
        improper=False,
        tolerance=GRID,
    )


def test_edges_along_the_axes_are_nothing_special() -> None:
    """Frames are singular or flip on some directions, which crystals are fond of."""
    network = model()
    atoms = Atoms("CHHHHHH", [[0, 0, 0], *1.1 * np.eye(3), *-1.2 * np.eye(3)])
    assert_equivariant(
        network,
        [graph(atoms)],
        [geometry],
        {"energy": invariant, "forces": vector},
        improper=False,
        tolerance=GRID,
    )


def test_order_of_atoms_does_not_matter() -> None:
    network, atoms = model(selfmix="gaunt+odd"), slab()
    order = np.random.default_rng(0).permutation(len(atoms))
    before, after = network(graph(atoms)), network(graph(atoms[order]))
    assert_same(after, before | {"forces": before["forces"][order]}, **ROUNDING)


@pytest.mark.parametrize("forces", ["direct", "gradient"])
def test_place_and_choice_of_cell_do_not_matter(forces: str) -> None:
    network, atoms = model(forces=forces), slab()
    before = network(graph(atoms))
    moved = atoms.copy()
    moved.positions += [3.0, -1.0, 2.0]
    moved.wrap()
    assert_same(network(graph(moved)), before, **ROUNDING)
    sheared = atoms.copy()
    sheared.set_cell(np.array([[1, 1, 0], [0, 1, 0], [2, -1, 1]]) @ atoms.cell.array)
    assert_same(network(graph(sheared)), before, **ROUNDING)


def test_a_supercell_is_so_many_cells() -> None:
    network, atoms = model(), slab()
    once, twice = network(graph(atoms)), network(graph(atoms * (2, 1, 1)))
    expected = {"energy": 2 * once["energy"], "forces": once["forces"].repeat(2, 1)}
    assert_same(twice, expected, **ROUNDING)


def test_batching_changes_nothing() -> None:
    network = model(selfmix="gaunt").float()
    graphs = [graph(each) for each in (slab(), Atoms("H"), ethanol())]
    together = network(Batch.from_data_list(graphs))
    alone = [network(data) for data in graphs]
    for key in ("energy", "forces"):
        expected = torch.cat([result[key] for result in alone])
        error = (together[key] - expected).abs().max() / expected.abs().max()
        assert error < 1e-5


# --- real frames, in float32 ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames(shared_data: Path) -> list[Atoms]:
    """Three adsorbates on slabs of OC20."""
    found = read_frames(shared_data / "oc20" / "s2ef_val_id" / "0.extxyz.xz", energy_key="energy")
    return [
        Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc) for frame in found[:3]
    ]


@pytest.fixture(scope="module", params=["direct", "gradient"])
def real_model(request: Any, frames: list[Atoms]) -> EquiformerV2:
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    return model(
        elements=elements,
        reference_energies=(0.0,) * len(elements),
        average_neighbors=15.0,
        selfmix="gaunt",
        forces=request.param,
        channels=16,
        envelope=True,
    ).float()


def evaluate(network: EquiformerV2, graphs: list[Data]) -> dict[str, Tensor]:
    batch = Batch.from_data_list(graphs)
    found = network(batch, stress=network.conservative)
    return {key: value.detach() for key, value in found.items()}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for key, value in expected.items():
        error = (found[key] - value).abs().max() / value.abs().max()
        assert error < 1e-4, key


def test_real_frames_turn(real_model: EquiformerV2, frames: list[Atoms]) -> None:
    graphs = [graph(atoms) for atoms in frames]
    expected = evaluate(real_model, graphs)
    expected["forces"] = vector(expected["forces"], ROTATION)
    if "stress" in expected:
        expected["stress"] = matrix(expected["stress"], ROTATION)
    assert_close(evaluate(real_model, [geometry(data, ROTATION) for data in graphs]), expected)


def test_real_frames_may_be_written_otherwise(
    real_model: EquiformerV2, frames: list[Atoms]
) -> None:
    """Atoms in another order, moved and wrapped, and other vectors of the same lattice."""
    expected = evaluate(real_model, [graph(atoms) for atoms in frames])
    rng, others, orders, start = np.random.default_rng(0), [], [], 0
    for atoms in frames:
        order = rng.permutation(len(atoms))
        other = atoms[order]
        other.set_cell(np.array([[1, 1, 0], [0, 1, 0], [2, -1, 1]]) @ other.cell.array)
        other.positions += [3.0, -1.0, 2.0]
        other.wrap()
        others.append(graph(other))
        orders.append(torch.from_numpy(order) + start)
        start += len(atoms)
    expected["forces"] = expected["forces"][torch.cat(orders)]
    assert_close(evaluate(real_model, others), expected)


def test_real_frames_do_not_depend_on_their_batch(
    real_model: EquiformerV2, frames: list[Atoms]
) -> None:
    graphs = [graph(atoms) for atoms in frames]
    alone = [evaluate(real_model, [data]) for data in graphs]
    expected = {key: torch.cat([each[key] for each in alone]) for key in alone[0]}
    assert_close(evaluate(real_model, graphs), expected)


# --- forces -------------------------------------------------------------------------------------


@pytest.mark.parametrize("selfmix", MIXINGS)
def test_gradient_forces_are_the_gradient(selfmix: str) -> None:
    network = model(selfmix=selfmix, forces="gradient")
    assert network.conservative
    for atoms in (slab(), ethanol()):
        assert_conservative(network, graph(atoms), components=6)


def test_direct_forces_are_no_gradient_and_have_no_stress() -> None:
    network, data = model(), graph(ethanol())
    assert not network.conservative
    forces = network(data)["forces"]
    assert forces.sum(0).abs().max() > 1e-3
    with pytest.raises(AssertionError):
        assert_conservative(network, data)
    with pytest.raises(ValueError, match=r"the forces of this EquiformerV2 are no gradient"):
        network(data, stress=True)


def test_a_mirror_image_may_differ() -> None:
    network, data = model(), graph(ethanol())
    assert not network.mirror_symmetric
    mirrored = geometry(data, -torch.eye(3, dtype=torch.float64))
    assert (network(mirrored)["energy"] - network(data)["energy"]).abs() > 1e-4


@pytest.mark.parametrize(("envelope", "jumps"), [(True, False), (False, True)])
def test_the_envelope_lets_neighbors_leave_without_a_jump(envelope: bool, jumps: bool) -> None:
    network = model(envelope=envelope)

    def energy(distance: float) -> float:
        atoms = Atoms("COH", [[0, 0, 0], [1.1, 0, 0], [0, distance, 0]])
        return network(graph(atoms))["energy"].item()

    # The hydrogen is within reach of carbon alone.
    inside, near, outside = (energy(CUTOFF + step) for step in (-1e-1, -1e-4, 1e-4))
    change = abs(near - outside) / abs(inside - outside)
    assert (change > 0.1) == jumps
    assert jumps or change < 1e-5


# --- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("selfmix", MIXINGS)
@pytest.mark.parametrize("forces", ["direct", "gradient"])
def test_every_parameter_is_trained(selfmix: str, forces: str) -> None:
    network = model(selfmix=selfmix, forces=forces, mmax=1).train()
    data = graph(slab())
    result = network(data)
    (result["energy"].sum() + result["forces"].square().sum()).backward()
    # Of the force head degree one alone is used, and from the last block on energies need degree
    # zero alone.
    in_part = ("force.",) if forces == "direct" else ("blocks.1.", "norm.")
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        if not name.startswith(in_part):
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("forces", ["direct", "gradient"])
def test_checkpointing_changes_nothing(forces: str) -> None:
    network = model(forces=forces, alpha_dropout=0.2, drop_path=0.2).train()
    data = Batch.from_data_list([graph(ethanol()), graph(slab())])
    gradients = []
    for network.checkpointing in (False, True):
        network.zero_grad()
        torch.manual_seed(1)
        result = network(data)
        (result["energy"].sum() + result["forces"].square().sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=1e-9, atol=1e-12)


def test_regularization_acts_in_training_alone() -> None:
    network, data = model(alpha_dropout=0.2, drop_path=0.3), graph(slab())
    assert_same(network(data), network(data), rtol=0, atol=0)
    network.train()
    energies = {network(data)["energy"].item() for _ in range(4)}
    assert len(energies) > 1


def test_starts_as_it_would_without_selfmix() -> None:
    networks = []
    for selfmix in MIXINGS:
        network = model(selfmix=selfmix)
        for module in network.modules():
            if isinstance(module, SelfMix):
                nn.init.zeros_(module.out.weight)
        networks.append(network)
    first, *others = networks
    data, state = graph(slab()), first.state_dict()
    for other in others:
        other.load_state_dict(state, strict=False)
        assert_same(other(data), first(data), **ROUNDING)


@pytest.mark.parametrize("blocks", [1, 8])
def test_features_keep_their_size_at_the_start(blocks: int) -> None:
    network = model(blocks=blocks, channels=32)
    sizes = []
    network.norm.register_forward_pre_hook(lambda _, x: sizes.append(x[0].square().mean((0, 2))))
    network(graph(slab()))
    assert sizes[0].max() < 5 * blocks


def test_decaying_parameters_are_the_linear_maps() -> None:
    network = model(selfmix="gaunt")
    decaying = {id(parameter) for parameter in network.weight_decay_parameters()}
    names = {name for name, each in network.named_parameters() if id(each) not in decaying}
    assert not any("zonal.weight" in name or "orders" in name for name in names)
    assert all(any(key in name for key in ("bias", "norm", "alpha", "product")) for name in names)


# --- precision ----------------------------------------------------------------------------------


def test_float32_agrees_with_float64() -> None:
    network, data = model(selfmix="gaunt+odd"), graph(slab())
    exact = network(data)
    rounded = copy.deepcopy(network).float()(data)
    assert rounded["energy"].dtype == torch.float64
    for key, value in exact.items():
        assert (rounded[key] - value).abs().max() < 1e-4 * value.abs().max()


def test_autocast_rounds_layers_but_not_the_geometry() -> None:
    network, data = model(selfmix="gaunt").float(), graph(slab())
    exact = network(data)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(data)
    for key, value in exact.items():
        error = (rounded[key] - value).abs().max() / value.abs().max()
        assert 0 < error < 0.1


# --- use ----------------------------------------------------------------------------------------


def test_an_atom_alone_has_no_forces_but_an_energy() -> None:
    result = model()(graph(Atoms("H")))
    assert torch.isfinite(result["energy"]).all()
    assert result["forces"].abs().max() < 1e-12


def test_arguments_are_remembered() -> None:
    network = model(selfmix="gaunt")
    twin = EquiformerV2(**network.arguments).double().eval()
    twin.load_state_dict(network.state_dict())
    assert_same(twin(graph(slab())), network(graph(slab())), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"lmax": 0}, "lmax must be at least 1, found 0"),
        ({"mmax": 4}, "mmax must lie between 0 and lmax = 3, found 4"),
        ({"blocks": 0}, "blocks must be at least 1, found 0"),
        ({"selfmix_channels": 0}, "selfmix_channels must be at least 1, found 0"),
        ({"radial_basis": 1}, "size must be at least 2, found 1"),
        ({"drop_path": 1.0}, "rate must be at least 0 and below 1, found 1.0"),
        ({"selfmix": "odd"}, "selfmix must be one of none, cg, gaunt, gaunt\\+odd, found 'odd'"),
        ({"forces": "both"}, "forces must be one of direct, gradient, found 'both'"),
        ({"average_atoms": 0.0}, "average_atoms must be a finite number above 0, found 0.0"),
    ],
)
def test_sizes_out_of_range_are_named(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**option)


def test_the_embedding_of_neighbors_is_divided_by_the_root_of_their_number() -> None:
    """The sum over n neighbors of random signs grows as the root of n."""
    graph = to_graph(frame_from_atoms(ethanol()), CUTOFF)
    embedded = []
    for neighbors in (4.0, 16.0):
        network = model(average_neighbors=neighbors)
        nn.init.zeros_(network.atoms.weight)
        network.blocks[0].register_forward_pre_hook(lambda _, args: embedded.append(args[0]))
        network(Batch.from_data_list([graph]))
    torch.testing.assert_close(embedded[0], 2 * embedded[1])
    assert embedded[0].abs().max() > 0
