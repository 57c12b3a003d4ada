"""Training on OC20: the embedded set, and files as released, as the command does it."""

import csv
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
import torch

from equinet import train, zoo
from equinet.configuration import config, hydra_command
from equinet.data import OC20
from equinet.data.datasets import oc20
from equinet.errors import ConfigError

SMALL = (
    *("model.channels=4", "model.blocks=1", "model.lmax=2", "model.heads=2"),
    *("model.attention_hidden=4", "model.edge_channels=4", "model.radial_basis=8"),
)
FEW = (
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
)


def compose(*overrides: str, experiment: str = "oc20") -> dict[str, Any]:
    return hydra_command.compose("train", [f"+experiment={experiment}", *overrides])


@pytest.mark.parametrize("name", ["equiformer_v2", "equiformer_v2_l4", "equiformer_v2_l6"])
def test_models_fit_their_signatures(name):
    tree = compose(f"model={name}")
    train.check(tree)
    assert tree["model"]["_target_"] == "equinet.models.EquiformerV2"


def test_published_configurations_have_the_published_size():
    for name, published in (("equiformer_v2_l4", 44.8e6), ("equiformer_v2_l6", 83.2e6)):
        with torch.device("meta"):
            model = config.instantiate(
                compose(f"model={name}")["model"],
                "model",
                elements=list(range(1, 91)),
                reference_energies=[0.0] * 90,
                average_neighbors=20.0,
                cutoff=12.0,
            )
        assert sum(p.numel() for p in model.parameters()) == pytest.approx(published, rel=3e-3)


@pytest.fixture(scope="module")
def embedded(few_surfaces, tmp_path_factory) -> tuple[str, str]:
    """Overrides for an eighth of the embedded set, all of which takes seconds to read."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oc20, "make_surfaces", lambda: few_surfaces)
        OC20(cache=folder, val_size=5).read()
    return f"data.cache={folder}", "data.val_size=5"


def assert_all_four_errors(run: Path) -> None:
    """The errors that OC20 ranks by are in the table, in metrics.csv and in metrics.json, alike."""
    errors = json.loads((run / "metrics.json").read_text())["sets"]["val"]
    with (run / "metrics.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    for name, column in (
        ("energy_mae", "val_energy_mae_meV"),
        ("forces_mae", "val_forces_mae_meV_per_A"),
        ("forces_cosine", "val_forces_cosine"),
        ("efwt", "val_efwt_percent"),
    ):
        assert float(row[column]) == pytest.approx(errors[name], rel=1e-4), name
    assert -1 <= errors["forces_cosine"] <= 1
    log = (run / "train.log").read_text()
    head = next(line for line in log.splitlines() if line.startswith("set "))
    assert head.split() == ["set", "structures", "E", "MAE", "F", "MAE", "F", "cosine", "EFwT"]


def test_a_small_conservative_force_field(tmp_path, embedded):
    tree = compose(
        *FEW, *embedded, "trainer.max_epochs=1", f"run.dir={tmp_path}", experiment="oc20_mace"
    )
    train.run(tree)
    model = zoo.load(tmp_path)
    assert (type(model).__name__, model.conservative) == ("MACEGaunt", True)
    assert_all_four_errors(tmp_path)


@pytest.mark.parametrize(("forces", "selfmix"), [("direct", "gaunt+odd"), ("gradient", "none")])
def test_two_steps_on_the_embedded_set(tmp_path, embedded, forces, selfmix):
    tree = compose(
        *SMALL,
        *FEW,
        *embedded,
        "trainer.max_epochs=1",
        "logger=csv",
        f"model.forces={forces}",
        f"model.selfmix={selfmix}",
        f"run.dir={tmp_path}",
    )
    found = train.run(tree)
    assert found["steps"] == 2
    assert_all_four_errors(tmp_path)
    assert {"val", "val_id", "val_ood"} == set(found["sets"])
    assert zoo.load(tmp_path).conservative == (forces == "gradient")
    log = (tmp_path / "train.log").read_text()
    assert "Checks   rotation: energy" in log
    assert ("forces are no gradient" in log) == (forces == "direct")


def test_stress_cannot_be_trained_with_direct_forces(tmp_path):
    with_stress = ("task=potential", "task.stress_weight=1")
    with pytest.raises(ConfigError, match="has direct forces and no stress"):
        train.run(compose(*SMALL, *FEW, *with_stress, f"run.dir={tmp_path}"))


def first_frames(folder: Path, count: int) -> tuple[str, str]:
    """Text of the first frames of a released folder, and of their reference energies."""
    frames, rows = (
        lzma.decompress((folder / name).read_bytes()).decode().splitlines(keepends=True)
        for name in ("0.extxyz.xz", "0.txt.xz")
    )
    end = 0
    for _ in range(count):
        end += int(frames[end]) + 2
    return "".join(frames[:end]), "".join(rows[:count])


def test_released_files_are_trained_on(tmp_path, shared_data):
    frames, rows = first_frames(shared_data / "oc20" / "s2ef_val_id", 6)
    for split in ("s2ef_train", "s2ef_val_id", "s2ef_val_ood"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "0.extxyz").write_text(frames)
        (tmp_path / split / "0.txt").write_text(rows)
    options = ("trainer.max_epochs=1", "logger=csv", "data.cutoff=4.0", "data.val_size=2")
    where = (f"data.root={tmp_path}", f"run.dir={tmp_path / 'run'}")
    train.run(compose(*SMALL, *FEW, *options, *where, "data.batch_size=2"))
    errors = json.loads((tmp_path / "run" / "metrics.json").read_text())["sets"]
    assert errors["val"]["forces_mae"] > 0
    assert_all_four_errors(tmp_path / "run")
