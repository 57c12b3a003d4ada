"""The superpixel experiment, from overrides to a run directory."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equinet import train, zoo
from equinet.configuration import hydra_command
from equinet.data import SuperpixelMNIST
from equinet.training import ClassificationTask

pytest.importorskip("skimage", reason="superpixels are cut by scikit-image")

SMALL = ("model.channels=4", "model.layers=1", "logger=csv")
FEW = ("data.batch_size=4", "data.val_size=5")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    shapes = rng.integers(0, 256, size=(26, 7, 7), dtype=np.uint8)
    images = shapes.repeat(4, axis=1).repeat(4, axis=2)
    labels = np.arange(26, dtype=np.uint8) % 10
    np.savez(
        folder / "mnist.npz",
        x_train=images[:20],
        y_train=labels[:20],
        x_test=images[20:],
        y_test=labels[20:],
    )
    return folder


@pytest.fixture(scope="module")
def run(root):
    def start(path: Path, *overrides: str) -> dict[str, Any]:
        chosen = (f"data.root={root}", f"data.cache={root}", f"run.dir={path}", *overrides)
        names = ["+experiment=superpixel", *FEW, *SMALL, "trainer.max_steps=2", *chosen]
        return train.run(hydra_command.compose("train", names))

    return start


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "finished"
    run(path)
    return path


def test_two_steps_leave_everything_behind(finished):
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    wanted = (
        "config.yaml stamp.json metrics.csv metrics.json curves.png train.log "
        "report.html report.json"
    )
    assert set(wanted.split()) <= files
    assert {"checkpoints/last.ckpt", "model/card.json", "model/model.safetensors"} <= files
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["steps"] == 2
    assert metrics["units"] == dict.fromkeys(("accuracy", "error", "error_averaged"), "%")
    test = metrics["sets"]["test"]
    assert test["structures"] == 6
    assert test["accuracy"] + test["error"] == pytest.approx(100)


def test_every_validation_logs_single_and_averaged_errors(finished):
    with (finished / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    for name in (
        *("val_cross_entropy", "val_equivariance_error", "train_cross_entropy"),
        *("val_error_percent", "val_error_averaged_percent", "train_error_percent"),
    ):
        assert float(row[name]) >= 0, name
    metrics = json.loads((finished / "metrics.json").read_text())
    recorded = metrics["sets"]["val"]["cross_entropy"]
    assert float(row["val_cross_entropy"]) == pytest.approx(recorded, rel=1e-5)


def test_the_saved_model_has_the_recorded_errors(finished, root):
    task = ClassificationTask(model=zoo.load(finished), optimizer=torch.optim.SGD)
    (loader,) = (
        SuperpixelMNIST(root=root, cache=root, val_size=5, neighbors=12).test_loaders().values()
    )
    found = task.evaluate(loader, torch.device("cpu")).errors
    recorded = zoo.load_card(finished)["metrics"]["test"]
    for name, value in found.items():
        assert value == pytest.approx(recorded[name], rel=1e-5), name


@pytest.mark.parametrize(
    "overrides", [("model.kernel=mlp",), ("model.mode=position", "model.kernel=mlp")], ids=" ".join
)
def test_other_kernels_and_modes_train(run, tmp_path, overrides):
    errors = run(tmp_path / "r", *overrides)["sets"]["test"]
    assert np.isfinite(list(errors.values())).all()
    if "model.mode=position" in overrides:
        assert errors["equivariance_error"] < 1e-4
