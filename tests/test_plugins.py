"""A package beside equinet brings a model, data, a task and a callback of its own."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from equinet import plugins, train, zoo
from equinet.configuration import config, hydra_command
from equinet.errors import ConfigError, DataError

SOURCE = '''
"""A package that somebody else has written."""
import os

import numpy as np
import torch
from lightning.pytorch import Callback

from equinet.data import AtomicDataModule, Frame, Splits
from equinet.models import Potential
from equinet.training import PotentialTask


class Springs(Potential):
    """Pair energies that are a quadratic function of the distance."""

    def __init__(
        self, *, elements, cutoff, reference_energies, average_neighbors, scale=1.0, shift=0.0,
        stiffness: float = 1.0,
    ):
        super().__init__(elements=elements, cutoff=cutoff, reference_energies=reference_energies)
        self.stiffness = torch.nn.Parameter(torch.tensor([[stiffness]]))

    def atomic_energies(self, species, vectors, edge_index):
        square = (vectors.norm(dim=-1) - 1.0) ** 2 * self.stiffness[0, 0].to(vectors.dtype)
        energies = square.new_zeros(len(species))
        return energies.index_add(0, edge_index[1], square)


class Pairs(AtomicDataModule):
    """Pairs of hydrogen atoms on springs."""

    def __init__(self, *, count: int = 12, cutoff: float = 3.0, batch_size: int = 4, seed: int = 0):
        super().__init__(cutoff=cutoff, batch_size=batch_size, seed=seed)
        self.count = count

    def read(self):
        frames = [self.pair(0.8 + 0.05 * i) for i in range(self.count)]
        return Splits(frames[4:], frames[:4], {}, "pairs on springs", {1: 0.0})

    def pair(self, distance):
        force = -2.0 * 2.0 * (distance - 1.0)
        return Frame(
            numbers=np.array([1, 1]),
            positions=np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]]),
            cell=np.zeros((3, 3)),
            pbc=np.zeros(3, dtype=bool),
            energy=2.0 * (distance - 1.0) ** 2,
            forces=np.array([[-force, 0.0, 0.0], [force, 0.0, 0.0]]),
        )


class SpringTask(PotentialTask):
    """The task of potentials under another name."""


class Note(Callback):
    """Counts the steps."""

    steps = 0

    def on_train_batch_end(self, *_):
        Note.steps += 1


class Other:
    """Has no base that equinet knows."""


def run(command: str = "true"):
    """Is no class."""
    os.system(command)
'''


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    name = "springs_of_a_test"
    (tmp_path / "site" / f"{name}-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "site" / name).mkdir()
    (tmp_path / "site" / name / "__init__.py").write_text(SOURCE)
    information = tmp_path / "site" / f"{name}-1.0.dist-info"
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[equinet.plugins]\nsprings = {name}\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield name
    sys.modules.pop(name, None)


def tree(package: str, folder: Path) -> dict[str, Any]:
    found = hydra_command.compose(
        "train",
        [
            *("data=files", "data.train=none", "trainer.max_steps=3", "logger=null"),
            *("model=ponita_potential", f"run.dir={folder}", "optim.lr=0.1"),
        ],
    )
    found["data"] = {"_target_": f"{package}.Pairs", "seed": 0}
    found["model"] = {"_target_": f"{package}.Springs"}
    found["task"] = {"_target_": f"{package}.SpringTask"}
    found["callbacks"] = {"note": {"_target_": f"{package}.Note"}}
    return found


def test_its_model_trains_and_is_loaded_again(package, tmp_path):
    metrics = train.run(tree(package, tmp_path / "run"))
    assert metrics["steps"] == 3
    assert sys.modules[package].Note.steps == 3
    recorded = config.load_yaml(tmp_path / "run" / "config.yaml")
    assert recorded["data"]["count"] == 12
    assert recorded["model"] == {"_target_": f"{package}.Springs", "stiffness": 1.0}
    model = zoo.load(tmp_path / "run")
    assert type(model) is sys.modules[package].Springs
    assert zoo.load_card(tmp_path / "run")["class"] == f"{package}.Springs"
    assert not torch.equal(model.stiffness, torch.tensor([[1.0]]))


def test_its_models_can_be_members_of_a_committee(package, tmp_path):
    found = tree(package, tmp_path / "run")
    found["task"]["members"] = 2
    train.run(found)
    assert [type(each).__name__ for each in zoo.load(tmp_path / "run").members] == ["Springs"] * 2


def test_without_the_package_its_models_are_refused(package, tmp_path, monkeypatch):
    train.run(tree(package, tmp_path / "run"))
    monkeypatch.setattr(plugins, "prefixes", lambda: ())
    with pytest.raises(DataError, match=f"names the class '{package}.Springs', which this equinet"):
        zoo.load(tmp_path / "run")
    with pytest.raises(ConfigError, match="is not allowed"):
        train.run(tree(package, tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "name", ["run", "Other", "os.system", "Springs.forward", "absent", "_Hidden", "Potential"]
)
def test_nothing_else_of_the_package_is_built(package, name):
    for group in ("model", "data", "task", "callbacks.x", "optim", "config"):
        with pytest.raises(ConfigError, match="is not allowed"):
            config.instantiate({"_target_": f"{package}.{name}"}, group)


def test_a_model_of_no_registered_package_is_refused_when_training_starts(package, tmp_path):
    found = tree(package, tmp_path / "run")
    found["model"] = {"_target_": "tests.somewhere.Net"}
    with pytest.raises(ConfigError, match=r"'tests\.somewhere\.Net' is not allowed"):
        train.run(found)
