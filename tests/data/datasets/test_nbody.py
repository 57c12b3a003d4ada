"""The N-body data: graphs, inputs, the cache, and files of the reference simulator."""

import logging

import numpy as np
import pytest
import torch

from equinet.data import NBody
from equinet.data.datasets.charged_particles import ParticleStates, draw_states, simulate
from equinet.data.datasets.nbody import regenerate
from equinet.errors import DataError

SIZES = {"train_size": 4, "val_size": 3, "test_size": 2}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make(cache):
    return lambda **changes: NBody(**{"cache": cache, "batch_size": 3, **SIZES, **changes})


def test_splits_follow_one_another_in_the_stream():
    found = regenerate({"train": 2, "val": 2, "test": 2})
    stream = np.random.RandomState(43)
    for name, drawn in (("train", 10_000), ("val", 2_000), ("test", 2_000)):
        start = draw_states(stream, drawn)
        first = ParticleStates(start.charges[:2], start.positions[:2], start.velocities[:2])
        now, then = simulate(first, [30, 40])
        np.testing.assert_array_equal(found[name].charges, start.charges[:2])
        np.testing.assert_array_equal(found[name].positions, now.positions)
        np.testing.assert_array_equal(found[name].velocities, now.velocities)
        np.testing.assert_array_equal(found[name].future, then.positions)


def test_graphs_are_fully_connected_and_sorted_by_receiver(make):
    graph = make().sets.train[0]
    sender, receiver = graph.edge_index
    assert receiver.tolist() == sorted(receiver.tolist())
    pairs = set(zip(sender.tolist(), receiver.tolist(), strict=True))
    assert pairs == {(i, j) for i in range(5) for j in range(5) if i != j}
    assert graph.num_edges == 20
    assert torch.equal(graph.edge_scalars[:, 0], graph.x[sender, 0] * graph.x[receiver, 0])


def test_inputs_are_what_they_are_called(make):
    graph = make().sets.val[1]
    assert set(graph.x[:, 0].tolist()) <= {-1.0, 1.0}
    torch.testing.assert_close(graph.x[:, 1], graph.vec[:, 0].norm(dim=-1))
    torch.testing.assert_close(graph.vec[:, 1], graph.pos - graph.pos.mean(dim=0))
    assert all(graph[name].dtype == torch.float64 for name in ("x", "vec", "pos", "future_pos"))


def test_published_inputs_are_charge_and_velocity(make):
    module = make(speeds=False, positions=False, charge_products=False)
    graph = module.sets.train[0]
    assert graph.x.shape == (5, 1)
    assert graph.vec.shape == (5, 1, 3)
    assert "edge_scalars" not in graph
    arguments = module.model_arguments()
    assert [arguments[f"in_{kind}"] for kind in ("scalars", "vectors", "edge_scalars")] == [1, 1, 0]
    assert "inputs charge, velocity;" in module.describe()


def test_model_arguments_fit_the_graphs(make):
    module = make()
    graph, arguments = module.sets.train[0], module.model_arguments()
    assert graph.x.shape[1] == arguments["in_scalars"]
    assert graph.vec.shape[1] == arguments["in_vectors"]
    assert graph.edge_scalars.shape[1] == arguments["in_edge_scalars"]


def test_trajectories_are_simulated_once(make, cache, monkeypatch):
    first = make()
    first.prepare()
    assert [path.name for path in (cache / "nbody-v1").iterdir()] == ["4-3-2.npy"]
    monkeypatch.setattr("equinet.data.datasets.nbody.simulate", None)
    assert make().fingerprint() == first.fingerprint()
    assert make(charge_products=False).fingerprint() != first.fingerprint()


def test_broken_cache_is_made_anew(tmp_path, caplog):
    module = NBody(cache=tmp_path, **SIZES)
    module.prepare()
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        again = NBody(cache=tmp_path, **SIZES)
        again.prepare()
    assert "making" in caplog.text
    assert again.fingerprint() == module.fingerprint()


def test_batches_are_concatenated_graphs(make):
    (batch, _) = make().train_loader()
    assert batch.num_graphs == 3
    assert batch.edge_index.shape == (2, 60)
    assert (batch.batch[batch.edge_index[0]] == batch.batch[batch.edge_index[1]]).all()


def test_files_of_the_reference_simulator(make, tmp_path):
    rng = np.random.default_rng(0)
    for split, size in (("train", 5), ("valid", 3), ("test", 2)):
        loc = rng.normal(size=(size, 49, 3, 5))
        for kind, array in (
            ("loc", loc),
            ("vel", 2 * loc),
            ("charges", np.sign(rng.normal(size=(size, 5, 1)))),
        ):
            np.save(tmp_path / f"{kind}_{split}_charged5_initvel1small.npy", array)
        if split == "train":
            expected = loc
    module = make(root=tmp_path)
    graph = module.sets.train[3]
    np.testing.assert_array_equal(graph.pos, expected[3, 30].T)
    np.testing.assert_array_equal(graph.vec[:, 0], 2 * expected[3, 30].T)
    np.testing.assert_array_equal(graph.future_pos, expected[3, 40].T)
    assert str(tmp_path) in module.describe()
    with pytest.raises(DataError, match=r"loc_train.*must have shape \[6, 49, 3, 5\]"):
        make(root=tmp_path, train_size=6).prepare()


def test_missing_files_are_named(make, tmp_path):
    with pytest.raises(DataError, match=r"data\.root: there is no folder"):
        make(root=tmp_path / "nowhere").prepare()
    with pytest.raises(DataError, match=r"loc_train_charged5_initvel1small\.npy cannot be read"):
        make(root=tmp_path).prepare()


@pytest.mark.parametrize("wrong", [{"train_size": 0}, {"val_size": 2001}, {"batch_size": 0}])
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(DataError, match=f"{next(iter(wrong))} must be"):
        NBody(**wrong)
