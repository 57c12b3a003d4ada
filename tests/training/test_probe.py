"""Steps that say what a run will need."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from equinet.data import EpochSampler
from equinet.errors import ConfigError, EquinetError
from equinet.training import PotentialTask, probe, probe_settings
from equinet.training.loader import EpochBatches
from equinet.training.probe import _frames, _limited, _predicted, _ProbeBatches, _work


@pytest.fixture
def task(make_model):
    return PotentialTask(model=make_model(), optimizer=torch.optim.SGD)


def batches(work, size=4):
    sampler = torch.utils.data.BatchSampler(EpochSampler(len(work), seed=0), size, drop_last=False)
    return EpochBatches(sampler, drop_uneven=True)


def test_the_largest_batch_comes_first_and_the_others_have_the_mean_of_the_epoch():
    work = np.random.default_rng(0).integers(1, 1000, size=800)
    epoch = batches(work)
    sizes = np.array([work[each].sum() for each in epoch])
    chosen = _ProbeBatches(epoch, work, 20, 1)
    found = np.array([work[each].sum() for each in chosen])
    assert len(found) == len(chosen) == 20
    assert (found[:4] == sizes.max()).all()
    assert found[4:].mean() == pytest.approx(sizes.mean(), rel=0.03)
    assert found[4:].std() == pytest.approx(sizes.std(), rel=0.2)
    assert set(found.tolist()) <= set(sizes.tolist())


def test_joined_batches_of_a_step_are_from_all_over():
    work = np.arange(800)
    epoch = batches(work)
    chosen = list(_ProbeBatches(epoch, work, 10, 2))
    assert len(chosen) == 20
    assert chosen[0] == chosen[3]
    steps = np.array([work[each].sum() for each in chosen[4:]]).reshape(8, 2).sum(1)
    sizes = [work[each].sum() for each in epoch]
    assert steps.mean() == pytest.approx(2 * np.mean(sizes), rel=0.05)
    assert steps.std() < 1.5 * np.std(sizes)  # two alike would have twice the spread


def test_few_batches_and_unknown_sizes_do():
    assert len(list(_ProbeBatches(batches(range(4)), None, 6, 1))) == 6


MEASURED = {
    "batches_an_epoch": 100,
    "mean_seconds": 2.0,
    "validation_seconds_per_frame": 0.5,
    "processes": 2,
}


@pytest.mark.parametrize(
    ("settings", "steps", "epochs", "seconds"),
    [
        ({"max_epochs": 3}, 100, 3, 3 * 201),
        ({"max_epochs": 3, "accumulate_grad_batches": 8}, 13, 3, 3 * 27),
        ({"max_epochs": 3, "max_steps": 150}, 100, 1.5, 1.5 * 201),
        ({"max_epochs": -1, "max_steps": -1}, 100, np.inf, np.inf),
        ({"max_epochs": 3, "max_time": "00:00:06:42"}, 100, 2, 402),
        ({"max_epochs": 3, "max_time": "01:00:00:00"}, 100, 3, 3 * 201),
        ({"max_epochs": 4, "check_val_every_n_epoch": 2}, 100, 4, 4 * 200.5),
        ({"max_epochs": 1, "limit_train_batches": 0.25}, 25, 1, 51),
        ({"max_epochs": 1, "limit_train_batches": 10, "limit_val_batches": 0}, 10, 1, 20),
    ],
    ids=str,
)
def test_the_run_is_predicted_from_its_budget(tiny_data, settings, steps, epochs, seconds):
    # Four validation frames at half a second by two processes are one second.
    settings = {"check_val_every_n_epoch": 1, **settings}
    found = _predicted(MEASURED, tiny_data, settings)
    assert found["steps_an_epoch"] == steps
    assert found["epoch_seconds"] == 2.0 * steps
    assert found["run_epochs"] == pytest.approx(epochs)
    assert found["run_seconds"] == pytest.approx(seconds)


def test_the_end_counts_all_sets_on_one_process(tiny_data):
    found = _predicted(MEASURED, tiny_data, {"max_epochs": 1, "limit_test_batches": 1})
    assert found["evaluated_frames"] == 4 + 2  # one of two batches of five frames, rounded
    assert found["evaluation_seconds"] == 3.0


def test_limits_are_read_as_lightning_reads_them(tiny_data):
    assert [_limited(10, limit) for limit in (None, 3, 30, 0.25, 1.0)] == [10, 3, 10, 2, 10]
    assert _frames(tiny_data.val_loader(), None) == 4


def test_work_is_counted_in_edges_where_they_are_known(tiny_data):
    assert np.array_equal(_work(tiny_data.train), tiny_data.train.edge_counts)
    assert _work(object()) is None


def test_a_probe_keeps_nothing_of_the_trainer_s_budget():
    found = probe_settings({"max_steps": 7, "max_time": "00:00:05:00", "precision": "64-true"})
    assert found["precision"] == "64-true"
    assert (found["max_epochs"], found["max_steps"], found["max_time"]) == (1, -1, None)
    assert found["limit_val_batches"] == 3
    assert probe_settings({"limit_val_batches": 0})["limit_val_batches"] == 0


def test_too_few_steps_are_refused(tiny_data, task):
    with pytest.raises(ConfigError, match=r"run\.probe: 2 steps are too few"):
        probe(task, tiny_data, make_trainer=Trainer, callbacks=(), settings={}, steps=2)


def test_memory_errors_name_the_batch(tiny_data, task, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PotentialTask, "training_step", full)
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with pytest.raises(EquinetError, match=r"on a batch of 3 frames, \d+ atoms, \d+ edges; lower"):
        probe(
            task,
            tiny_data,
            make_trainer=lambda given: Trainer(
                callbacks=given, accelerator="cpu", **probe_settings({}), **options
            ),
            callbacks=(),
            settings={},
        )
