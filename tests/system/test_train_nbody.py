"""The N-body experiment, from overrides to a run directory."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equinet import evaluate, train, zoo
from equinet.configuration import hydra_command
from equinet.data import NBody
from equinet.errors import ConfigError
from equinet.training import PositionTask

SIZES = {"train_size": 8, "val_size": 5, "test_size": 6}
FEW = ("data.batch_size=4", *(f"data.{name}={size}" for name, size in SIZES.items()))
SMALL = ("model.channels=4", "model.layers=1", "logger=csv")
OFTEN = ("trainer.check_val_every_n_epoch=1",)


def compose(*overrides: str, name: str = "train") -> dict[str, Any]:
    return hydra_command.compose(name, list(overrides))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(cache):
    def start(path: Path, *overrides: str) -> dict[str, Any]:
        chosen = (f"data.cache={cache}", f"run.dir={path}", "trainer.max_steps=2", *overrides)
        return train.run(compose("+experiment=nbody", *FEW, *SMALL, *OFTEN, *chosen))

    return start


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "finished"
    run(path)
    return path


def test_two_steps_leave_everything_behind(finished):
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    wanted = (
        "config.yaml stamp.json metrics.csv metrics.json curves.png parity.png train.log "
        "report.html report.json"
    )
    assert set(wanted.split()) <= files
    assert {f"checkpoints/{name}.ckpt" for name in ("last", "best")} <= files
    assert {"model/card.json", "model/model.safetensors"} <= files
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["steps"] == 2
    assert metrics["sets"]["test"]["structures"] == 6
    assert metrics["sets"]["test"].keys() >= {"mse", "mse_averaged", "equivariance_error"}


def test_every_validation_logs_single_and_averaged_errors(finished):
    with (finished / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    for name in ("val_mse", "val_mse_averaged", "val_equivariance_error", "train_mse"):
        assert float(row[name]) > 0, name
    metrics = json.loads((finished / "metrics.json").read_text())
    assert float(row["val_mse"]) == pytest.approx(metrics["sets"]["val"]["mse"], rel=1e-6)


def test_the_saved_model_has_the_recorded_errors(finished, cache):
    model = zoo.load(finished)
    assert zoo.load_card(finished)["units"] == {}
    task = PositionTask(model=model, optimizer=torch.optim.SGD)
    (loader,) = NBody(cache=cache, **SIZES).test_loaders().values()
    found = task.evaluate(loader, torch.device("cpu")).errors
    recorded = zoo.load_card(finished)["metrics"]["test"]
    for name, value in found.items():
        assert value == pytest.approx(recorded[name], rel=1e-6), name


def test_a_run_in_two_parts_equals_one(run, tmp_path):
    whole = run(tmp_path / "whole", "schedule=plateau", "trainer.max_steps=4")
    run(tmp_path / "parts", "schedule=plateau", "trainer.max_steps=1")
    parts = run(tmp_path / "parts", "schedule=plateau", "trainer.max_steps=4")
    # The rotations of a step depend on the seed and the step alone.
    assert whole["sets"]["test"]["mse"] == parts["sets"]["test"]["mse"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("data.speeds=false", "data.positions=false", "data.charge_products=false"),
        ("model.kernel=mlp", "model.grid=octahedron6"),
        ("model.mode=lifted", "model.kernel=mlp", "model.moving=false"),
    ],
    ids=" ".join,
)
def test_other_inputs_kernels_and_modes_train(run, tmp_path, overrides):
    errors = run(tmp_path / "r", *overrides)["sets"]["test"]
    assert np.isfinite(list(errors.values())).all()
    if "model.mode=lifted" in overrides:
        assert errors["equivariance_error"] < 1e-4  # rounding of float32, amplified by directions


@pytest.mark.parametrize("product", ["cg", "gaunt", "gaunt+odd"])
def test_segnn_trains_in_place_of_ponita(run, tmp_path, product):
    """The options of the experiment, such as the moving nodes, are options of both networks."""
    errors = run(tmp_path / "r", "model=segnn", f"model.product={product}")["sets"]["test"]
    assert errors["equivariance_error"] < 1e-5
    model = zoo.load(tmp_path / "r")
    assert type(model).__name__ == "SEGNN"
    assert model.moving
    # The mean number of neighbors, which is measured on the first batch.
    assert model.average_neighbors.item() == 4


def test_a_model_for_other_data_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="MACEGaunt"):
        run(tmp_path / "r", "model=mace_gaunt", "~model.channels", "~model.layers")


def test_evaluating_on_a_file_of_atoms_is_refused(finished, tmp_path):
    tree = compose(f"checkpoint={finished}", f"data.file={tmp_path / 'a.xyz'}", name="evaluate")
    with pytest.raises(ConfigError, match=r"no potential but a Ponita.*metrics\.json"):
        evaluate.run(tree)
