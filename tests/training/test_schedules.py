"""Learning rates as functions of the budget that is spent."""

import math
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from equinet.errors import ConfigError
from equinet.training import Cosine, Plateau
from equinet.training.schedules import progress


def _trainer(**changes):
    batches = SimpleNamespace(processed=changes.pop("batch", 0))
    loop = SimpleNamespace(batch_progress=SimpleNamespace(current=batches))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    defaults = {
        "max_steps": -1,
        "max_epochs": -1,
        "global_step": 0,
        "current_epoch": 0,
        "num_training_batches": 10,
        "callbacks": [],
        "fit_loop": SimpleNamespace(epoch_loop=loop),
        "optimizers": [optimizer],
        "callback_metrics": {},
        "strategy": SimpleNamespace(root_device=torch.device("cpu")),
    }
    trainer = Mock(spec=Trainer)
    for name, value in (defaults | changes).items():
        setattr(type(trainer), name, value)
    return trainer


_MODULE = Mock(spec=LightningModule)


def _timer(elapsed: float, limit: float | None) -> Timer:
    timer = Timer(duration=None if limit is None else {"seconds": limit})
    timer.load_state_dict({"time_elapsed": {"train": elapsed}})
    return timer


def test_progress_is_that_of_the_budget_that_runs_out_first():
    assert progress(_trainer(max_steps=100, global_step=25)) == 0.25
    assert progress(_trainer(max_epochs=4, current_epoch=1, batch=5)) == 0.375
    assert progress(_trainer(callbacks=[_timer(30.0, 120)])) == 0.25
    together = {"max_steps": 100, "global_step": 25, "max_epochs": 4, "current_epoch": 2}
    assert progress(_trainer(**together)) == 0.5
    assert progress(_trainer(**together, callbacks=[_timer(90.0, 120)])) == 0.75
    assert progress(_trainer(callbacks=[_timer(200.0, 120)])) == 1.0


def test_no_budget_is_refused():
    assert progress(_trainer(callbacks=[_timer(5.0, None)])) is None
    with pytest.raises(ConfigError, match="needs a budget"):
        Cosine().on_train_start(_trainer(), _MODULE)


def test_cosine_by_hand():
    schedule = Cosine(warmup_steps=4, final_fraction=0.1)
    assert schedule.factor(0.0, 0) == 0.25
    assert schedule.factor(0.0, 100) == 1.0
    assert schedule.factor(0.5, 100) == pytest.approx(0.55)
    assert schedule.factor(1 / 3, 100) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2)
    assert schedule.factor(1.0, 100) == pytest.approx(0.1)
    assert schedule.factor(1.2, 100) == pytest.approx(0.1)


def test_cosine_sets_the_rate_from_the_initial_one_every_time():
    schedule = Cosine(warmup_steps=1, final_fraction=0.0)
    trainer = _trainer(max_steps=4)
    group = trainer.optimizers[0].param_groups[0]
    for step, expected in enumerate([0.5, 0.5 * (1 + math.sqrt(0.5)) / 2, 0.25]):
        trainer.global_step = step
        schedule.on_train_batch_start(trainer, _MODULE, None, step)
        assert group["lr"] == pytest.approx(expected)


def test_plateau_waits_and_then_reduces():
    schedule, trainer = Plateau(factor=0.5, patience=1), _trainer()
    schedule.on_train_start(trainer, _MODULE)
    rates = []
    for value in [3.0, 2.0, 2.0, 2.0, 2.0]:
        trainer.callback_metrics["val/loss"] = torch.tensor(value)
        schedule.on_validation_end(trainer, _MODULE)
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])
    assert rates == [0.5, 0.5, 0.5, 0.25, 0.25]


def test_plateau_continues_from_its_state():
    first, trainer = Plateau(factor=0.5, patience=1), _trainer()
    first.on_train_start(trainer, _MODULE)
    for value in [2.0, 3.0]:
        trainer.callback_metrics["val/loss"] = torch.tensor(value)
        first.on_validation_end(trainer, _MODULE)
    second = Plateau(factor=0.5, patience=1)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    second.on_train_start(trainer, _MODULE)
    second.on_validation_end(trainer, _MODULE)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.25
