"""Configurations: what may be built, what is said about mistakes, what is recorded."""

import functools
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from equinet import config, train
from equinet.errors import ConfigError, EquinetError

NAMES = {
    group: sorted(path.stem for path in (config.CONFIG_DIR / group).glob("*.yaml"))
    for group in ("experiment", "trainer", "optim", "schedule", "logger", "debug")
}


def compose(*overrides: str, name: str = "train") -> dict:
    with hydra.initialize_config_dir(str(config.CONFIG_DIR), version_base="1.3"):
        return config.plain(hydra.compose(name, list(overrides)))


@pytest.mark.parametrize("trainer", NAMES["trainer"])
@pytest.mark.parametrize("experiment", NAMES["experiment"])
def test_every_experiment_composes_with_every_trainer_and_fits_its_signatures(experiment, trainer):
    tree = compose(f"+experiment={experiment}", f"trainer={trainer}", "data.root=somewhere")
    train.check(tree)
    assert tree["run"]["experiment"] == experiment
    assert tree["data"]["root"] == "somewhere"


@pytest.mark.parametrize("group", ["optim", "schedule", "logger", "debug"])
def test_every_option_of_every_group_fits(group):
    for option in NAMES[group]:
        train.check(compose("+experiment=oc20", f"{group}={option}"))


def test_experiments_are_short_and_global():
    for name in NAMES["experiment"]:
        text = (config.CONFIG_DIR / "experiment" / f"{name}.yaml").read_text()
        assert text.startswith("# @package _global_\n")
        assert len(text.splitlines()) <= 40


def test_command_of_the_readme_sets_the_budget():
    tree = compose("+experiment=3bpa", "trainer=cpu", "trainer.max_time=00:00:30:00")
    assert tree["trainer"]["max_time"] == "00:00:30:00"
    assert compose("+experiment=3bpa", "seed=7")["data"]["seed"] == 7


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["experiment=3bpa"], "experiment is not set by default; write +experiment=..."),
        (["+experiment=3bp"], "experiment: there is no '3bp'; did you mean '3bpa'?"),
        (["trainer=gup", "data=3bpa"], "trainer: there is no 'gup'; did you mean 'gpu'?"),
        (["data=3bpa", "trainer.max_epoch=3"], "did you mean 'trainer.max_epochs'?"),
        ([], "no data is chosen; name an experiment"),
        (["data=files"], "data.train has no value; give data.train=..."),
        (["data=3bpa", "seed=["], "no viable alternative"),
    ],
)
def test_mistakes_on_the_command_line_get_one_sentence(overrides, sentence):
    known = config.keys(compose("+experiment=3bpa"))
    with pytest.raises(Exception) as caught:
        compose(*overrides, *(["data=3bpa"] if overrides == ["experiment=3bpa"] else []))
    text = str(caught.value)
    if not isinstance(caught.value, ConfigError):
        text = config.explain(caught.value, known)
    assert sentence in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "torch.load",
        "equinet",
        "equinetx.steal",
        "torch.nnx.Linear",
        "equinet.config.os.system",
        "equinet.config.shutil.rmtree",
        "equinet.config.subprocess.run",
        "equinet.config.importlib.import_module",
        "lightning.pytorch.trainer.trainer.os.remove",
        "torch.optim.adam.torch.load",
        "torch.nn.modules.module.torch.load",
        "equinet.config._build",
        "equinet.config.__builtins__",
        "torch.nn.Linear.__init__.__globals__",
        "equinet.config.ALLOWED",
        "equinet.data",
        7,
        ["equinet.models.MACEGaunt"],
    ],
)
def test_forbidden_targets_are_refused_before_anything_runs(target):
    for node in ({"_target_": target}, {"a": [{"b": {"_target_": target}}]}):
        with pytest.raises(ConfigError, match="is not allowed"):
            config.check(node, "x")
        with pytest.raises(ConfigError, match="is not allowed"):
            config.instantiate(node, "x")


def test_unknown_options_are_named_with_their_nearest():
    with pytest.raises(ConfigError) as caught:
        config.check({"_target_": "equinet.models.MACEGaunt", "cutof": 5.0}, "model")
    assert str(caught.value) == "model: MACEGaunt has no option 'cutof'; did you mean 'cutoff'?"


def test_place_of_a_mistake_is_named():
    node = {"callbacks": [{"_target_": "equinet.training.Cosine", "warmup": 3}]}
    with pytest.raises(ConfigError, match=r"cfg\.callbacks\[0\]: Cosine has no option 'warmup'"):
        config.check(node, "cfg")


def test_unknown_targets_are_named_with_their_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'MACEGaunt'\?"):
        config.locate("equinet.models.MACEGount")
    with pytest.raises(ConfigError, match="there is no 'equinet\\.nothing\\.X'"):
        config.locate("equinet.nothing.X")


def test_missing_options_are_named():
    with pytest.raises(ConfigError, match=r"l: Linear needs 'out_features'; give l.out_features="):
        config.check({"_target_": "torch.nn.Linear", "in_features": 2}, "l")


def test_instantiate_builds_inner_targets_first_and_partials():
    inner = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}
    partial = config.instantiate({**inner, "_partial_": True}, bias=False)
    assert isinstance(partial, functools.partial)
    assert partial().bias is None
    nested = config.instantiate({"layers": [inner, {"plain": 1}]})
    assert nested["layers"][0].out_features == 3
    assert nested["layers"][1] == {"plain": 1}


def test_configuration_wins_over_what_the_program_adds():
    node = {"_target_": "torch.nn.Linear", "in_features": 2}
    assert config.instantiate({**node, "out_features": 5}, out_features=3).out_features == 5


