"""One run from start to end."""

import pytest
import torch

from equinet import zoo
from equinet.errors import ConfigError, EquinetError
from equinet.models import Committee
from equinet.training import PotentialTask, seed_everything


def test_training_helps(whole, run_fit):
    short = run_fit(max_steps=1)
    test = [run.metrics["sets"]["test"]["forces_rmse"] for run in (short, whole)]
    assert test[1] < test[0]


def test_memory_errors_say_what_to_change(run_fit, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("equinet.training.PotentialTask.training_step", full)
    with pytest.raises(EquinetError, match=r"lower data\.batch_size"):
        run_fit()


def test_fewer_batches_than_processes_are_refused(run_fit, monkeypatch):
    from lightning.pytorch import Trainer

    monkeypatch.setattr(Trainer, "world_size", 8)
    with pytest.raises(ConfigError, match="5 training batches for 8 processes"):
        run_fit()


def test_seeding_is_repeatable_and_sets_the_precision_of_products():
    draws = []
    for tf32 in (True, False):
        seed_everything(5, tf32=tf32)
        draws.append(torch.rand(3).tolist())
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    assert draws[0] == draws[1]


def test_calibrated_once_on_the_first_batch_of_the_run(run_fit, tiny_data, monkeypatch):
    seen = []
    monkeypatch.setattr(PotentialTask, "calibrate", lambda _, graph: seen.append(graph))
    run_fit(max_steps=1)
    run_fit(max_steps=2)
    (graph,) = seen
    assert torch.equal(graph.pos, next(iter(tiny_data.train_loader())).pos)


def test_a_committee_is_trained_in_one_run_and_loaded(run_fit, batch):
    run = run_fit("committee", max_epochs=2, members=2)
    model = zoo.load(run.directory.path)
    assert isinstance(model, Committee)
    found = model(batch)
    apart = [member(batch)["energy"] for member in model.members]
    torch.testing.assert_close(found["energy"], torch.stack(apart).mean(0))
    assert (found["energy_spread"] > 0).all()
