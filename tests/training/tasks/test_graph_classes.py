"""Telling classes apart: errors, rotations in training and in tests."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch_geometric.data import Batch, Data

from equinet.data import GraphDataset, evaluation_loader
from equinet.errors import ConfigError, DataError
from equinet.training import ClassificationErrors, ClassificationTask


class Scores(nn.Module):
    """Scores of the mean squared length, and a bias that turns with the graph."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([0.5, -0.3, 0.1], dtype=torch.float64))
        self.bias = bias
        self.seen: list[torch.Tensor] = []

    def forward(self, graph):
        self.seen.append(graph.pos)
        sums = graph.pos.new_zeros(graph.num_graphs, 2).index_add(0, graph.batch, graph.pos)
        squares = graph.pos.square().sum(-1)
        lengths = squares.new_zeros(graph.num_graphs).index_add(0, graph.batch, squares)
        return {"scalars": lengths[:, None] * self.gain + self.bias * sums[:, :1] * self.gain}


def graphs(count: int = 5) -> list[Data]:
    generator = torch.Generator().manual_seed(0)
    return [
        Data(
            pos=torch.randn(3 + index % 2, 2, generator=generator).double(),
            y=torch.tensor([index % 3]),
        )
        for index in range(count)
    ]


@pytest.fixture
def make():
    return lambda bias=0.0, **changes: ClassificationTask(
        model=Scores(bias), optimizer=partial(torch.optim.SGD, lr=0.1), **changes
    )


@pytest.fixture
def loader():
    return evaluation_loader(GraphDataset(graphs()), 3)


@pytest.mark.parametrize("bias", [0.0, 0.7])
def test_errors_by_hand(make, loader, bias):
    task = make(bias)
    found = task.evaluate(loader, torch.device("cpu"))
    whole = Batch.from_data_list(graphs())
    scores = task(whole)
    wrong = (scores.argmax(-1) != whole.y).double().mean().item()
    assert found.structures == 5
    assert found.errors["error"] == pytest.approx(100 * wrong)
    assert found.errors["accuracy"] == pytest.approx(100 - 100 * wrong)
    entropy = cross_entropy(scores, whole.y).item()
    assert found.errors["cross_entropy"] == pytest.approx(entropy)


def test_an_invariant_model_has_no_equivariance_error(make, loader):
    errors = make().evaluate(loader, torch.device("cpu")).errors
    assert errors["equivariance_error"] < 1e-14
    assert errors["error_averaged"] == errors["error"]
    assert errors["cross_entropy_averaged"] == pytest.approx(errors["cross_entropy"], rel=1e-12)
    assert make(0.7).evaluate(loader, torch.device("cpu")).errors["equivariance_error"] > 0.01


def test_every_evaluation_uses_the_same_rotations(make, loader):
    task = make(0.7)
    first, second = (task.evaluate(loader, torch.device("cpu")).errors for _ in range(2))
    assert first == second


def test_averages_are_of_probabilities():
    logits = torch.tensor([[2.0, 0.0]])
    turned = torch.tensor([[[4.0, 0.0]], [[-1.0, 0.0]]])
    errors = ClassificationErrors()
    errors.update(logits, torch.tensor([1]), turned)
    found = {name: float(value) for name, value in errors.compute().items()}
    mean = turned.softmax(-1).mean(0)
    assert found["cross_entropy_averaged"] == pytest.approx(-float(mean[0, 1].log()), rel=1e-6)
    assert found["error_averaged"] == found["error"] == 100
    # Centered scores ±1, turned ±2 and ∓1/2.
    expected = ((1.0**2 + 1.5**2) / 2) ** 0.5
    assert found["equivariance_error"] == pytest.approx(expected, rel=1e-6)


def test_a_constant_on_all_classes_means_nothing():
    errors = ClassificationErrors()
    logits = torch.randn(4, 3)
    errors.update(logits, torch.zeros(4, dtype=torch.long), logits + torch.randn(2, 4, 1))
    assert float(errors.compute()["equivariance_error"]) < 1e-6


def test_errors_do_not_depend_on_batches():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(7, 3, generator=generator)
    turned = torch.randn(4, 7, 3, generator=generator)
    labels = torch.arange(7) % 3
    whole, parts = ClassificationErrors(), ClassificationErrors()
    whole.update(logits, labels, turned)
    for rows in (slice(0, 2), slice(2, 7)):
        parts.update(logits[rows], labels[rows], turned[:, rows])
    for name, value in whole.compute().items():
        assert float(parts.compute()[name]) == pytest.approx(float(value), rel=1e-12), name


def test_a_perfect_classifier_makes_no_error():
    errors = ClassificationErrors()
    labels = torch.tensor([0, 2, 1])
    errors.update(20.0 * one_hot(labels), labels)
    found = {name: float(value) for name, value in errors.compute().items()}
    assert found["accuracy"] == 100
    assert found["loss"] == found["cross_entropy"] < 1e-8
    assert "equivariance_error" not in found


def test_training_turns_every_graph_and_keeps_the_loss_of_an_invariant_model(make, monkeypatch):
    task = make()
    monkeypatch.setattr(task, "log", lambda *_, **__: None)
    monkeypatch.setattr(task, "log_dict", lambda *_, **__: None)
    monkeypatch.setattr(ClassificationTask, "trainer", _Trainer(), raising=False)
    batch = Batch.from_data_list(graphs())
    loss = task.training_step(batch, 0)
    assert loss.item() == pytest.approx(cross_entropy(task(batch), batch.y).item())
    loss.backward()
    assert task.model.gain.grad is not None
    seen, _ = task.model.seen
    torch.testing.assert_close(seen.norm(dim=-1), batch.pos.norm(dim=-1))
    assert not torch.allclose(seen, batch.pos)
    assert set(task.pop_training_errors()) == {
        *("cross_entropy", "loss", "accuracy_percent", "error_percent")
    }


class _Trainer:
    optimizers = (torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1),)


def test_the_table_has_units(make):
    row = {"name": "test", "structures": 3, "accuracy": 98.25, "error": 1.75}
    head, units, line = make().table([row]).splitlines()
    assert "accuracy" in head
    assert "%" in units
    assert "98.25" in line


def test_graphs_without_a_class_are_refused(make):
    with pytest.raises(DataError, match="no class y"):
        make().check_data(GraphDataset([Data(pos=torch.zeros(2, 2))]))


def test_no_rotation_is_refused(make):
    with pytest.raises(ConfigError, match=r"task\.rotations must be at least 1, got 0"):
        make(rotations=0)
