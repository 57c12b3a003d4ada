"""The task of properties: units, loss, rotations of targets, and what it refuses."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from qm9_files import write_tables

from equinet.data import QM9
from equinet.errors import ConfigError, DataError
from equinet.models import Ponita
from equinet.training import PropertyTask
from equinet.training.divergence import diverged, keep_batch


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    root = write_tables(tmp_path_factory.mktemp("tables"))
    cache = tmp_path_factory.mktemp("cache")

    def made(target, *, loss="absolute", **options):
        data = QM9(root=root, cache=cache, target=target, batch_size=8)
        told = data.model_arguments()
        names = ("in_scalars", "out_scalars", "out_vectors", "level")
        torch.manual_seed(0)
        network = Ponita(
            channels=8, layers=1, **{name: told[name] for name in names}, **options
        ).double()
        optimizer = partial(torch.optim.Adam, lr=0.01)
        arguments = data.task_arguments()
        return PropertyTask(model=network, optimizer=optimizer, loss=loss, **arguments), data

    return made


def test_units_columns_and_curves_are_those_of_the_targets(make):
    task, _ = make(["alpha", "gap"])
    assert task.units["alpha_mae"] == "a0³"
    assert task.columns == (
        *("train_loss", "train_alpha_mae_a03", "train_gap_mae_meV"),
        *("val_loss", "val_alpha_mae_a03", "val_alpha_rmse_a03"),
        *("val_gap_mae_meV", "val_gap_rmse_meV"),
    )
    assert task.curves == {"alpha_mae_a03": "alpha MAE (a0³)", "gap_mae_meV": "gap MAE (meV)"}
    assert PropertyTask.__dict__.get("declared") is None


@pytest.mark.parametrize(
    ("loss", "penalty"),
    [
        ("absolute", np.abs),
        ("squared", np.square),
        ("huber", lambda x: np.where(abs(x) < 0.1, x * x / 2, 0.1 * (abs(x) - 0.05))),
    ],
)
def test_the_loss_weighs_targets_by_their_deviations(make, loss, penalty):
    task, data = make(["alpha", "gap"], loss=loss)
    graph = next(iter(data.val_loader()))
    with torch.no_grad():
        predicted = task(graph)
    parts = [
        penalty(
            (predicted[each.property.name] - graph[each.property.field]).numpy() / each.deviation
        ).mean()
        for each in task.scales
    ]
    task.validation_step(graph, 0)
    assert float(task.val_errors.compute()["loss"]) == pytest.approx(np.mean(parts), rel=1e-5)


def test_vectors_are_compared_with_targets_that_are_rotated_alike(make):
    """In lifted mode the errors of rotated molecules are those of the molecules as they are."""
    task, data = make("dipole_vector", mode="lifted")
    graph = next(iter(data.val_loader()))
    rotation = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).double()
    rotations = rotation.expand(graph.num_graphs, 3, 3)
    turned = graph.clone()
    turned.pos = graph.pos @ rotation.T
    with torch.no_grad():
        plain = task._residuals(task(graph), graph)["dipole_vector"]
        moved = task._residuals(task(turned), graph, rotations)["dipole_vector"]
    torch.testing.assert_close(moved, plain @ rotation.T)


def test_errors_in_electronvolt_are_shown_in_millielectronvolt(make):
    task, data = make("gap")
    found = task.evaluate(data.val_loader(), torch.device("cpu"))
    errors = []
    for graph in data.val_loader():
        with torch.no_grad():
            errors.append(task(graph)["gap"] - graph.y_gap)
    assert found.errors["gap_mae"] == pytest.approx(1000 * float(torch.cat(errors).abs().mean()))
    assert found.structures == len(data.sets.val)
    (panel,) = found.parity
    assert panel.label == "gap (eV)"
    np.testing.assert_allclose(panel.true, data.sets.val.of("gap"))


def test_molecules_without_the_target_are_refused(make):
    task, _ = make("gap")
    _, other = make("mu")
    with pytest.raises(DataError, match="no y_gap, which task=property predicts"):
        task.check_data(other.sets.train, other.sets.val)


def test_a_task_without_properties_is_refused(make):
    task, _ = make("gap")
    with pytest.raises(ConfigError, match="needs properties to learn"):
        PropertyTask(
            model=task.model.network,
            optimizer=partial(torch.optim.Adam, lr=0.01),
            elements=[1],
            scales=[],
        )


def test_a_batch_that_diverged_names_the_molecule_and_is_written_as_arrays(make, tmp_path):
    _, data = make("U0")
    graph = next(iter(data.train_loader()))
    graph.y_U0[1] = torch.nan
    trainer = SimpleNamespace(train_dataloader=None, current_epoch=0, global_step=3)
    error = diverged("loss", graph, 0, trainer=trainer, predicted={})
    assert "not finite for structure 1 of the batch, because of the y_U0 in the data" in str(error)
    path = tmp_path / error.file
    keep_batch(error.batch, path)
    with np.load(path) as arrays:
        assert np.isnan(arrays["y_U0"]).tolist() == [k == 1 for k in range(8)]
        np.testing.assert_array_equal(arrays["pos"], graph.pos)
