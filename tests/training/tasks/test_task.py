"""The Lightning task."""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from equinet.models import Committee
from equinet.training import PotentialTask, residuals
from equinet.training.tasks.task import Task, parameter_groups


@pytest.fixture
def task(make_model):
    return PotentialTask(model=make_model(), optimizer=partial(torch.optim.SGD, lr=0.1))


def test_forces_are_exact_derivatives_during_validation_too(task, batch):
    task.eval()
    with torch.no_grad():
        task.validation_step(batch, 0)
        errors = task.errors(batch)
    assert errors.forces.abs().max() > 0
    expected = residuals(task.model.eval()(batch), batch)
    assert torch.equal(errors.forces, expected.forces.detach())


def test_gradient_of_the_loss_reaches_every_parameter(task, batch):
    task.train()
    task.weights.loss(task.errors(batch)).backward()
    without = [n for n, p in task.named_parameters() if p.grad is None]
    assert not without


def test_stress_is_asked_for_only_when_weighted(make_model, batch):
    made = partial(PotentialTask, model=make_model(), optimizer=torch.optim.SGD)
    assert "stress" not in made()(batch)
    assert "stress" in made(stress_weight=1.0)(batch)


def test_running_training_errors_start_afresh(task, batch):
    assert task.pop_training_errors() == {}
    task.train_errors.update(task.errors(batch))
    assert task.pop_training_errors().keys() >= {"loss", "forces_rmse_meV_per_A"}
    assert task.pop_training_errors() == {}


@pytest.mark.parametrize(("world", "expected"), [(2, [3.0, 5.0]), (3, [8.0, 0.0, 0.0])])
def test_running_errors_of_each_process_are_kept_in_a_checkpoint(
    make_model, monkeypatch, world, expected
):
    """Added up in another order after a resume, they would differ in their last bits."""
    name = "energy.count"

    def task_of(amounts):
        task = PotentialTask(model=make_model(), optimizer=torch.optim.SGD)
        if amounts:
            task.train_errors.restore(amounts)
        return task

    saving = task_of({name: 3.0})
    other = task_of({name: 5.0}).train_errors.amounts()
    monkeypatch.setattr(f"{Task.__module__}.gather", lambda mine: [mine, other])
    checkpoint = {}
    saving.on_save_checkpoint(checkpoint)
    assert checkpoint["train_errors"][name] == 8.0
    for rank in range(world):
        monkeypatch.setattr(f"{Task.__module__}.rank_and_world", lambda rank=rank: (rank, world))
        resumed = task_of({})
        resumed.on_load_checkpoint(checkpoint)
        assert resumed.train_errors.amounts()[name] == expected[rank]


def test_weight_decay_acts_on_matrices_only():
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    groups = parameter_groups(model)
    assert [p.ndim for p in groups[0]["params"]] == [2]
    assert groups[1]["weight_decay"] == 0.0
    assert sum(len(g["params"]) for g in groups) == 4


def test_a_model_may_choose_what_decays():
    class Chooses(nn.Linear):
        def weight_decay_parameters(self):
            return [self.bias]

    groups = parameter_groups(Chooses(2, 3))
    assert [p.ndim for p in groups[0]["params"]] == [1]


def test_frozen_parameters_are_left_out():
    model = nn.Linear(2, 3)
    model.bias.requires_grad_(requires_grad=False)
    assert len(parameter_groups(model)) == 1


def test_optimizer_is_built_from_the_groups(task):
    optimizer = task.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    assert sum(p.numel() for g in optimizer.param_groups for p in g["params"]) == sum(
        p.numel() for p in task.parameters()
    )


def test_models_that_can_are_calibrated_on_a_batch(task, batch):
    task.calibrate(batch)  # most have nothing to calibrate, which is no mistake
    seen = []
    task.model.calibrate = seen.append
    task.calibrate(batch)
    assert seen == [batch]


def test_all_members_are_calibrated(make_model, batch):
    task = PotentialTask(model=make_model(), optimizer=torch.optim.SGD, members=2)
    seen = []
    for member in task.model.members:
        member.calibrate = seen.append
    task.calibrate(batch)
    assert seen == [batch, batch]


def test_members_are_clipped_apart(make_model):
    optimizer = partial(torch.optim.SGD, lr=0.1)
    task = PotentialTask(model=make_model(), optimizer=optimizer, members=2)
    sizes = [(100.0, 1.0), (0.5, 0.5)]  # of the gradients: before, after
    for member, (size, _) in zip(task.model.members, sizes, strict=True):
        for parameter in member.parameters():
            parameter.grad = torch.ones_like(parameter)
        count = sum(p.numel() for p in member.parameters())
        for parameter in member.parameters():
            parameter.grad *= size / count**0.5
    task.configure_gradient_clipping(task.configure_optimizers(), 1.0)
    for member, (_, size) in zip(task.model.members, sizes, strict=True):
        norm = torch.cat([p.grad.flatten() for p in member.parameters()]).norm()
        assert float(norm) == pytest.approx(size, rel=1e-4)


