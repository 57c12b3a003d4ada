"""What a configuration may build: an exact table, and nothing that runs code."""

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import hydra.utils
import pytest
import torch

from equinet import models, plugins, zoo
from equinet.configuration import config, targets
from equinet.errors import ConfigError
from equinet.models import MACEGaunt, find_model, name_of_model

PACKAGES = ("equinet", "torch.nn", "torch.optim", "lightning", "torchmetrics")


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


def resolve(name: str) -> Any:
    """Import whatever a dotted name leads to, without any check."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ImportError(name)


def call(node: dict[str, Any]) -> None:
    """Build a node as a naive program would."""
    resolve(node["_target_"])(**{key: value for key, value in node.items() if key != "_target_"})


@pytest.fixture
def proof(tmp_path) -> Path:
    return tmp_path / "proof"


@pytest.fixture
def checkpoint(tmp_path, proof) -> str:
    torch.save({"x": Evil(proof)}, tmp_path / "evil.ckpt")
    return str(tmp_path / "evil.ckpt")


def refuse(node: dict[str, Any]) -> None:
    places = ("config", "callbacks.x", "model", "trainer.profiler", "logger.x", "optim", "data")
    for place in places:
        with pytest.raises(ConfigError, match="is not allowed"):
            config.instantiate(node, place)


def test_a_class_that_calls_what_it_is_told_is_refused(proof):
    node = {
        "_target_": "lightning.pytorch.cli.instantiate_class",
        "args": [sys.executable, "-c", f"open({str(proof)!r}, 'w')"],
        "init": {"class_path": "subprocess.call"},
    }
    call(node)
    assert proof.exists(), "the naive call is dangerous"
    proof.unlink()
    refuse(node)
    assert not proof.exists()


def test_a_method_that_unpickles_is_refused(proof, checkpoint):
    node = {
        "_target_": "lightning.fabric.plugins.io.torch_io.TorchCheckpointIO.load_checkpoint",
        "self": None,
        "path": checkpoint,
        "map_location": None,
        "weights_only": False,
    }
    call(node)
    assert proof.exists(), "the naive call is dangerous"
    proof.rmdir()
    refuse(node)
    assert not proof.exists()


def test_a_method_that_deletes_is_refused(tmp_path):
    folder = tmp_path / "precious"
    folder.mkdir()
    name = "lightning.fabric.plugins.io.torch_io.TorchCheckpointIO.remove_checkpoint"
    node = {"_target_": name, "self": None, "path": str(folder)}
    refuse(node)
    assert folder.exists()
    call(node)
    assert not folder.exists(), "the naive call is dangerous"


def test_hydra_itself_would_unpickle_what_a_file_names(proof, checkpoint):
    """Why the command looks at Hydra's nodes; that it refuses them is tested with the command."""
    hydra.utils.instantiate({"_target_": "torch.load", "f": checkpoint, "weights_only": False})
    assert proof.exists()


def test_nothing_but_the_table_passes(monkeypatch):
    monkeypatch.setattr(plugins, "prefixes", lambda: ())
    for name in ("equinet.training", "lightning.pytorch.cli", "torchmetrics"):
        importlib.import_module(name)
    table = {name for group in targets.GROUPS for name in targets.names(group)}
    passed, seen, opened = set(), 0, set()
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith(tuple(f"{p}." for p in PACKAGES)) and (
            module_name not in PACKAGES
        ):
            continue
        for name, found in list(vars(module).items()):
            candidates = [f"{module_name}.{name}"]
            if inspect.isclass(found) and found not in opened:
                opened.add(found)  # a class has the same methods under every name
                candidates += [f"{module_name}.{name}.{method}" for method in vars(found)]
            for candidate in candidates:
                seen += 1
                if targets.find(candidate, targets.GROUPS) is not None:
                    passed.add(candidate)
    assert seen > 10_000
    assert passed <= table
    assert len(passed) > 30


