"""The rMD17 experiment, from overrides to a run directory."""

import json
from pathlib import Path
from typing import Any

import pytest
from labeled_files import write_clusters

from equinet import train, zoo
from equinet.configuration import hydra_command
from equinet.models import MACEGaunt, PonitaPotential

SMALL = ("model.channels=4", "model.layers=1", "data.batch_size=3", "logger=csv")
PONITA = ("model=ponita_potential", "task.random_rotations=true")
FEW = ("trainer.max_steps=2", "trainer.check_val_every_n_epoch=1", "trainer.limit_val_batches=1")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    write_clusters(folder / "train.xyz", 56)
    write_clusters(folder / "test.xyz", 4, seed=1)
    return folder


def compose(*overrides: str) -> dict[str, Any]:
    return hydra_command.compose("train", list(overrides))


@pytest.fixture
def run(root, tmp_path):
    def start(*overrides: str) -> dict[str, Any]:
        chosen = (f"data.root={root}", f"run.dir={tmp_path / 'run'}", *overrides)
        return train.run(compose("+experiment=rmd17", *SMALL, *FEW, *chosen))

    return start


def test_two_steps_leave_everything_behind(run, tmp_path):
    run()
    folder = tmp_path / "run"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    wanted = (
        "config.yaml stamp.json metrics.csv metrics.json curves.png parity.png train.log "
        "report.html report.json"
    )
    assert set(wanted.split()) <= files
    assert {"checkpoints/last.ckpt", "model/card.json", "model/model.safetensors"} <= files
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["steps"] == 2
    assert metrics["sets"]["test"]["structures"] == 4
    assert metrics["sets"]["test"]["forces_mae"] > 0
    assert isinstance(zoo.load(folder), MACEGaunt)


def test_the_network_on_positions_and_orientations_is_an_option_away(run, tmp_path):
    run(*PONITA)
    folder = tmp_path / "run"
    assert isinstance(zoo.load(folder), PonitaPotential)
    log = (folder / "train.log").read_text()
    assert "Backends orientation_convolution: " in log
    assert "gaunt_product" not in log


def test_a_grid_without_opposite_points_passes_the_first_check(run):
    # Its energies change under most rotations, and the model says so.
    assert run(*PONITA, "model.grid=fibonacci5", "model.lmax=1")["steps"] == 2


@pytest.mark.parametrize("mode", ["lifted", "position"])
def test_other_modes_train(run, mode):
    assert run(*PONITA, f"model.mode={mode}")["sets"]["test"]["energy_mae"] > 0