def test_values_that_a_constructor_refuses_are_placed():
    parameter = torch.nn.Parameter(torch.zeros(1))
    node = {"_target_": "torch.optim.SGD", "lr": -1.0}
    with pytest.raises(ConfigError, match="optim: SGD: Invalid learning rate"):
        config.instantiate(node, "optim", params=[parameter])


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("model.channels=abc", "model.channels: 'abc' is not a whole number"),
        ("model.channels=2.5", "model.channels: 2.5 is not a whole number"),
        ("model.radial_hidden=64", "model.radial_hidden: 64 is not a list"),
        ("data.batch_size=abc", "data.batch_size: 'abc' is not a whole number"),
        ("data.allow_zero_forces=2", "data.allow_zero_forces: 2 is not true or false"),
        ("optim.lr=abc", "optim.lr: 'abc' is not a number"),
        ("task.forces_weight=[1]", "task.forces_weight: [1] is not a number"),
        ("schedule.warmup_steps=abc", "schedule.warmup_steps: 'abc' is not a whole number"),
        ("trainer.max_steps=abc", "trainer.max_steps: 'abc' is not a whole number"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val: -1 is negative"),
        ("data.train=null", "data: AtomisticFiles needs 'train'; give data.train="),
        ("data.batch_size=null", "data: AtomisticFiles needs 'batch_size'; give data.batch_size="),
        ("seed=abc", "seed: 'abc' is not a whole number"),
        ("seed=-1", "seed: -1 is not between 0 and"),
        ("run.checkpoint_minutes=abc", "run.checkpoint_minutes: 'abc' is not a number"),
    ],
)
def test_values_of_another_kind_are_refused_before_anything_is_read(path, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        train.check(compose("data=files", "data.train=absent.xyz", path))


def test_kinds_that_are_no_plain_numbers_are_left_to_the_constructor():
    for value in ("cpu", 1, None, [0]):
        config.check_kind(value, str | int | list[int], "x")
    config.check_kind(1, float, "x")
    config.check_kind("abc", "float", "x")
    config.check_kind(torch.nn.Linear, None, "x")


def test_yaml_round_trip_is_exact(tmp_path):
    tree = compose("+experiment=3bpa", "trainer.max_time=00:00:30:00", "optim.lr=1e-5")
    config.save_yaml(tree, tmp_path / "config.yaml")
    assert config.load_yaml(tmp_path / "config.yaml") == tree
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "a: ${nothing}"])
def test_broken_yaml_is_named(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError):
        config.load_yaml(tmp_path / "config.yaml")


def test_stamp_repeats_the_command_as_typed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/equinet/train.py", "+experiment=3bpa"])
    started = SimpleNamespace(__spec__=SimpleNamespace(name="equinet.train"))
    monkeypatch.setitem(sys.modules, "__main__", started)
    command = config.stamp(seed=0, fingerprint="")["command"]
    assert command == ["python", "-m", "equinet.train", "+experiment=3bpa"]


def test_stamp_says_what_a_result_depends_on():
    stamp = config.stamp(seed=3, fingerprint="abc")
    assert stamp["seed"] == 3
    assert stamp["data_fingerprint"] == "abc"
    assert {"python", "equinet", "torch", "lightning"} <= stamp["versions"].keys()
    assert stamp["commit"] is None or len(stamp["commit"]) == 40


def test_configs_lie_beside_the_package_in_a_checkout():
    assert config.CONFIG_DIR.is_dir()
    assert (config.CONFIG_DIR / "train.yaml").is_file()
    assert "experiment" not in OmegaConf.load(config.CONFIG_DIR / "train.yaml").defaults


def _keep_warnings(*, capture: bool) -> None:
    """Warnings that were captured would hide from later tests."""


def _nothing(*_) -> None:
    """Do it."""


@pytest.fixture
def command(monkeypatch, tmp_path):
    def run(*arguments: str, job=_nothing, name: str = "evaluate") -> int:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(config.logging, "captureWarnings", _keep_warnings)
        return config.command(name, job)

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (ConfigError("why"), 2), (EquinetError("why"), 1), (KeyboardInterrupt(), 130)],
)
def test_exit_codes_and_one_sentence(command, capsys, error, code):
    def job(_tree):
        if error is not None:
            raise error

    assert command(job=job) == code
    shown = capsys.readouterr().err
    assert shown.count("\n") == (code != 0)
    assert "Traceback" not in shown


def test_unexpected_errors_keep_their_traceback(command):
    def job(_tree):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command(job=job)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["experiment=oc20"], "write +experiment=oc20, with a plus"),
        (["+experiment=oc20", "optim.lrr=1"], "did you mean 'optim.lr'?"),
        (["+experiment=oc"], "did you mean 'oc20'?"),
    ],
)
def test_command_explains_mistakes(command, capsys, arguments, sentence):
    assert command(*arguments, name="train") == 2
    assert sentence in capsys.readouterr().err


def test_a_run_directory_that_cannot_be_made_is_named(command, capsys, tmp_path):
    (tmp_path / "file").touch()
    assert command("+experiment=oc20", f"run.dir={tmp_path / 'file'}", name="train") == 2
    assert f"run.dir: cannot make {tmp_path / 'file'} (File exists)" in capsys.readouterr().err


def test_own_configurations_may_be_added(command, tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    text = "# @package _global_\ndefaults:\n  - override /data: 3bpa\nseed: 11\n"
    (tmp_path / "mine" / "experiment" / "mine.yaml").write_text(text)
    seen = []
    where = str(Path(tmp_path / "mine"))
    arguments = ["--config-dir", where, "+experiment=mine", f"run.dir={tmp_path / 'r'}"]
    assert command(*arguments, job=lambda tree: seen.append(tree.seed), name="train") == 0
    assert seen == [11]
