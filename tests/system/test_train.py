"""The training command, from overrides to a run directory, and what may befall it."""

import csv
import html
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from labeled_files import write_clusters

from equinet import configuration, train, zoo
from equinet.errors import ConfigError, DataError
from equinet.files import LOCK, hold

TINY = (
    "model.channels=2",
    "model.layers=1",
    "model.lmax_filter=1",
    "model.lmax_hidden=1",
    "model.correlation=2",
    "model.radial_hidden=[4]",
    "optim.lr=0.005",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("data")
    write_clusters(folder / "train.xyz", 16, seed=0)
    write_clusters(folder / "test.xyz", 5, seed=1)
    return (
        "data=files",
        f"data.root={folder}",
        "data.train=train.xyz",
        "data.val=4",
        "data.test={test:test.xyz}",
        "data.batch_size=4",
    )


def compose(*overrides: str, name: str = "train") -> dict[str, Any]:
    return configuration.compose(name, list(overrides))


@pytest.fixture
def run(data):
    def start(path: Path, *overrides: str) -> dict[str, Any]:
        chosen = ("logger=csv", "trainer.max_epochs=2", f"run.dir={path}", *overrides)
        return train.run(compose(*data, *TINY, *chosen))

    return start


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "finished"
    chosen = (f"run.dir={path}", "trainer.max_epochs=2", "run.log_seconds=0")
    train.run(compose(*data, *TINY, *chosen))
    return path


def test_a_run_leaves_everything_behind(finished):
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    wanted = (
        "config.yaml stamp.json metrics.csv metrics.json curves.png parity.png train.log "
        "report.html report.json"
    )
    assert set(wanted.split()) <= files
    assert {f"checkpoints/{name}.ckpt" for name in ("last", "best")} <= files
    assert {"model/card.json", "model/model.safetensors"} <= files
    assert not [name for name in files if name.endswith(".partial")]
    assert any(name.startswith("tensorboard/events") for name in files)


def test_the_report_tells_the_whole_run(finished):
    text = html.unescape((finished / "report.html").read_text(encoding="utf-8"))
    metrics = json.loads((finished / "metrics.json").read_text())
    for words in (
        metrics["data"],
        f"{metrics['sets']['test']['forces_rmse']:.2f}",
        *("Learning curves", "Force errors by element", "Structures with the largest errors"),
        *("deviation of the forces under a rotation", "finite differences of the energy"),
        *("a step, with validations", "evaluation of all sets"),
        *("max_epochs: 2", json.loads((finished / "stamp.json").read_text())["hostname"]),
    ):
        assert words in text, words
    assert text.count('class="structure"') == 9  # four structures of one set, five of the other


def test_what_a_run_records(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["sets"].keys() == {"val", "test"}
    assert metrics["units"]["forces_rmse"] == "meV/Å"
    assert metrics["steps"] == 6
    stamp = json.loads((finished / "stamp.json").read_text())
    assert stamp["seed"] == 0
    assert len(stamp["data_fingerprint"]) == 64
    assert configuration.load_yaml(finished / "config.yaml")["trainer"]["max_epochs"] == 2
    log = (finished / "train.log").read_text()
    for word in ("Model    MACEGaunt", "Device   cpu", "Checks   rotation", "Stop     Ctrl-C"):
        assert word in log


def test_exported_model_has_the_best_averaged_weights(finished):
    model = zoo.load(finished)
    best = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, best[f"model.{name}"]), name
    assert zoo.load_card(finished)["metrics"]["test"]["forces_rmse"] > 0


def test_the_same_command_again_continues_and_another_is_refused(run, tmp_path):
    first = run(tmp_path / "r", "trainer.max_epochs=1")
    longer = run(tmp_path / "r", "trainer.max_epochs=2")
    assert (first["steps"], longer["steps"]) == (3, 6)
    assert longer["train_seconds"] >= first["train_seconds"]
    with pytest.raises(ConfigError, match=r"other settings \(model.channels\)"):
        run(tmp_path / "r", "model.channels=3")
    with pytest.raises(ConfigError, match=r"other settings \(data.train\)"):
        run(tmp_path / "r", "data.train=test.xyz")
    assert configuration.load_yaml(tmp_path / "r" / "config.yaml")["model"]["channels"] == 2
    assert len(json.loads((tmp_path / "r" / "stamp.json").read_text())["resumed"]) == 1


def test_changed_data_are_noticed(run, tmp_path):
    write_clusters(tmp_path / "train.xyz", 8, seed=3)
    write_clusters(tmp_path / "test.xyz", 2, seed=1)
    root = f"data.root={tmp_path}"
    run(tmp_path / "r", root, "trainer.max_epochs=1")
    write_clusters(tmp_path / "train.xyz", 8, seed=4)
    with pytest.raises(ConfigError, match="trained on other data"):
        run(tmp_path / "r", root)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_train(run, tmp_path, precision):
    metrics = run(tmp_path / "r", f"trainer.precision={precision}", "trainer.max_steps=2")
    assert metrics["steps"] == 2
    dtype = torch.float64 if precision == "64-true" else torch.float32
    assert zoo.load(tmp_path / "r").dtype == dtype


@pytest.mark.parametrize("option", ["limit_train_batches", "limit_val_batches"])
@pytest.mark.parametrize(
    ("value", "reason"), [("0", "0 is not at least 1"), ("0.0", "0.0 is not above 0 and at most 1")]
)
def test_no_batches_are_refused(run, tmp_path, option, value, reason):
    with pytest.raises(ConfigError, match=rf"trainer\.{option}: {reason}"):
        run(tmp_path / "r", f"trainer.{option}={value}")
    assert not (tmp_path / "r").exists()


def test_half_precision_of_the_positions_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="use bf16-mixed"):
        run(tmp_path / "r", "trainer.precision=bf16-true")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ("debug=overfit", "trainer.max_epochs=3", "schedule=plateau", "data.batch_size=12"),
        ("debug=fast", "optim=adamw", "callbacks.ema=null", "callbacks.early_stopping=null"),
        ("debug=profile", "trainer.max_steps=3", "trainer.accumulate_grad_batches=2"),
        ("trainer.limit_val_batches=1", "trainer.limit_test_batches=0"),
    ],
    ids=" ".join,
)
def test_switches(run, tmp_path, overrides):
    assert run(tmp_path / "r", *overrides)["steps"] > 0


