"""A loss, gradient or weight that is no number ends a run with a sentence and loses nothing."""

import os
import time
from functools import partial
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
import torch
from forks import fork
from lightning.pytorch import Callback
from torch import distributed, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_add_pool

from equinet.errors import EquinetError
from equinet.training import (
    ClassificationTask,
    ImageClassification,
    PositionTask,
    PotentialTask,
    RelaxedEnergyTask,
    S2EFTask,
    TrainingDivergedError,
)
from equinet.training.divergence import keep_batch
from equinet.training.loader import EpochBatches
from equinet.training.progress import read_metrics
from equinet.training.tasks import Task


class _Spoil(Callback):
    """Changes the batch before a step."""

    def __init__(self, step, change):
        self.step, self.change, self.positions = step, change, None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):  # noqa: ARG002
        if trainer.global_step == self.step:
            self.positions = batch.pos.clone()
            self.change(batch)


def _label(batch):
    batch.energy[1] = float("nan")


def _finite(state):
    return all(bool(torch.isfinite(value).all()) for value in state.values())


# 14 frames in batches of 3 are 5 steps an epoch.
def test_a_loss_that_is_not_finite_stops_before_the_step(run_fit, whole, tmp_path):
    path, spoil = tmp_path / "run", _Spoil(7, _label)
    with pytest.raises(TrainingDivergedError) as caught:
        run_fit(extra=(spoil,), checkpoint_minutes=0.0)
    sentence = str(caught.value)
    assert "diverged at step 7 (epoch 1, batch 2)" in sentence
    assert "the loss is not finite for frame" in sentence
    assert "because of the energy in the data" in sentence
    assert "equinet data lint" in sentence
    assert "resumes from its last checkpoint" in sentence
    assert "\n" not in sentence
    assert not (path / "model").exists()
    for name in ("last", "best"):
        kept = torch.load(path / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert kept["global_step"] == {"last": 7, "best": 5}[name]
        assert _finite(kept["state_dict"])
        assert _finite(kept["current_model_state"])
    written = ase.io.read(path / "diverged.extxyz", ":")
    assert len(written) == 3
    positions = np.concatenate([atoms.positions for atoms in written])
    assert np.allclose(positions, spoil.positions.numpy(), atol=1e-7)
    resumed = run_fit()
    assert resumed.metrics["sets"] == whole.metrics["sets"]
    tables = [read_metrics(run.directory.table) for run in (whole, resumed)]
    assert [{**row, "seconds": 0} for row in tables[0]] == [
        {**row, "seconds": 0} for row in tables[1]
    ]


def test_the_named_structure_is_the_one_that_was_spoiled(run_fit, tiny_data):
    spoil = _Spoil(8, _label)
    with pytest.raises(TrainingDivergedError) as caught:
        run_fit(extra=(spoil,))
    named = str(caught.value).split("not finite for ")[1].split(",")[0]
    (frame,) = [each for each in tiny_data.train.frames if each.source == named]
    batch = spoil.positions.numpy()
    place = next(i for i in range(len(batch)) if np.array_equal(batch[i], frame.positions[0]))
    assert np.array_equal(batch[place : place + len(frame)], frame.positions)
    assert 0 < place < len(batch) - len(frame)  # the second of three


def test_a_rate_that_is_far_too_high_is_told(run_fit, tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"because of the predicted .*lower optim\.lr"):
        run_fit(lr=1e30)
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert not (tmp_path / "run" / "model").exists()


def test_an_average_that_is_not_finite_is_noticed_at_the_validation(run_fit, tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"validation loss at step 5 .*ema\.decay"):
        run_fit(decay=float("nan"))
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_checkpoint_never_holds_weights_that_are_not_finite(run_fit, tmp_path):
    with pytest.raises(TrainingDivergedError, match="averaged weights at step 2 are not finite"):
        run_fit(decay=float("nan"), checkpoint_minutes=0.0)
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 1
    assert _finite(kept["state_dict"])


class _SpoilGradient(Callback):
    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step == 6:
            next(p for p in pl_module.parameters() if p.grad is not None).grad.fill_(float("inf"))


def test_a_gradient_that_is_not_finite_stops_before_the_step(run_fit, tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"step 6 .*: the gradient is not finite"):
        run_fit(extra=(_SpoilGradient(),), gradient_clip_val=10.0, checkpoint_minutes=0.0)
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 6
    assert _finite(kept["current_model_state"])


def test_batches_without_atoms_are_kept_as_plain_arrays(tmp_path):
    graph = Data(pos=torch.ones(2, 3), future_pos=torch.zeros(2, 3), y=torch.tensor([1]))
    keep_batch(Batch.from_data_list([graph, graph]), tmp_path / "diverged.npz")
    with np.load(tmp_path / "diverged.npz") as found:
        assert found["pos"].shape == (4, 3)
        assert found["batch"].tolist() == [0, 0, 1, 1]
    keep_batch((torch.ones(5, 1, 2, 2), torch.arange(5)), tmp_path / "diverged.npz")
    with np.load(tmp_path / "diverged.npz") as found:
        assert found["images"].shape == (5, 1, 2, 2)
        assert found["labels"].tolist() == [0, 1, 2, 3, 4]


def test_a_batch_is_found_again_by_its_number():
    order = [[3, 1], [2, 0], [4, 5]]
    batches = EpochBatches(order, drop_uneven=True)
    batches.done = 1
    assert [batches.indices(number) for number in range(3)] == order
    assert list(batches) == order[1:]


class _Scores(nn.Module):
    """One score and one vector, which are no numbers where a position is none."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, graph):
        scalars = global_add_pool(graph.pos[:, :2], graph.batch)
        return {"scalars": self.gain * scalars, "vectors": self.gain * graph.pos[:, None]}


@pytest.mark.parametrize(
    "kind", [PotentialTask, S2EFTask, RelaxedEnergyTask, PositionTask, ClassificationTask]
)
def test_every_task_refuses_a_loss_that_is_not_finite(kind, make_model, batch):
    model = make_model() if kind not in {PositionTask, ClassificationTask} else _Scores()
    # Without a budget there is no early part of it.
    options = {"early_energy_weight": None} if kind is PotentialTask else {}
    task = _alone(kind(model=model, optimizer=partial(torch.optim.SGD, lr=0.1), **options))
    given = batch.clone()
    given.future_pos, given.y = given.pos.clone(), torch.zeros(3, dtype=torch.int64)
    assert task.training_step(given, 0).isfinite()
    given.pos = given.pos.clone()
    given.pos[given.batch == 1] = float("nan")
    with pytest.raises(
        TrainingDivergedError, match=r"for structure 1 of the batch, because of .*pos"
    ):
        task.training_step(given, 0)


def _task() -> Task:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    return _alone(ImageClassification(model=network, optimizer=partial(torch.optim.SGD, lr=0.1)))


def _alone(task: Task) -> Task:
    """Stand in for what a step tells Lightning and asks of it."""
    object.__setattr__(task, "log", lambda *_, **__: None)
    object.__setattr__(task, "log_dict", lambda *_, **__: None)
    trainer = SimpleNamespace(
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])],
        train_dataloader=None,
        current_epoch=2,
        global_step=11,
    )
    object.__setattr__(task, "_trainer", trainer)
    return task


def _one_of_two(rank, folder):
    """Take two steps of which only the second has a bad image, on process 1 alone."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    task, images, labels = _task(), torch.ones(4, 1, 2, 2), torch.tensor([0, 1, 2, 0])
    task.training_step((images, labels), 0)
    if rank == 1:
        images[2] = float("nan")
    try:
        task.training_step((images, labels), 1)
    except TrainingDivergedError as error:
        (folder / f"{rank}.txt").write_text(f"{error.batch is not None} {error.file} {error}")
    distributed.barrier()


def test_all_processes_stop_together_if_one_of_them_finds_it(tmp_path):
    started = [fork(partial(_one_of_two, rank, tmp_path)) for rank in (0, 1)]
    until = time.monotonic() + 120
    while started and time.monotonic() < until:
        started = [pid for pid in started if os.waitpid(pid, os.WNOHANG)[0] == 0]
        time.sleep(0.05)
    for pid in started:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    said = [(tmp_path / f"{rank}.txt").read_text().split(" ", 2) for rank in (0, 1)]
    assert [words[0] for words in said] == ["False", "True"]
    assert {words[1] for words in said} == {"diverged.npz"}
    assert said[0][2] == said[1][2]
    assert "step 11 (epoch 2, batch 1 on process 1 of 2): the loss is not finite" in said[0][2]
    assert "for structure 2 of the batch" in said[0][2]
    assert "because of the images in the data and the predicted logits" in said[0][2]


def test_the_error_is_one_that_a_user_can_mend():
    assert issubclass(TrainingDivergedError, EquinetError)
    assert getattr(TrainingDivergedError("x"), "exit_code", 1) == 1