@pytest.mark.parametrize("members", [1, 2])
def test_norms_are_summed_in_the_order_of_the_optimizer(make_model, members, monkeypatch):
    """As in Lightning's own clipping: another order changes the last bits of a training."""
    optimizer = partial(torch.optim.SGD, lr=0.1)
    task = PotentialTask(model=make_model(), optimizer=optimizer, members=members)
    clipped = []

    def clip(parameters, largest):
        clipped.append([id(p) for p in parameters])
        return torch.tensor(largest)

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", clip)
    groups = task.configure_optimizers().param_groups
    task.configure_gradient_clipping(task.configure_optimizers(), 1.0)
    ordered = [id(p) for group in groups for p in group["params"]]
    own = [[id(p) for p in network.parameters()] for network in task.networks]
    assert clipped == [[p for p in ordered if p in network] for network in own]
    assert clipped != own
    assert {p for each in clipped for p in each} == set(ordered)


def test_structures_are_rotated_in_training_where_that_is_asked_for(make_model, batch, monkeypatch):
    monkeypatch.setattr(PotentialTask, "log", lambda *_, **__: None)
    monkeypatch.setattr(PotentialTask, "log_dict", lambda *_, **__: None)
    trainer = SimpleNamespace(optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])])
    monkeypatch.setattr(PotentialTask, "trainer", trainer, raising=False)
    losses, places = [], []
    for rotates in (False, True):
        model = make_model()
        model.register_forward_pre_hook(lambda _, given: places.append(given[0].pos))
        task = PotentialTask(
            model=model,
            optimizer=torch.optim.SGD,
            random_rotations=rotates,
            early_energy_weight=None,
        )
        losses.append(task.training_step(batch, 0).item())
    assert torch.equal(places[0], batch.pos)
    assert not torch.allclose(places[1], batch.pos)
    # Labels are rotated too, so the loss of an invariant model stays the same.
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_members_of_a_committee_learn_as_each_would_alone(make_model, batch):
    torch.manual_seed(0)
    optimizer = partial(torch.optim.SGD, lr=0.1)
    task = PotentialTask(
        model=make_model(), optimizer=optimizer, members=3, early_energy_weight=None
    )
    task.log = task.log_dict = lambda *_, **__: None
    task._trainer = SimpleNamespace(optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])])
    task.training_step(batch, 0).backward()
    assert len(task.model.members) == 3
    seen = set()
    for member in task.model.members:
        alone = PotentialTask(model=copy.deepcopy(member), optimizer=optimizer)
        alone.model.zero_grad()
        loss = alone.weights.loss(alone.errors(batch))
        loss.backward()
        for joint, single in zip(member.parameters(), alone.model.parameters(), strict=True):
            torch.testing.assert_close(joint.grad, single.grad)
        seen.add(float(loss.detach()))
    assert len(seen) == 3  # they start from weights of their own
    errors = task.pop_training_errors()
    assert errors["loss"] == pytest.approx(sum(seen) / 3)


def test_what_decays_in_a_committee_is_what_decays_in_its_members(make_model):
    task = PotentialTask(model=make_model(pair_radial=True), optimizer=torch.optim.SGD, members=2)
    one = {
        p.shape
        for g in parameter_groups(make_model(pair_radial=True))
        if "weight_decay" not in g
        for p in g["params"]
    }
    both = [p for g in parameter_groups(task.model) if "weight_decay" not in g for p in g["params"]]
    assert {p.shape for p in both} == one
    assert len(both) == 2 * sum(
        len(g["params"])
        for g in parameter_groups(make_model(pair_radial=True))
        if "weight_decay" not in g
    )


def test_a_committee_has_the_precision_of_its_model(make_model):
    task = PotentialTask(model=make_model().double(), optimizer=torch.optim.SGD, members=2)
    assert task.model.dtype == torch.float64


def test_a_committee_needs_members(make_model):
    with pytest.raises(ValueError, match="members must be at least 1, found 0"):
        PotentialTask(model=make_model(), optimizer=torch.optim.SGD, members=0)
    with pytest.raises(ValueError, match="found Committee"):
        PotentialTask(model=Committee.like(make_model(), 2), optimizer=torch.optim.SGD, members=2)