def test_stress_is_trained_on_where_it_is_and_refused_where_it_is_not(run, tmp_path):
    with pytest.raises(DataError, match="stress_weight is set, but not all training and valid"):
        run(tmp_path / "clusters", "task.stress_weight=1")
    rng = np.random.default_rng(0)
    images = []
    for _ in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, rng=rng)
        atoms.calc = EMT()
        atoms.get_stress()
        images.append(atoms)
    ase.io.write(tmp_path / "bulk.xyz", images, format="extxyz")
    files = (f"data.train={tmp_path / 'bulk.xyz'}", "data.val=2", "data.test=null")
    few = ("trainer.max_epochs=10", "data.cutoff=3")
    with_stress = run(tmp_path / "on", *files, *few, "task.stress_weight=1e4")
    without = run(tmp_path / "off", *files, *few)
    found = [metrics["sets"]["val"]["stress_rmse"] for metrics in (with_stress, without)]
    assert found[0] != found[1]


def test_a_set_without_any_edge_is_refused(run, tmp_path):
    with pytest.raises(DataError, match=r"no two atoms are within the cutoff of 0\.2 Å"):
        run(tmp_path / "r", "data.cutoff=0.2", "trainer.max_steps=3")


def test_crystals_and_molecules_train_together(run, tmp_path):
    write_clusters(tmp_path / "mixed.xyz", 5)
    images = ase.io.read(tmp_path / "mixed.xyz", ":")
    for number in range(4):
        atoms = bulk("Cu" if number % 2 else "Al", cubic=True)
        atoms.rattle(0.05, seed=number)
        atoms.calc = EMT()
        atoms.get_stress()
        images.append(atoms)
    single = ase.Atoms("Cu")
    single.calc = SinglePointCalculator(single, energy=3.5, forces=np.zeros((1, 3)))
    ase.io.write(tmp_path / "mixed.xyz", [*images, single], format="extxyz")
    files = (f"data.train={tmp_path / 'mixed.xyz'}", "data.val=test.xyz", "data.test=mixed.xyz")
    here = (f"data.root={write_clusters(tmp_path / 'test.xyz', 2).parent}", "data.cutoff=3")
    metrics = run(tmp_path / "r", *files, *here, "trainer.max_steps=3")
    assert metrics["sets"]["test"]["structures"] == 10
    assert np.isfinite(metrics["sets"]["test"]["forces_rmse"])


def test_early_stopping_stops(run, tmp_path):
    metrics = run(
        tmp_path / "r",
        "trainer.max_epochs=50",
        "callbacks.early_stopping.patience=1",
        "+callbacks.early_stopping.min_delta=1e9",
    )
    assert metrics["epochs"] < 5


