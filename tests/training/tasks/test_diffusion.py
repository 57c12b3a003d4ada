"""Training a denoiser: loss, fixed noise in validation, rotations in training, bad input."""

from functools import partial

import pytest
import torch
from torch_geometric.data import Batch, Data

from equinet.data import GraphDataset, evaluation_loader
from equinet.diffusion import fully_connected
from equinet.errors import ConfigError, DataError
from equinet.models import Ponita, PonitaDenoiser
from equinet.training import DiffusionErrors, DiffusionTask

ELEMENTS = (1, 6, 8)


class Perfect(PonitaDenoiser):
    """Denoiser that knows the molecules and is wrong by a known distance."""

    error = 0.0

    def __init__(self, clean: Batch) -> None:
        super().__init__(
            elements=ELEMENTS, sizes=(0, 1), position_deviation=1.0, channels=2, layers=1
        )
        self.clean = clean

    def forward(self, graph):
        self.seen = graph
        types = self.types(self.clean.x)
        return {"pos": self.clean.pos.float() + self.error, "types": types}


def graphs(count: int = 4) -> list[Data]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for index in range(count):
        atoms = 3 + index % 2
        pos = torch.randn(atoms, 3, generator=generator).double()
        x = torch.eye(3)[torch.randint(3, (atoms,), generator=generator)].double()
        edge_index, _ = fully_connected(torch.tensor([atoms]))
        made.append(Data(pos=pos - pos.mean(0), x=x, edge_index=edge_index))
    return made


def whole() -> Batch:
    return Batch.from_data_list(graphs())


def task_of(model, **options):
    return DiffusionTask(model=model, optimizer=partial(torch.optim.SGD, lr=0.1), **options)


def denoiser(*, channels: int = 4, layers: int = 1) -> PonitaDenoiser:
    torch.manual_seed(0)
    return PonitaDenoiser(
        elements=ELEMENTS,
        sizes=(0, 0, 1),
        position_deviation=1.0,
        channels=channels,
        layers=layers,
    )


@pytest.fixture
def loader():
    return evaluation_loader(GraphDataset(graphs()), 4)


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(DiffusionTask, "log", lambda *_, **__: None)
    monkeypatch.setattr(DiffusionTask, "log_dict", lambda *_, **__: None)
    trainer = type("Trainer", (), {"optimizers": (torch.optim.SGD([torch.zeros(1)], lr=0.1),)})
    monkeypatch.setattr(DiffusionTask, "trainer", trainer, raising=False)


def test_errors_by_hand(loader):
    model = Perfect(whole())
    # All molecules have the noise level one, where the weight is 1 + 1.
    task = task_of(model, log_mean=0.0, log_deviation=0.0)
    found = task.evaluate(loader, torch.device("cpu"))
    assert found.structures == 4
    assert found.errors["position_loss"] == pytest.approx(0, abs=1e-10)
    assert found.errors["type_loss"] == 0
    assert found.errors["element_accuracy"] == 100
    model.error = 0.1
    errors = task.evaluate(loader, torch.device("cpu")).errors
    assert errors["position_loss"] == pytest.approx(2 * 0.1**2, rel=1e-5)


def test_every_evaluation_has_the_same_noise_and_training_has_not(loader, quiet):
    model = Perfect(whole())
    task = task_of(model)
    seen = []
    for _ in range(2):
        task.evaluate(loader, torch.device("cpu"))
        seen.append(model.seen)
    assert torch.equal(seen[0].pos, seen[1].pos)
    assert torch.equal(seen[0].noise, seen[1].noise)
    assert len(seen[0].noise.unique()) == 4  # each molecule has a level of its own
    levels = []
    for _ in range(2):
        task.training_step(whole(), 0)
        levels.append(model.seen.noise)
    assert not torch.equal(*levels)


def test_training_rotates_molecules_and_the_loss_has_gradients(quiet):
    model = denoiser()
    task = task_of(model, log_mean=-9.0, log_deviation=0.0)  # hardly any noise
    seen = []
    forward = model.network.node_outputs
    model.network.node_outputs = lambda *inputs: seen.append(inputs) or forward(*inputs)
    batch = whole()
    loss = task.training_step(batch, 0)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    sender, receiver = batch.edge_index
    vectors = (batch.pos[sender] - batch.pos[receiver]).float()
    ratio = seen[0][3].norm(dim=1) / vectors.norm(dim=1)
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=0.01, atol=0)
    assert not torch.allclose(seen[0][3], ratio[0] * vectors, rtol=0.1)
    assert set(task.pop_training_errors()) == {
        *("loss", "position_loss", "type_loss", "element_accuracy_percent")
    }


def test_predicting_the_mean_costs_about_one(loader):
    """The unit of the loss: a denoiser that ignores its input at high noise."""
    model = Perfect(whole())
    model.forward = lambda _: {
        "pos": torch.zeros_like(model.clean.pos.float()),
        "types": torch.zeros_like(model.clean.x.float()),
    }
    errors = task_of(model, log_mean=6.0, log_deviation=0.0).evaluate(loader, torch.device("cpu"))
    deviation = float(whole().pos.square().mean())
    assert errors.errors["position_loss"] == pytest.approx(deviation, rel=1e-3)
    assert errors.errors["type_loss"] == pytest.approx(1, rel=1e-3)


def test_errors_do_not_depend_on_batches():
    generator = torch.Generator().manual_seed(1)
    pos, types = (torch.rand(7, 3, generator=generator) for _ in range(2))
    right = torch.rand(7, generator=generator) > 0.5
    one, parts = DiffusionErrors(), DiffusionErrors()
    one.update(pos, types, right)
    for rows in (slice(0, 2), slice(2, 7)):
        parts.update(pos[rows], types[rows], right[rows])
    for name, value in one.compute().items():
        assert float(parts.compute()[name]) == pytest.approx(float(value), rel=1e-6), name


def test_a_few_steps_learn(quiet, loader):
    model = denoiser(channels=16, layers=2)
    task = task_of(model)
    batch = whole()
    task.calibrate(batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(2):
        errors = task.evaluate(loader, torch.device("cpu")).errors
        losses.append(errors["position_loss"] + errors["type_loss"])
        for step in range(60):
            torch.manual_seed(step)
            optimizer.zero_grad()
            task.training_step(batch, 0).backward()
            optimizer.step()
    assert losses[1] < 0.8 * losses[0]


def test_wrong_models_and_data_are_refused():
    with pytest.raises(ConfigError, match=r"a Ponita denoises no molecules.*ponita_denoiser"):
        task_of(Ponita(in_scalars=1, out_scalars=1, channels=4, layers=1))
    with pytest.raises(DataError, match=r"no one-hot x of 3 elements.*data=qm9_molecules"):
        task_of(denoiser()).check_data([Data(pos=torch.zeros(1, 3))])
    with pytest.raises(DataError, match="no one-hot x of 3 elements"):
        task_of(denoiser()).check_data([Data(pos=torch.zeros(1, 3), x=torch.eye(2))])


def test_the_next_command_samples():
    assert task_of(denoiser()).next_step("runs/mine", None) == (
        "python -m equinet.sample checkpoint=runs/mine n=1000"
    )
