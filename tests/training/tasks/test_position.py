"""Predicting positions: errors, rotations in training and in tests."""

from functools import partial

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data

from equinet.data import GraphDataset, evaluation_loader
from equinet.errors import ConfigError, DataError
from equinet.training import PositionErrors, PositionTask


class Drift(nn.Module):
    """Displacements ``gain * vec + bias``: they turn with the graph where the bias is zero."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.bias = bias * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        self.seen: list[torch.Tensor] = []

    def forward(self, graph):
        self.seen.append(graph.pos)
        return {"vectors": self.gain * graph.vec + self.bias}


def graphs(count: int = 4) -> list[Data]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for index in range(count):
        pos, vec, noise = torch.randn(3, 3 + index % 2, 3, generator=generator).double()
        made.append(Data(pos=pos, vec=vec[:, None], future_pos=pos + vec + 0.1 * noise))
    return made


@pytest.fixture
def make():
    return lambda bias=0.0, **changes: PositionTask(
        model=Drift(bias), optimizer=partial(torch.optim.SGD, lr=0.1), **changes
    )


@pytest.fixture
def loader():
    return evaluation_loader(GraphDataset(graphs()), 3)


def displacement_errors(bias: float) -> torch.Tensor:
    whole = Batch.from_data_list(graphs())
    offset = bias * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    return 0.5 * whole.vec[:, 0] + offset - (whole.future_pos - whole.pos)


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_errors_by_hand(make, loader, bias):
    found = make(bias).evaluate(loader, torch.device("cpu"))
    assert found.structures == 4
    assert found.errors.keys() == {"mse", "mse_averaged", "equivariance_error"}
    assert found.errors["mse"] == pytest.approx(float(displacement_errors(bias).square().mean()))


def test_an_equivariant_model_has_no_equivariance_error(make, loader):
    errors = make().evaluate(loader, torch.device("cpu")).errors
    assert errors["equivariance_error"] < 1e-14
    assert errors["mse_averaged"] == pytest.approx(errors["mse"], rel=1e-12)


def test_averaging_removes_what_does_not_turn(make, loader):
    """A bias turned back at random: mean 0, mean square distance from itself twice its square."""
    errors = make(0.3, rotations=2000).evaluate(loader, torch.device("cpu")).errors
    clean = float(displacement_errors(0.0).square().mean())
    assert errors["mse_averaged"] == pytest.approx(clean, rel=0.01)
    size = float((displacement_errors(0.3) + _true()).square().mean())
    expected = (2 * 0.3**2 / 3 / size) ** 0.5
    assert errors["equivariance_error"] == pytest.approx(expected, rel=0.02)


def _true() -> torch.Tensor:
    whole = Batch.from_data_list(graphs())
    return whole.future_pos - whole.pos


def test_every_evaluation_uses_the_same_rotations(make, loader):
    task = make(0.3)
    first, second = (task.evaluate(loader, torch.device("cpu")).errors for _ in range(2))
    assert first == second


def test_errors_do_not_depend_on_batches():
    generator = torch.Generator().manual_seed(1)
    predicted, true = torch.randn(2, 7, 3, generator=generator)
    turned = torch.randn(4, 7, 3, generator=generator)
    whole, parts = PositionErrors(), PositionErrors()
    whole.update(predicted, true, turned)
    for rows in (slice(0, 2), slice(2, 7)):
        parts.update(predicted[rows], true[rows], turned[:, rows])
    for name, value in whole.compute().items():
        assert float(parts.compute()[name]) == pytest.approx(float(value), rel=1e-12), name


def test_training_turns_every_graph_and_keeps_the_loss_of_an_equivariant_model(make, monkeypatch):
    task = make()
    monkeypatch.setattr(task, "log", lambda *_, **__: None)
    monkeypatch.setattr(task, "log_dict", lambda *_, **__: None)
    monkeypatch.setattr(PositionTask, "trainer", _Trainer(), raising=False)
    batch = Batch.from_data_list(graphs())
    loss = task.training_step(batch, 0)
    assert loss.item() == pytest.approx(float(displacement_errors(0.0).square().mean()))
    loss.backward()
    assert task.model.gain.grad is not None
    (seen,) = task.model.seen
    torch.testing.assert_close(seen.norm(dim=-1), batch.pos.norm(dim=-1))
    assert not torch.allclose(seen, batch.pos)
    assert set(task.pop_training_errors()) == {"mse", "loss"}


class _Trainer:
    optimizers = (torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1),)


def test_table_names_what_is_in_it(make):
    row = {"name": "test", "structures": 3, "mse": 0.0042, "mse_averaged": 0.004}
    text = make().table([row])
    assert "MSE" in text
    assert "0.00420" in text


def test_wrong_data_and_settings_are_refused(make):
    with pytest.raises(DataError, match="choose data=nbody"):
        make().check_data([Data(pos=torch.zeros(1, 3))])
    with pytest.raises(ConfigError, match=r"task\.rotations must be at least 1, got 0"):
        make(rotations=0)
