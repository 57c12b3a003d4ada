"""Configurations: what may be built, what is said about mistakes, what is recorded."""

import functools
import re

import pytest
import torch
from omegaconf import OmegaConf

from equinet import train
from equinet.configuration import config, duration, hydra_command
from equinet.errors import ConfigError

NAMES = {
    group: sorted(path.stem for path in (config.CONFIG_DIR / group).glob("*.yaml"))
    for group in ("experiment", "trainer", "optim", "schedule", "logger", "debug")
}


def compose(*overrides: str, name: str = "train") -> dict:
    return hydra_command.compose(name, list(overrides))


@pytest.mark.parametrize("trainer", NAMES["trainer"])
@pytest.mark.parametrize("experiment", NAMES["experiment"])
def test_every_experiment_composes_with_every_trainer_and_fits_its_signatures(
    experiment, trainer, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
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
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "torch.load",
        "equinet",
        "equinetx.steal",
        "torch.nnx.Linear",
        "equinet.configuration.config.os.system",
        "equinet.configuration.config.shutil.rmtree",
        "equinet.configuration.config.subprocess.run",
        "equinet.configuration.config.importlib.import_module",
        "lightning.pytorch.trainer.trainer.os.remove",
        "torch.optim.adam.torch.load",
        "torch.nn.modules.module.torch.load",
        "equinet.configuration.config._build",
        "equinet.configuration.config.__builtins__",
        "torch.nn.Linear.__init__.__globals__",
        "equinet.configuration.config.ALLOWED",
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
    with pytest.raises(ConfigError, match=r"allowed is 'equinet\.models\.MACEGaunt'"):
        config.locate("equinet.models.MACEGount")
    with pytest.raises(ConfigError, match="'equinet\\.nothing\\.X' is not allowed; the nearest"):
        config.locate("equinet.nothing.X")


def test_missing_options_are_named():
    node = {"_target_": "equinet.models.Ponita", "channels": 2, "in_scalars": 1, "out_scalars": 1}
    with pytest.raises(ConfigError, match=r"m: Ponita needs 'layers'; give m.layers="):
        config.check(node, "m")


def test_instantiate_builds_inner_targets_first_and_partials():
    inner = {"_target_": "equinet.training.Plateau", "factor": 0.5}
    partial = config.instantiate({**inner, "_partial_": True}, patience=3)
    assert isinstance(partial, functools.partial)
    assert partial().patience == 3
    nested = config.instantiate({"layers": [inner, {"plain": 1}]})
    assert nested["layers"][0].factor == 0.5
    assert nested["layers"][1] == {"plain": 1}


def test_configuration_wins_over_what_the_program_adds():
    node = {"_target_": "equinet.training.Plateau"}
    assert config.instantiate({**node, "patience": 5}, patience=3).patience == 5


def test_values_that_a_constructor_refuses_are_placed():
    parameter = torch.nn.Parameter(torch.zeros(1))
    node = {"_target_": "torch.optim.SGD", "momentum": -1.0}
    with pytest.raises(ConfigError, match="optim: SGD: Invalid momentum"):
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
        ("run.checkpoint_minutes=-1", "run.checkpoint_minutes: -1 is not a finite number above 0"),
        (
            "run.checkpoint_minutes=nan",
            "run.checkpoint_minutes: nan is not a finite number above 0",
        ),
        *(
            (f"{path}=null", f"{path}: null is no value for it")
            for path in ("seed", "run.tf32", "run.checkpoint_minutes", "run.log_seconds")
        ),
        ("init_train=[readouts]", "init_train: names parts of the model of init, which is not"),
        ("run.probe=0", "run.probe: 0 is not at least 1"),
        ("data.val=nan", "data.val: nan is not a number"),
        ("data.isolated_atoms=[a,b]", "data.isolated_atoms: ['a', 'b'] is not a path"),
        ("data.train={a:b.xyz}", "data.train: {'a': 'b.xyz'} is not a path or a list"),
        ("data.test=[{a:b}]", "data.test: "),
        ("model.channels=0", "model.channels: 0 is not at least 1"),
        ("model.radial_hidden=[8,0]", "model.radial_hidden: 0 is not at least 1"),
        (
            "model.backend=natve",
            "model.backend: 'natve' is not one of auto, reference, fourier",
        ),
        ("model.backend=natve", "did you mean 'native'?"),
        ("task.loss=hubr", "'hubr' is not one of squared, absolute, huber; did you mean 'huber'?"),
        ("task.early_share=1.5", "task.early_share: 1.5 is not between 0 and 1"),
        ("optim.lr=0", "optim.lr: 0 is not a finite number above 0"),
        ("optim.norm=fix", "optim.norm: 'fix' is not one of fixed, capped, free; did you mean"),
        ("callbacks.ema.decay=nan", "callbacks.ema.decay: nan is not a number"),
        ("callbacks.ema.decay=1", "callbacks.ema.decay: 1 is not at least 0 and below 1"),
        ("callbacks.ema=0.5", "callbacks.ema: no class is named; write callbacks.ema=null"),
        ("schedule.final_fraction=2", "schedule.final_fraction: 2 is not between 0 and 1"),
        ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches: 0 is not at least"),
        ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch: 0 is not at least"),
        ("trainer.gradient_clip_val=nan", "trainer.gradient_clip_val: nan is not a number"),
        ("trainer.precision=bf17", "trainer.precision: 'bf17' is not one of"),
        ("trainer.max_time=soon", "trainer.max_time: 'soon' is no time; write 90s, 30m, 2h"),
        ("trainer.max_time=0", "trainer.max_time: 0 is no time"),
        (
            "trainer.callbacks=[]",
            "trainer.callbacks: the program sets this itself; write",
        ),
    ],
)
def test_values_of_another_kind_are_refused_before_anything_is_read(path, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        train.check(compose("data=files", "data.train=absent.xyz", path))


def test_a_device_that_is_not_there_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="there is no GPU that torch can use here"):
        train.check(compose("data=files", "data.train=absent.xyz", "trainer=gpu"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model=ponita_potential", "model.mode=bundel"], "did you mean 'bundle'?"),
        (["model=ponita_potential", "model.grid=icosahedron"], "there is no orientation grid"),
        (["model=equiformer_v2", "model.selfmix=gunt"], "did you mean 'gaunt'?"),
        (["model=equiformer_v2", "model.forces=gradients"], "did you mean 'gradient'?"),
        (["+experiment=affnist", "model.group=sl4"], "group 'sl4' is unknown"),
        (["+experiment=affnist", "model.pool=maximum"], "not one of mean, max, logsumexp"),
        (["+experiment=nbody", "model.level=nodes"], "did you mean 'node'?"),
    ],
)
def test_choices_are_checked_before_anything_is_read(words, sentence):
    data = [] if words[0].startswith("+") else ["data=files", "data.train=absent.xyz"]
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        train.check(compose(*data, *words))


