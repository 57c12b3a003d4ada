"""The probe of the training command: it trains, tells, and leaves everything as it was."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from labeled_files import write_clusters

from equinet import train
from equinet.configuration import hydra_command

TINY = (
    *("model.channels=2", "model.layers=1", "model.lmax_filter=1", "model.lmax_hidden=1"),
    *("model.correlation=2", "model.radial_hidden=[4]", "data=files", "data.train=train.xyz"),
    *("data.val=4", "data.batch_size=2", "logger=csv", "trainer.max_epochs=10"),
)


@pytest.fixture
def words(tmp_path) -> tuple[str, ...]:
    write_clusters(tmp_path / "train.xyz", 16, seed=0)
    return (*TINY, f"data.root={tmp_path}", f"run.dir={tmp_path / 'run'}")


def compose(*overrides: str) -> dict[str, Any]:
    return hydra_command.compose("train", list(overrides))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_probe_measures_predicts_and_leaves_no_directory(words, tmp_path):
    found = train.run(compose(*words, "run.probe=6", "trainer.accumulate_grad_batches=2"))
    assert found["steps"] == 6
    assert found["steps_an_epoch"] == 3  # 12 frames, two a batch, two batches a step
    assert found["run_steps"] == 30
    assert found["largest_batch"]["frames"] == 2
    assert found["frames_per_second"] > 0
    assert found["run_seconds"] >= 10 * found["epoch_seconds"] > 0
    assert 0 < found["training_memory"] <= found["memory"] < found["memory_available"]
    assert {path.name for path in tmp_path.iterdir()} == {"train.xyz"}


def test_a_probe_of_a_run_that_is_there_does_not_touch_it(words, tmp_path):
    metrics = train.run(compose(*words, "trainer.max_epochs=1"))
    before = content(tmp_path / "run")
    train.run(compose(*words, "run.probe=5"))
    train.run(compose(*words, "run.probe=5", "data.batch_size=4"))  # other settings are no harm
    assert content(tmp_path / "run") == before
    more = train.run(compose(*words, "trainer.max_epochs=2"))
    assert more["steps"] == 2 * metrics["steps"]


def test_the_command_removes_the_directory_that_hydra_makes(words, tmp_path):
    command = [sys.executable, "-m", "equinet.train", *words, "run.probe=5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(train.__file__).parents[1],
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    for word in ("Probe    5 steps", "Largest  2 frames", "Memory", "Epoch    6 steps", "Run "):
        assert word in done.stdout
    assert not (tmp_path / "run").exists()
