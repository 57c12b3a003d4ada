"""The experiments on transformed digits, from overrides to a run directory."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from equinet import train, zoo
from equinet.configuration import hydra_command
from equinet.data import AffNIST
from equinet.data.digits import mnist
from equinet.training import ImageClassification

FEW = ("data.batch_size=8", "data.copies=1", "data.val_size=24", "trainer.max_steps=2")
SMALL = ("model.channels=2", "model.blocks=1", "model.rotations=4", "model.hidden=8")
SHORT = ("trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "logger=csv")


def compose(*overrides: str) -> dict[str, Any]:
    return hydra_command.compose("train", list(overrides))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, cache: Path):
    """Train without a network, on the small digits."""
    pytest.importorskip("sklearn")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(mnist, "fetch", refuse)

    def start(path: Path, *overrides: str) -> dict[str, Any]:
        chosen = (f"data.cache={cache}", f"run.dir={path}", *overrides)
        return train.run(compose(*FEW, *SMALL, *SHORT, *chosen))

    return start


@pytest.mark.parametrize("experiment", ["affnist", "homnist"])
def test_two_steps_leave_everything_behind(run, tmp_path: Path, cache: Path, experiment: str):
    path = tmp_path / "run"
    run(path, f"+experiment={experiment}")
    files = {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()}
    name = f"{experiment}-regen-v1"
    wanted = (
        "config.yaml stamp.json metrics.csv metrics.json curves.png train.log "
        "report.html report.json"
    )
    assert {*wanted.split(), f"mistakes_{name}.png", "model/card.json"} <= files
    metrics = json.loads((path / "metrics.json").read_text())
    assert set(metrics["sets"]) == {"val", "centered", name}
    assert metrics["sets"][name].keys() >= {"accuracy", "loss", "images_per_second"}
    assert "NOT MNIST" in metrics["data"]
    assert "million multiply-adds per image" in (path / "train.log").read_text()
    with (path / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    for column in ("train_loss", "val_accuracy_percent", "train_images_per_second"):
        assert float(row[column]) >= 0, column
    model = zoo.load(path)
    if experiment == "affnist":
        loader = AffNIST(copies=1, val_size=24, cache=cache).test_loaders()[name]
        task = ImageClassification(model=model, optimizer=torch.optim.SGD)
        first = task.evaluate([next(iter(loader))], torch.device("cpu")).errors
        assert first["loss"] == pytest.approx(metrics["sets"][name]["loss"], rel=1e-5)


@pytest.mark.parametrize("group", ["se2", "sim2", "sl2"])
def test_other_groups_by_a_switch(run, tmp_path: Path, group: str) -> None:
    metrics = run(tmp_path / "run", "+experiment=affnist", f"model.group={group}")
    assert metrics["sets"]["val"]["loss"] > 0
