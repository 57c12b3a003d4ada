import logging

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from torch_geometric.data import Batch

from equinet.data import AtomicDataset, frame_from_atoms, to_graph
from equinet.errors import DataError


def labeled(atoms, **results):
    results = {"energy": -1.0, "forces": np.ones((len(atoms), 3)), **results}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_fields_shapes_and_types(make_water):
    atoms = labeled(make_water(), stress=np.eye(3))
    atoms.cell, atoms.pbc = np.diag([4.0, 5, 6]), True
    atoms.set_tags([0, 1, 2])
    atoms.calc.atoms = atoms.copy()
    graph = AtomicDataset([atoms], 3.0)[0]
    edges = graph.edge_index.shape[1]
    expected = {
        "atomic_numbers": ((3,), torch.int64),
        "pos": ((3, 3), torch.float64),
        "cell": ((1, 3, 3), torch.float64),
        "pbc": ((1, 3), torch.bool),
        "edge_index": ((2, edges), torch.int64),
        "edge_shift": ((edges, 3), torch.float64),
        "energy": ((1,), torch.float64),
        "forces": ((3, 3), torch.float64),
        "stress": ((1, 3, 3), torch.float64),
        "tags": ((3,), torch.int64),
    }
    found = {key: (tuple(graph[key].shape), graph[key].dtype) for key in graph.keys()}  # noqa: SIM118
    assert found == expected


def test_edge_vectors_reach_the_images():
    crystal = bulk("Cu", "fcc", a=3.6)
    graph = to_graph(frame_from_atoms(crystal), 3.0)
    sender, receiver = graph.edge_index
    vectors = graph.pos[sender] - graph.pos[receiver] + graph.edge_shift @ graph.cell[0]
    assert len(vectors) == 12
    torch.testing.assert_close(
        vectors.norm(dim=1), torch.full((12,), 3.6 / 2**0.5, dtype=torch.float64)
    )


def test_batches_keep_cells_apart_and_shift_edges(make_water):
    water = labeled(make_water())
    crystal = labeled(bulk("Cu"))
    lonely = labeled(Atoms("He"))
    data = AtomicDataset([water, crystal, lonely], 3.0)
    batch = Batch.from_data_list([data[index] for index in range(3)])
    assert batch.cell.shape == (3, 3, 3)
    assert batch.energy.shape == (3,)
    assert batch.batch.tolist() == [0, 0, 0, 1, 2]
    receivers = batch.edge_index[1]
    assert (receivers.diff() >= 0).all()
    assert (batch.batch[batch.edge_index[0]] == batch.batch[receivers]).all()
    assert data.elements == (1, 2, 8, 29)
    assert data.sizes.sum() == 5
    assert data.edge_counts.sum() == batch.edge_index.shape[1]


def test_two_atoms_at_one_place_are_refused():
    with pytest.raises(DataError, match="frame: atoms 0 and 1 are at the same place"):
        to_graph(frame_from_atoms(Atoms("H2", np.zeros((2, 3)))), 3.0)


def test_partial_labels_are_refused_or_said_to_be_dropped(make_water, caplog):
    with pytest.raises(DataError, match="there are no frames"):
        AtomicDataset([], 3.0)
    with pytest.raises(DataError, match="frame 2: no energy named"):
        AtomicDataset([labeled(make_water()), make_water()], 3.0)
    with pytest.raises(DataError, match="1 of 2 frames have no energy"):
        AtomicDataset(
            [frame_from_atoms(make_water()), *AtomicDataset([labeled(make_water())], 3.0).frames],
            3.0,
        )
    stressed = AtomicDataset([labeled(make_water(), stress=np.eye(3))], 3.0).frames
    plain = AtomicDataset([labeled(make_water())], 3.0).frames
    with caplog.at_level(logging.WARNING):
        data = AtomicDataset([*stressed, *plain], 3.0)
    assert "1 of 2 frames have no stress" in caplog.text
    assert all("stress" not in data[index] for index in range(2))


def test_tags_of_some_frames_are_completed(make_water):
    tagged = make_water()
    tagged.set_tags([1, 1, 2])
    data = AtomicDataset([frame_from_atoms(make_water()), frame_from_atoms(tagged)], 3.0)
    assert data[0].tags.tolist() == [0, 0, 0]
    assert data[1].tags.tolist() == [1, 1, 2]
    assert "fixed" not in data[0]


def test_from_file(write, text):
    data = AtomicDataset.from_file(write(text()), 2.0)
    assert len(data) == 3
    assert data.name == "frames.xyz"
    assert data.fingerprint() == AtomicDataset.from_file(write(text(), "b.xyz"), 3.0).fingerprint()
    assert data.fingerprint() != AtomicDataset.from_file(write(text(2)), 2.0).fingerprint()
