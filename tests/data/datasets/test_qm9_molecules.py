"""Molecules of QM9 for a denoiser: graphs without properties, histogram of sizes, extent."""

import numpy as np
import pytest
from qm9_files import write_tables

from equinet.data import QM9Molecules


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = write_tables(tmp_path_factory.mktemp("tables"))
    made = QM9Molecules(root=root, cache=tmp_path_factory.mktemp("cache"), batch_size=5)
    made.prepare()
    return made


def test_graphs_have_elements_and_positions_alone(data):
    batch = next(iter(data.train_loader()))
    assert batch.num_graphs == 5
    assert not [name for name in batch.keys() if name.startswith("y_")]  # noqa: SIM118
    assert (batch.x.sum(1) == 1).all()
    counts = np.bincount(batch.batch)
    assert batch.edge_index.shape[1] == (counts * (counts - 1)).sum()


def test_the_model_is_told_sizes_and_extent(data):
    told = data.model_arguments()
    graphs = list(data.sets.train)
    counts = np.bincount([len(graph.pos) for graph in graphs])
    np.testing.assert_allclose(told["sizes"], counts / counts.sum())
    positions = np.concatenate([graph.pos - graph.pos.mean(0) for graph in graphs])
    assert told["position_deviation"] == pytest.approx(np.sqrt((positions**2).mean()), abs=1e-3)
    assert told["elements"] == [1, 6, 7, 8, 9]
    assert told.keys() == set(data.tells)


def test_names_of_the_training_set_are_those_of_the_tables(data):
    names = data.training_inchi()
    assert len(names) == len(data.sets.train)
    assert set(names) == {"InChI=1S/CH4/h1H4"}


def test_the_description_says_how_large_molecules_are(data):
    assert "atoms; lengths in Å" in data.describe()
