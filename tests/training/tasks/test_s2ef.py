"""OC20's own errors beside the loss."""

from functools import partial

import pytest
import torch

from equinet.data import evaluation_loader
from equinet.evaluation.oc20.errors import S2EFErrors
from equinet.training import S2EFTask


@pytest.fixture
def task(make_model):
    return S2EFTask(model=make_model().double(), optimizer=partial(torch.optim.SGD, lr=0.1)).eval()


def expected(task, graphs):
    errors = S2EFErrors()
    for graph in graphs:
        errors.update(task(graph), graph)
    return {name: float(value) for name, value in errors.compute().items()}


def test_validation_sums_the_errors_of_all_batches_and_starts_afresh(task, tiny_data):
    graphs = list(evaluation_loader(tiny_data.val, 3))
    assert [graph.num_graphs for graph in graphs] == [3, 1]
    for _ in range(2):
        for index, graph in enumerate(graphs):
            task.validation_step(graph, index)
        found = task.pop_validation_errors()
        for name, value in expected(task, graphs).items():
            assert float(found[name]) == pytest.approx(value, rel=1e-9), name
    # The loss is that of the errors shown, in eV: 2 |ΔE| and 100 ‖ΔF‖, means.
    lengths = torch.cat([task.errors(graph).forces.norm(dim=1) for graph in graphs])
    loss = 2 * found["energy_mae"] / 1000 + 100 * lengths.mean()
    assert float(found["loss"]) == pytest.approx(float(loss), rel=1e-9)


def test_evaluation_finds_what_validation_does_and_shows_the_four_errors(task, tiny_data):
    loader = evaluation_loader(tiny_data.val, 3)
    found = task.evaluate(loader, torch.device("cpu"))
    assert found.structures == 4
    for name, value in expected(task, loader).items():
        assert found.errors[name] == pytest.approx(value, rel=1e-9), name
    head, units, _ = task.table([{"name": "val", "structures": 4, **found.errors}]).splitlines()
    assert head.split() == ["set", "structures", "E", "MAE", "F", "MAE", "F", "cosine", "EFwT"]
    assert units.split() == ["meV", "meV/Å", "%"]


def test_ranking_errors_are_on_free_atoms_whatever_the_loss_is_on(make_model, batch):
    losses, ranking = [], []
    for only in (True, False):
        task = S2EFTask(model=make_model(), optimizer=torch.optim.SGD, free_atoms_only=only).eval()
        task.validation_step(batch, 0)
        values = task.pop_validation_errors()
        losses.append(float(values["loss"]))
        ranking.append(float(values["forces_mae"]))
    assert losses[0] != losses[1]
    assert ranking[0] == ranking[1]


def test_every_column_has_an_error_behind_it(task, batch):
    task.train_errors.update(task.errors(batch))
    task.validation_step(batch, 0)
    columns = {f"train_{name}" for name in task.pop_training_errors()}
    columns |= {f"val_{task.column(name)}" for name in task.pop_validation_errors()}
    assert set(task.columns) <= columns
    assert {f"val_{name}" for name in task.shown} | {f"val_{name}" for name in task.curves} <= set(
        task.columns
    )
