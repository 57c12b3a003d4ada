"""The experiment qm9, from overrides to a run directory, for every target and network."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from qm9_files import write_tables

from equinet import train, zoo
from equinet.configuration import hydra_command
from equinet.data import QM9
from equinet.errors import ConfigError, DataError
from equinet.evaluation import PropertyErrors

SMALL = ("model.channels=4", "model.layers=1", "logger=csv")
TWELVE = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    return write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(tables, cache):
    def start(path: Path, *overrides: str, small: tuple[str, ...] = SMALL) -> dict[str, Any]:
        given = (f"data.root={tables}", f"data.cache={cache}", "data.batch_size=8")
        chosen = (f"run.dir={path}", "trainer.max_steps=2", "trainer.max_epochs=-1", *overrides)
        return train.run(
            hydra_command.compose("train", ["+experiment=qm9", *small, *given, *chosen])
        )

    return start


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "finished"
    run(path, "data.target=[mu,gap]", "trainer.max_steps=4")
    return path


def test_a_run_leaves_everything_behind(finished):
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    wanted = (
        "config.yaml metrics.csv metrics.json curves.png parity.png report.html model/card.json"
    )
    assert {*wanted.split(), "model/card.json"} <= files


def test_errors_have_the_units_of_their_targets(finished):
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"val_mu_mae_D", "val_gap_mae_meV", "train_gap_mae_meV"} <= rows[0].keys()
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["units"]["gap_mae"] == "meV"
    assert metrics["units"]["mu_mae"] == "D"
    log = (finished / "train.log").read_text()
    assert "mu MAE" in log
    assert "gap MAE" in log


def test_the_saved_model_has_the_recorded_errors_in_the_units_of_the_data(finished, tables, cache):
    model = zoo.load(finished)
    assert model.units == {"mu": "D", "gap": "eV"}
    data = QM9(root=tables, target=["mu", "gap"], cache=cache)
    errors = PropertyErrors(model.units)
    (loader,) = data.test_loaders().values()
    for graph in loader:
        found = model(graph)
        residuals = {name: found[name] - graph[f"y_{name}"] for name in found}
        errors.update(residuals, residuals)
    recorded = json.loads((finished / "metrics.json").read_text())["sets"]["test"]
    for name in ("mu_mae", "gap_mae", "gap_rmse"):
        assert float(errors.compute()[name]) == pytest.approx(recorded[name], rel=1e-5)


def test_all_targets_are_learned_at_once(run, tmp_path):
    targets = [*TWELVE, "dipole_vector", "charges"]
    found = run(tmp_path / "run", f"data.target=[{','.join(targets)}]")
    assert {f"{name}_mae" for name in targets} <= found["sets"]["test"].keys()


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.mode=lifted", "data.target=dipole_vector", "model.kernel=mlp"),
        ("model.mode=position", "model.kernel=mlp", "data.target=alpha"),
        ("model.mode=position", "model.kernel=mlp", "data.target=mu", "model.out_vectors=0"),
        ("data.cutoff=2.5", "data.target=r2"),
    ],
)
def test_every_mode_of_ponita_learns(run, tmp_path, overrides):
    found = run(tmp_path / "run", *overrides)
    assert found["steps"] == 2


def test_mace_learns_one_scalar_by_one_switch(run, tmp_path):
    small = ("model=mace_gaunt", "model.channels=4", "model.convolution_channels=4", "logger=csv")
    few = ("model.lmax_filter=1", "model.lmax_hidden=1", "data.cutoff=4.0")
    found = run(tmp_path / "run", *few, small=small)
    assert found["steps"] == 2
    with pytest.raises(ConfigError, match="returns 1 scalars an atom, and mu, alpha need 2"):
        run(tmp_path / "two", *few, "data.target=[mu,alpha]", small=small)


def test_segnn_learns_scalars_and_vectors_by_one_switch(run, tmp_path):
    found = run(tmp_path / "run", "model=segnn", "data.target=[U0,dipole_vector]")
    assert found["sets"]["test"].keys() >= {"U0_mae", "dipole_vector_mae"}


def test_training_reduces_the_error(run, tmp_path):
    path = tmp_path / "run"
    run(path, "data.target=U0", "trainer.max_steps=60", "trainer.check_val_every_n_epoch=3")
    with (path / "metrics.csv").open() as file:
        rows = [float(row["train_U0_mae_meV"]) for row in csv.DictReader(file)]
    assert rows[-1] < 0.8 * rows[0]


def test_a_resumed_run_equals_an_uninterrupted_one(run, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, "trainer.max_steps=6", "schedule=plateau")
    run(parts, "trainer.max_steps=3", "schedule=plateau")
    run(parts, "trainer.max_steps=6", "schedule=plateau")
    one, other = (zoo.load(path).state_dict() for path in (whole, parts))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("data.target=aplha",), "did you mean 'alpha'"),
        (("data=nbody",), "PropertyTask needs 'elements', which NBody does not give; choose other"),
        (("data.train_size=1000",), "train_size: 1000 molecules are asked for"),
        (("model.mode=position", "model.kernel=mlp", "data.target=mu"), "out_vectors must be 0"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(run, tmp_path, overrides, message):
    with pytest.raises((ConfigError, DataError), match=message) as refused:
        run(tmp_path / "run", *overrides)
    assert "\n" not in str(refused.value)
