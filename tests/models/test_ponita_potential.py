"""Ponita as a potential: invariance, exact forces, batching, calibration, precision."""

from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data

from equinet import zoo
from equinet.models import PonitaPotential
from equinet.nn import DepthwiseConv
from equinet.o3 import orientation_grid
from equinet.training import measure

CUTOFF = 3.0
MODES = [
    {"kernel": "mlp"},
    {"kernel": "zonal"},
    {"kernel": "full"},
    {"mode": "lifted"},
    {"mode": "position"},
]
each_mode = pytest.mark.parametrize("options", MODES, ids=lambda each: next(iter(each.values())))


def model(**options: Any) -> PonitaPotential:
    torch.manual_seed(0)
    arguments = {
        "elements": (1, 6, 8),
        "cutoff": CUTOFF,
        "reference_energies": (-13.6, -1029.5, -2041.9),
        "average_neighbors": 6.0,
        "scale": 0.9,
        "shift": -4.5,
        "channels": 8,
        "layers": 2,
    } | options
    made = PonitaPotential(**arguments).double().eval()
    made.calibrate(Batch.from_data_list([molecule(seed=seed) for seed in range(3)]))
    return made


def molecule(atoms: int = 7, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pos = 1.5 * torch.randn(atoms, 3, dtype=torch.float64, generator=generator)
    distances = torch.cdist(pos, pos)
    receiver, sender = ((distances < CUTOFF) & (distances > 0)).nonzero().T
    return Data(
        pos=pos,
        atomic_numbers=torch.tensor([1, 6, 8])[torch.randint(3, (atoms,), generator=generator)],
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        edge_index=torch.stack([sender, receiver]),
        edge_shift=torch.zeros(len(sender), 3, dtype=torch.float64),
    )


@each_mode
def test_symmetries_and_exact_forces(options):
    made = model(**options)
    # The check turns by the symmetries that the model names.
    found = measure(made, molecule())
    assert found.force_scale > 1e-3
    assert max(found.rotation_energy, found.rotation_forces, found.gradient) < 1e-8
    assert (made.symmetry is None) == ("mode" in options)


def test_a_bundle_names_the_symmetries_of_its_grid():
    for grid in ("octahedron6", "fibonacci5"):
        expected = orientation_grid(grid).symmetry
        torch.testing.assert_close(model(grid=grid, lmax=1).symmetry, expected)


def test_other_rotations_change_the_energy_of_a_coarse_grid(random_rotation):
    made, graph = model(grid="octahedron6"), molecule()
    before = made(graph)["energy"].item()
    graph.pos = graph.pos @ random_rotation.T
    change = abs(made(graph)["energy"].item() - before)
    assert 1e-9 < change < 0.1


@each_mode
def test_a_batch_is_its_graphs(options):
    made = model(**options)
    graphs = [molecule(atoms, atoms) for atoms in (7, 4)]
    joint = made(Batch.from_data_list(graphs))
    for name in ("energy", "forces"):
        single = torch.cat([made(graph)[name] for graph in graphs])
        torch.testing.assert_close(joint[name], single, rtol=1e-12, atol=1e-10)


def test_an_atom_alone_has_an_energy_and_no_force():
    graph = molecule(1)
    found = model()(graph)
    assert torch.isfinite(found["energy"]).all()
    assert found["forces"].abs().max() == 0


@each_mode
@pytest.mark.parametrize("atoms", [1, 4])
def test_energy_and_forces_are_continuous_where_a_neighbor_crosses_the_cutoff(options, atoms):
    made = model(**options)
    cluster = torch.tensor(
        [[0.0, 0.0, 0.0], [0.9, 0.3, 0.1], [0.2, 1.1, 0.3], [0.4, -0.5, 0.8]], dtype=torch.float64
    )[:atoms]
    found = []
    for distance in (CUTOFF - 1e-5, CUTOFF + 1e-5):
        pos = torch.cat([cluster, cluster.new_tensor([[-distance, 0.0, 0.0]])])
        distances = torch.cdist(pos, pos)
        edges = ((distances < CUTOFF) & (distances > 0)).nonzero().T
        graph = Data(
            pos=pos,
            atomic_numbers=torch.tensor([1, 6, 8, 1])[:atoms].repeat(2)[: atoms + 1],
            cell=torch.zeros(1, 3, 3, dtype=torch.float64),
            edge_index=edges,
            edge_shift=torch.zeros(edges.shape[1], 3, dtype=torch.float64),
        )
        found.append(made(graph))
    for name in ("energy", "forces"):
        torch.testing.assert_close(found[0][name], found[1][name], rtol=0, atol=1e-9)


def test_forces_vanish_smoothly_at_the_cutoff():
    made = model()
    energies = []
    for distance in (CUTOFF - 1e-4, CUTOFF + 1e-4):
        graph = molecule(2)
        graph.pos = torch.tensor([[0.0, 0, 0], [distance, 0, 0]], dtype=torch.float64)
        near = distance < CUTOFF
        graph.edge_index = torch.tensor([[1, 0], [0, 1]])[:, : 2 * near]
        graph.edge_shift = torch.zeros(2 * near, 3, dtype=torch.float64)
        energies.append(made(graph)["energy"].item())
    assert abs(energies[0] - energies[1]) < 1e-9


def test_average_neighbors_scales_the_sums_until_calibration():
    few, many = (
        [
            module.neighbor_weights
            for module in PonitaPotential(
                elements=[1],
                cutoff=CUTOFF,
                reference_energies=[0.0],
                average_neighbors=neighbors,
                channels=4,
                layers=2,
            ).modules()
            if isinstance(module, DepthwiseConv)
        ]
        for neighbors in _seeded(4.0, 16.0)
    )
    assert len(few) == 2
    for first, second in zip(few, many, strict=True):
        torch.testing.assert_close(first, 2 * second)


def _seeded(*values: float):
    for value in values:
        torch.manual_seed(0)
        yield value


def test_saved_and_loaded(tmp_path):
    made = model().float()
    zoo.save(made, tmp_path, {"data": "none"})
    loaded = zoo.load(tmp_path)
    assert isinstance(loaded, PonitaPotential)
    # Tables are made in float64, and the cast of a whole model rounds them: cast both.
    assert torch.equal(loaded.float()(molecule())["energy"], made(molecule())["energy"])