def test_every_name_of_the_table_is_a_class_with_the_base_of_its_group():
    bases = {
        "optim": torch.optim.Optimizer,
        "schedule": resolve("lightning.pytorch.Callback"),
        "callbacks": resolve("lightning.pytorch.Callback"),
        "logger": resolve("lightning.pytorch.loggers.Logger"),
        "profiler": resolve("lightning.pytorch.profilers.Profiler"),
        "trainer": resolve("lightning.pytorch.Trainer"),
        "model": resolve("equinet.models.Model"),
        "task": resolve("equinet.training.Task"),
    }
    for group, base in bases.items():
        assert targets.names(group)
        for name in targets.names(group):
            assert issubclass(targets.locate(name, group, group=group), base), name
    assert "equinet.models.Potential" not in targets.names("model")  # abstract


def test_a_group_builds_its_own_classes_alone():
    with pytest.raises(ConfigError, match=r"nearest name that is allowed is 'equinet\.models\."):
        config.locate("torch.optim.Adam", "model")
    with pytest.raises(ConfigError, match="nothing is built at this place"):
        config.check({"inner": {"_target_": "torch.optim.Adam"}}, "model")
    node = {"_target_": "lightning.pytorch.Trainer", "profiler": {}}
    node["profiler"] = {"_target_": "lightning.pytorch.profilers.SimpleProfiler"}
    config.check(node, "trainer")


def test_ranges_are_those_of_options_that_exist():
    for name, limits in targets.LIMITS.items():
        signature = set(config.options(config.locate(name)))
        assert set(limits) <= signature, name


MODULE = """
import torch
from equinet.models import MACEGaunt, Potential

class Springs(Potential):
    def __init__(self, *, elements, cutoff, reference_energies):
        super().__init__(elements=elements, cutoff=cutoff, reference_energies=reference_energies)
        self.stiffness = torch.nn.Parameter(torch.ones(1, 1))
    def atomic_energies(self, species, vectors, edge_index):
        energies = vectors.norm(dim=-1) * self.stiffness[0, 0].to(vectors)
        return vectors.new_zeros(len(species)).index_add(0, edge_index[1], energies)

class _Hidden(Springs): pass
class Abstract(Potential): pass
class Plain: pass
def function(): pass
"""
PLACE = "equinet.models.springs_of_a_test"


@pytest.fixture
def _module(tmp_path, monkeypatch):
    """A new file in the room of models, which no list names."""
    (tmp_path / "springs_of_a_test.py").write_text(MODULE)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    targets.names.cache_clear()
    yield
    sys.modules.pop(PLACE, None)
    vars(models).pop("springs_of_a_test", None)
    targets.names.cache_clear()


@pytest.mark.usefixtures("_module")
def test_a_model_in_a_new_file_needs_no_list(tmp_path):
    options = {"elements": [1], "cutoff": 3.0, "reference_energies": [0.0]}
    model = config.instantiate({"_target_": f"{PLACE}.Springs", **options}, "model")
    assert name_of_model(type(model)) == f"{PLACE}.Springs"
    zoo.save(model, tmp_path / "saved", {})
    assert type(zoo.load(tmp_path / "saved")) is type(model)
    with pytest.raises(ConfigError, match=f"allowed is '{PLACE}.Springs'"):
        config.locate(f"{PLACE}.Sprigns", "model")


@pytest.mark.usefixtures("_module")
@pytest.mark.parametrize("name", ["_Hidden", "Abstract", "Plain", "function", "MACEGaunt"])
def test_nothing_else_of_a_new_file_is_built(name):
    with pytest.raises(ConfigError, match="is not allowed"):
        config.locate(f"{PLACE}.{name}", "model")


def test_an_exported_class_has_one_name():
    with pytest.raises(ConfigError, match=r"allowed is 'equinet\.models\.MACEGaunt'"):
        config.locate("equinet.models.mace_gaunt.MACEGaunt", "model")
    # A card may be older than the export.
    assert find_model("equinet.models.mace_gaunt.MACEGaunt") is MACEGaunt