def test_absent_tensorboard_is_left_out_with_one_line(run, tmp_path, monkeypatch, caplog):
    build = configuration.instantiate

    def without(node, path="config", **extra):
        if path == "logger.tensorboard":
            raise ModuleNotFoundError(path)
        return build(node, path, **extra)

    monkeypatch.setattr(configuration, "instantiate", without)
    with caplog.at_level("INFO", "equinet"):
        run(tmp_path / "r", "logger=[tensorboard]", "trainer.max_steps=1")
    assert caplog.text.count("tensorboard is not installed") == 1


def test_missing_data_are_named_and_logged(run, tmp_path):
    with pytest.raises(DataError, match=r"absent\.xyz"):
        run(tmp_path / "r", "data.train=absent.xyz")
    assert "Traceback" in (tmp_path / "r" / "train.log").read_text()
    run(tmp_path / "r", "trainer.max_steps=1")  # nothing was trained, so it may be corrected


# Subprocesses: signals, exit codes, several processes.


def _start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("LOCAL_RANK", None)
    return subprocess.Popen(
        [sys.executable, "-m", "equinet.train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(train.__file__).parents[1],
        env=environment,
    )


def _wait_for_rows(path: Path, count: int) -> None:
    for _ in range(2400):
        if path.is_file() and len(path.read_text().splitlines()) > count:
            return
        time.sleep(0.1)
    pytest.fail(f"{path} has no {count} rows after four minutes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_resumes(data, tmp_path, number):
    path = tmp_path / "r"
    command = (*data, *TINY, f"run.dir={path}", "logger=csv", "schedule=plateau")
    process = _start(*command, "trainer.max_epochs=100000")
    _wait_for_rows(path / "metrics.csv", 2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -number), errors
    if number == signal.SIGINT:
        assert errors.splitlines()[-1].endswith(f"the same command with run.dir={path} resumes")
        assert "Traceback" not in errors
        assert zoo.load(path).elements
    with (path / "metrics.csv").open() as file:
        step = int(list(csv.DictReader(file))[-1]["step"])
    more = step // 3 + 2
    metrics = train.run(compose(*command, f"trainer.max_epochs={more}"))
    assert metrics["steps"] == 3 * more
    with (path / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(3, 3 * more + 1, 3))


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(data, run, tmp_path):
    """Uneven structures, so a mean of the processes' means would be another step."""
    same = ("trainer.precision=64-true", "trainer.max_steps=2", "callbacks.ema=null")
    one = run(tmp_path / "one", *same)
    chosen = (f"run.dir={tmp_path / 'two'}", "logger=csv", "data.batch_size=2")
    process = _start(*data[:-1], *TINY, *chosen, *same, "trainer=ddp_cpu", "trainer.max_epochs=2")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    two = json.loads((tmp_path / "two" / "metrics.json").read_text())
    for name, value in one["sets"]["test"].items():
        assert two["sets"]["test"][name] == pytest.approx(value, rel=1e-9), name
    with (tmp_path / "two" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    shared = float(rows[-1]["val_forces_rmse_meV_per_A"])
    assert shared == pytest.approx(two["sets"]["val"]["forces_rmse"], rel=1e-9)


def test_a_second_training_in_one_directory_is_refused(run, tmp_path):
    path = tmp_path / "run"
    with (
        hold(path, "trains"),
        pytest.raises(ConfigError, match=f"process {os.getpid()} on .* already trains there"),
    ):
        run(path)
    assert not list(path.iterdir())
    run(path)
    assert not (path / LOCK).exists()


def test_folders_and_lists_train_like_files(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, name in enumerate("ab"):
        write_clusters(folder / f"{name}.xyz", 4, seed=i)
    tests = f"{{folder:{folder},both:[{folder / 'a.xyz'},{folder / 'b.xyz'}]}}"
    metrics = [
        train.run(
            compose(
                *("data=files", f"data.train={source}", "data.val=2", f"data.test={tests}"),
                *(f"run.dir={tmp_path / f'run{number}'}", "trainer.max_epochs=1", *TINY),
            )
        )
        for number, source in enumerate((folder, f"[{folder / 'a.xyz'},{folder / 'b.xyz'}]"))
    ]
    assert metrics[0]["sets"] == metrics[1]["sets"]
    assert metrics[0]["sets"]["folder"] == metrics[0]["sets"]["both"]
    assert metrics[0]["sets"]["folder"]["energy_rmse"] > 0
