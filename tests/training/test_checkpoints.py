"""Resuming: the same bits as without the interruption."""

import errno
import itertools
import os
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from forks import exit_code, fork
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import timer

from equinet.errors import ConfigError, EquinetError
from equinet.training import Plateau, TrainingInterruptedError
from equinet.training.checkpoints import load_weights
from equinet.training.progress import read_metrics


class _StopAt(Callback):
    """Sends this process a signal, or raises, when a step is reached."""

    def __init__(self, step: int, number: int | None) -> None:
        self.step, self.number = step, number

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            if self.number is None:
                raise RuntimeError("as if killed")
            os.kill(os.getpid(), self.number)


def _state(run: Any) -> dict[str, Any]:
    path = run.directory.checkpoints / "last.ckpt"
    return torch.load(path, weights_only=True)


def _assert_same(a: Any, b: Any, path: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            _assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            _assert_same(x, y, f"{path}/{index}")
    else:
        assert a == b, path


def _without_times(state: dict[str, Any]) -> dict[str, Any]:
    state["callbacks"] = {
        key: value for key, value in state["callbacks"].items() if not key.startswith("Timer")
    }
    return state


# 14 frames in batches of 3 are 5 steps an epoch.
@pytest.mark.parametrize(
    ("step", "number"),
    [(1, signal.SIGINT), (5, signal.SIGINT), (7, signal.SIGTERM), (9, signal.SIGINT)],
)
def test_interrupted_and_resumed_equals_uninterrupted(run_fit, whole, step, number):
    with pytest.raises(TrainingInterruptedError, match="same command"):
        run_fit("parts", extra=(_StopAt(step, number),))
    parts = run_fit("parts")
    _assert_same(_without_times(_state(whole)), _without_times(_state(parts)))
    assert whole.metrics["sets"] == parts.metrics["sets"]


@pytest.mark.parametrize("step", [7, 9])
def test_running_errors_go_on_where_an_interrupted_epoch_stopped(run_fit, whole, tmp_path, step):
    with pytest.raises(TrainingInterruptedError, match="same command"):
        run_fit("parts", extra=(_StopAt(step, signal.SIGINT),))
    last = torch.load(tmp_path / "parts" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["train_errors"]["energy.count"] == 3 * (step - 5)  # structures of this epoch
    parts = run_fit("parts")
    tables = [read_metrics(run.directory.table) for run in (whole, parts)]
    kept = [[{k: v for k, v in row.items() if k != "seconds"} for row in rows] for rows in tables]
    assert kept[0] == kept[1]


def test_an_interrupted_committee_resumes_as_if_it_had_not_been(run_fit):
    whole = run_fit("whole", members=2)
    with pytest.raises(TrainingInterruptedError, match="same command"):
        run_fit("parts", members=2, extra=(_StopAt(7, signal.SIGINT),))
    parts = run_fit("parts", members=2)
    _assert_same(_without_times(_state(whole)), _without_times(_state(parts)))
    assert whole.metrics["sets"] == parts.metrics["sets"]


def test_killed_and_resumed_equals_uninterrupted(run_fit, whole):
    with pytest.raises(RuntimeError, match="as if killed"):
        run_fit("parts", extra=(_StopAt(8, None),))
    parts = run_fit("parts")
    _assert_same(_without_times(_state(whole)), _without_times(_state(parts)))
    rows = [[row["step"] for row in read_metrics(run.directory.table)] for run in (whole, parts)]
    assert rows[0] == rows[1] == [5, 10, 15]


def test_kill_9_within_an_epoch_of_packed_batches_loses_nothing(run_fit, packed_data, tmp_path):
    """A process of its own is killed; another goes on from the batch that it had come to."""
    options = {"data": packed_data, "checkpoint_minutes": 0.0}
    whole = run_fit("whole", **options)
    steps = whole.metrics["steps"] // 3
    assert steps >= 4
    kill = _StopAt(steps + 3, signal.SIGKILL)
    pid = fork(lambda: run_fit("parts", extra=(kill,), **options))
    assert exit_code(pid) == -signal.SIGKILL
    left = torch.load(tmp_path / "parts" / "checkpoints" / "last.ckpt", weights_only=True)
    assert left["global_step"] == steps + 2
    assert left["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"done": 2}]
    parts = run_fit("parts", **options)
    _assert_same(_without_times(_state(whole)), _without_times(_state(parts)))
    assert whole.metrics["sets"] == parts.metrics["sets"]


def test_a_longer_budget_continues_where_the_shorter_ended(run_fit):
    whole = run_fit("whole", schedule=Plateau(patience=100))
    for budget in ({"max_steps": 3}, {"max_epochs": 1}, {"max_steps": 10}, {"max_steps": 15}):
        parts = run_fit("parts", **budget, schedule=Plateau(patience=100))
    a, b = _state(whole), _state(parts)
    _assert_same(a["current_model_state"], b["current_model_state"])
    _assert_same(a["state_dict"], b["state_dict"])
    _assert_same(a["optimizer_states"], b["optimizer_states"])


def test_a_finished_run_is_only_reported_again(short_run, whole):
    again = short_run(whole.directory.path)
    # The clock goes on from the last checkpoint, which is written a moment before the report.
    assert again.metrics["train_seconds"] == pytest.approx(whole.metrics["train_seconds"], abs=1)
    assert again.metrics | {"train_seconds": 0} == whole.metrics | {"train_seconds": 0}
    assert len(read_metrics(whole.directory.table)) == 3


def test_gradient_accumulation_resumes_between_optimizer_steps(run_fit):
    whole = run_fit("whole", accumulate_grad_batches=2)
    with pytest.raises(TrainingInterruptedError):
        run_fit("parts", accumulate_grad_batches=2, extra=(_StopAt(1, signal.SIGINT),))
    parts = run_fit("parts", accumulate_grad_batches=2)
    _assert_same(_state(whole)["state_dict"], _state(parts)["state_dict"])


def test_plateau_survives_a_resume(run_fit):
    def schedule() -> Plateau:
        return Plateau(factor=0.5, patience=0, monitor="train/loss")

    whole = run_fit("whole", schedule=schedule(), max_epochs=4)
    with pytest.raises(TrainingInterruptedError):
        run_fit("parts", schedule=schedule(), max_epochs=4, extra=(_StopAt(12, signal.SIGINT),))
    parts = run_fit("parts", schedule=schedule(), max_epochs=4)
    _assert_same(_without_times(_state(whole)), _without_times(_state(parts)))


def test_training_stops_for_time_validates_and_can_go_on(run_fit, monkeypatch):
    rarely = {"max_epochs": -1, "check_val_every_n_epoch": 10_000}
    with pytest.raises(ConfigError, match="the budget allows no step"):
        run_fit(max_time={"seconds": 0}, **rarely)
    # A clock that moves on by a second whenever it is read, so that no machine is too slow.
    ticks = map(float, itertools.count())
    monkeypatch.setattr(timer, "time", SimpleNamespace(monotonic=ticks.__next__))
    first = run_fit(max_time={"seconds": 40}, **rarely)
    assert first.directory.path.joinpath("checkpoints", "best.ckpt").is_file()
    later = run_fit(max_time={"seconds": 80}, **rarely)
    rows = read_metrics(later.directory.table)
    assert [row["step"] for row in rows] == [first.metrics["steps"], later.metrics["steps"]]
    assert 40 <= rows[0]["seconds"] < rows[1]["seconds"]


def test_last_epoch_is_validated_whatever_the_interval(run_fit):
    run = run_fit(max_epochs=3, check_val_every_n_epoch=2)
    assert [row["epoch"] for row in read_metrics(run.directory.table)] == [1, 2]


def test_best_checkpoint_has_the_lowest_validation_loss(whole):
    losses = [row["val_loss"] for row in read_metrics(whole.directory.table)]
    assert whole.metrics["best_val_loss"] == pytest.approx(min(losses))


def test_broken_checkpoint_is_named(run_fit, tmp_path):
    run = run_fit(max_epochs=1)
    path = run.directory.checkpoints / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(EquinetError, match=r"last\.ckpt cannot be read as a checkpoint"):
        run_fit(max_epochs=2)
    with pytest.raises(EquinetError, match="cannot be read"):
        load_weights(tmp_path / "absent.ckpt")


def _flip(path: Path) -> None:
    """Change one bit of a weight; torch would read the file without a word."""
    content = bytearray(path.read_bytes())
    weights = max(load_weights(path).values(), key=lambda tensor: tensor.numel())
    content[content.index(weights.numpy().tobytes())] ^= 1
    path.write_bytes(bytes(content))
    torch.load(path, weights_only=True)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(run_fit, whole, tmp_path, caplog):
    with pytest.raises(TrainingInterruptedError):
        run_fit("parts", extra=(_StopAt(7, signal.SIGINT),))
    checkpoints = tmp_path / "parts" / "checkpoints"
    names = sorted(path.name for path in checkpoints.iterdir())
    assert names == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    for name, step in (("last", 7), ("previous", 5)):
        saved = torch.load(checkpoints / f"{name}.ckpt", weights_only=True)
        assert saved["global_step"] == step
    _flip(checkpoints / "last.ckpt")
    with caplog.at_level("WARNING", "equinet"):
        parts = run_fit("parts")
    assert "last.ckpt cannot be read as a checkpoint" in caplog.text
    assert "going on from previous.ckpt instead" in caplog.text
    _assert_same(_without_times(_state(whole)), _without_times(_state(parts)))
    assert [row["step"] for row in read_metrics(parts.directory.table)] == [5, 10, 15]


def test_a_flipped_weight_is_found(run_fit):
    run = run_fit(max_epochs=1)
    _flip(run.directory.last)
    with pytest.raises(EquinetError, match=r"last\.ckpt cannot be read.*does not fit its checksum"):
        load_weights(run.directory.last)


def test_a_full_disk_keeps_the_last_checkpoint_and_says_so(run_fit, monkeypatch):
    run = run_fit(max_epochs=1)
    before = run.directory.last.read_bytes()
    save = torch.save

    def fill(content: Any, file: Any) -> None:
        def refuse(_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        file._file = SimpleNamespace(write=refuse, flush=lambda: None)
        save(content, file)

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(EquinetError) as caught:
        run_fit(max_epochs=2)
    assert "ckpt cannot be written (No space left on device)" in str(caught.value)
    assert "last.ckpt of step 5 is whole: make room" in str(caught.value)
    assert run.directory.last.read_bytes() == before
    assert not list(run.directory.path.rglob("*.partial"))


def test_checkpoints_do_not_go_by_way_of_the_temporary_folder(run_fit, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    run_fit(max_epochs=1)


def test_checkpoint_that_would_run_code_is_refused(tmp_path):
    marker = tmp_path / "marker"

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(marker),))

    torch.save({"state_dict": Bomb()}, tmp_path / "bomb.ckpt")
    with pytest.raises(EquinetError, match="cannot be read"):
        load_weights(tmp_path / "bomb.ckpt")
    assert not marker.exists()
