"""The experiment qm9_generate, from overrides to sampled molecules, on generated tables."""

import json
from pathlib import Path
from typing import Any

import pytest
from qm9_files import write_tables

from equinet import sample, train, zoo
from equinet.configuration import hydra_command
from equinet.errors import ConfigError
from equinet.models import PonitaDenoiser

SMALL = ("model.channels=4", "model.layers=1", "data.batch_size=6", "logger=csv")


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> tuple[str, ...]:
    root = write_tables(tmp_path_factory.mktemp("tables"))
    return (f"data.root={root}", f"data.cache={tmp_path_factory.mktemp('cache')}")


@pytest.fixture(scope="module")
def run(places):
    def start(path: Path, *overrides: str) -> dict[str, Any]:
        chosen = ("trainer.max_steps=2", *places, *SMALL, f"run.dir={path}", *overrides)
        return train.run(hydra_command.compose("train", ["+experiment=qm9_generate", *chosen]))

    return start


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "finished"
    run(path)
    return path


def test_two_steps_leave_everything_behind(finished):
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "metrics.json", "curves.png", "model/card.json"} <= files
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["steps"] == 2
    assert metrics["sets"]["test"].keys() >= {"position_loss", "type_loss", "element_accuracy"}
    assert isinstance(zoo.load(finished), PonitaDenoiser)


def test_validation_has_the_same_noise_in_two_parts_and_in_one(run, tmp_path):
    whole = run(tmp_path / "whole", "schedule=plateau", "trainer.max_steps=4")
    run(tmp_path / "parts", "schedule=plateau", "trainer.max_steps=1")
    parts = run(tmp_path / "parts", "schedule=plateau", "trainer.max_steps=4")
    assert whole["sets"] == parts["sets"]


def test_lifted_mode_trains(run, tmp_path):
    assert run(tmp_path / "r", "model.mode=lifted", "trainer.max_steps=1")["steps"] == 1


def test_samples_of_a_run_are_compared_with_its_data(finished):
    command = [f"checkpoint={finished}", "n=5", "steps=3"]
    metrics = sample.run(hydra_command.compose("sample", command))
    output = finished / "samples" / "seed0"
    assert (output / "molecules.extxyz").is_file()
    assert "NOT the published QM9" in metrics["reference"]
    assert metrics["sets"].keys() == {"samples", "training set"}
    # The other half of the 26 training molecules, all of whose names are those of the tables.
    assert metrics["sets"]["training set"]["structures"] == 13
    assert 0 < metrics["sets"]["training set"]["size_distance"] < 2
    assert metrics["sets"]["samples"]["size_distance"] >= 0


def test_other_models_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="needs"):
        run(tmp_path / "r", "model=mace_gaunt", "~model.channels", "~model.layers")