@pytest.mark.parametrize(
    ("word", "seconds"),
    [
        ("1800", 1800),
        ("30m", 1800),
        ("30min", 1800),
        ("1h30m", 5400),
        ("2h", 7200),
        ("00:30:00", 1800),
        ("00:00:30:00", 1800),
        ("null", None),
    ],
)
def test_the_time_of_a_training_is_read_as_people_write_it(word, seconds):
    tree = compose("data=3bpa", f"trainer.max_time={word}")
    train.check(tree)
    found = duration(tree["trainer"]["max_time"])
    assert (found and found.total_seconds()) == seconds


def test_no_file_repeats_a_default():
    for path in sorted(config.CONFIG_DIR.rglob("*.yaml")):
        node = OmegaConf.to_container(OmegaConf.load(path))
        target = str((node or {}).get("_target_", "")) if isinstance(node, dict) else ""
        if not target.startswith("equinet."):
            continue
        for name, parameter in config.options(config.locate(target)).items():
            if name in node:
                assert (type(node[name]), node[name]) != (
                    type(parameter.default),
                    parameter.default,
                )


def test_completing_again_changes_nothing():
    tree = compose("+experiment=oc20")
    assert config.complete(tree) == tree


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


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "a: ${nothing}", "[" * 9000, "a: \0"])
def test_broken_yaml_is_named(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError):
        config.load_yaml(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read as a configuration: Uni"):
        config.load_yaml(tmp_path / "config.yaml")


def test_aliases_that_unfold_without_end_are_refused(tmp_path):
    lines = [
        "a0: &a0 [x, x]",
        *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 30)),
    ]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read .* it has aliases"):
        config.load_yaml(tmp_path / "config.yaml")


def test_a_list_that_stands_twice_is_written_twice(tmp_path):
    both = [1, 2]
    config.save_yaml({"a": both, "b": {"c": both}}, tmp_path / "config.yaml")
    assert config.load_yaml(tmp_path / "config.yaml") == {"a": [1, 2], "b": {"c": [1, 2]}}


def test_configs_lie_beside_the_package_in_a_checkout():
    assert config.CONFIG_DIR.is_dir()
    assert (config.CONFIG_DIR / "train.yaml").is_file()
    assert "experiment" not in OmegaConf.load(config.CONFIG_DIR / "train.yaml").defaults
