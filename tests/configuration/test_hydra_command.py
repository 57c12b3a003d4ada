"""The command line: what is composed, what is said about mistakes, how a command ends."""

import sys
from pathlib import Path

import pytest

from equinet.configuration import hydra_command
from equinet.errors import ConfigError, EquinetError


def compose(*overrides: str) -> dict:
    return hydra_command.compose("train", list(overrides))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["experiment=3bpa"], "experiment is not set by default; write +experiment=..."),
        (["+experiment=3bp"], "experiment: there is no '3bp'; did you mean '3bpa'?"),
        (["trainer=gup", "data=3bpa"], "trainer: there is no 'gup'; did you mean 'gpu'?"),
        (["data=3bpa", "trainer.max_epoch=3"], "did you mean 'trainer.max_epochs'?"),
        ([], "data.train has no value; give data.train=FILE"),
        (["data=files"], "or name an experiment: +experiment=..., one of 3bpa, "),
        (["data=3bpa", "seed=["], "no viable alternative"),
    ],
)
def test_mistakes_on_the_command_line_get_one_sentence(overrides, sentence):
    known = hydra_command.keys(compose("+experiment=3bpa"))
    with pytest.raises(Exception) as caught:
        compose(*overrides, *(["data=3bpa"] if overrides == ["experiment=3bpa"] else []))
    text = str(caught.value)
    if not isinstance(caught.value, ConfigError):
        text = hydra_command.explain(caught.value, known)
    assert sentence in text
    assert "\n" not in text


def _keep_warnings(*, capture: bool) -> None:
    """Warnings that were captured would hide from later tests."""


def _nothing(*_) -> None:
    """Do it."""


@pytest.fixture
def command(monkeypatch, tmp_path):
    def run(*arguments: str, job=_nothing, name: str = "evaluate") -> int:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.chdir(tmp_path)
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "file.xyz").touch()
        monkeypatch.setattr(hydra_command.logging, "captureWarnings", _keep_warnings)
        return hydra_command.command(name, job)

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (ConfigError("why"), 2), (EquinetError("why"), 1), (KeyboardInterrupt(), 130)],
)
def test_exit_codes_and_one_sentence(command, capsys, error, code):
    def job(_tree):
        if error is not None:
            raise error

    assert command("model", "file.xyz", job=job) == code
    shown = capsys.readouterr().err
    assert shown.count("\n") == (code != 0)
    assert "Traceback" not in shown


def test_a_path_that_cannot_be_used_is_one_sentence(command, capsys):
    place = "a" * 300
    assert command("model", "file.xyz", job=lambda _: Path(place).stat()) == 1
    assert f"{place}: File name too long; give another path\n" in capsys.readouterr().err


def test_unexpected_errors_keep_their_traceback(command):
    def job(_tree):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command("model", "file.xyz", job=job)


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
    assert command(*arguments, job=lambda tree: seen.append(tree["seed"]), name="train") == 0
    assert seen == [11]


def test_options_that_only_signatures_have_need_no_plus():
    tree = compose("data=3bpa", "model.readout_hidden=8", "optim.eps=1e-6", "optim=adamw")
    assert tree["model"]["readout_hidden"] == 8
    assert tree["optim"]["eps"] == 1e-6
    assert tree["model"]["layers"] == 2  # filled in
    assert "scale" not in tree["model"]  # the data tell it


def test_a_composed_configuration_builds_what_the_files_alone_describe():
    """What is filled in are the defaults, nothing else."""
    tree = compose("+experiment=oc20_mace", "model.channels=8")
    assert tree["model"]["scale"] == 0.5
    defaults = hydra_command.config.options(type_of(tree, "model"))
    files = {"channels", "convolution_channels", "pair_radial", "radial_hidden", "scale", "shift"}
    for name, value in tree["model"].items():
        if name not in {"_target_", *files}:
            assert value == defaults[name].default, name


def type_of(tree: dict, group: str) -> type:
    return hydra_command.config.locate(tree[group]["_target_"], group)


def test_the_published_networks_differ_in_one_number():
    four, six = (compose("+experiment=oc20", f"model=equiformer_v2_l{n}")["model"] for n in (4, 6))
    assert {key for key in six if four[key] != six[key]} == {"lmax"}
    assert (six["channels"], six["blocks"], six["lmax"], six["drop_path"]) == (128, 12, 6, 0.05)


@pytest.mark.parametrize("group", ["callbacks", "logger", "schedule"])
@pytest.mark.parametrize("word", ["{}=null", "{}=[]", "~{}"])
def test_groups_that_a_run_can_do_without_can_be_taken_out(group, word):
    tree = compose("+experiment=nbody", word.format(group))
    assert not tree[group]
    hydra_command.config.check(tree["model"], "model", provided=("in_scalars", "out_scalars"))


@pytest.mark.parametrize("word", ["model=5", "data=true", "trainer=1.5", "optim={lr: 1}"])
def test_groups_are_chosen_by_name(word):
    with pytest.raises(ConfigError, match="is chosen by name; write one of"):
        compose("+experiment=nbody", word)


@pytest.mark.parametrize("word", ["model=null", "~data", "trainer=[]"])
def test_groups_that_a_run_needs_cannot_be_taken_out(word):
    with pytest.raises(ConfigError, match="a run needs one; write"):
        compose("+experiment=nbody", word)


@pytest.mark.parametrize(
    "node",
    [
        "callbacks: {x: {_target_: torch.load, f: evil.ckpt, weights_only: false}}",
        "launcher: {_target_: subprocess.Popen}",
        "sweeper: {_target_: subprocess.Popen}",
        "job_logging: {handlers: {x: {(): subprocess.Popen, args: [touch, proof]}}}",
        "job: {env_set: {TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD: '1'}}",
    ],
)
@pytest.mark.parametrize("flag", [(), ("--multirun",)])
def test_hydra_builds_nothing_that_a_file_names(command, capsys, tmp_path, node, flag):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    text = "# @package _global_\ndefaults:\n  - override /data: 3bpa\nhydra:\n  "
    (tmp_path / "mine" / "experiment" / "evil.yaml").write_text(f"{text}{node}\n")
    words = [*flag, "--config-dir", str(tmp_path / "mine"), "+experiment=evil"]
    assert command(*words, job=pytest.fail, name="train") == 2
    said = capsys.readouterr().err
    assert "allowed" in said
    assert said.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "model", "file.xyz"}


def test_an_evaluation_takes_model_and_file_without_keys(command, tmp_path):
    seen = []
    (tmp_path / "it's.xyz").touch()
    assert command("model", "it's.xyz", "dtype=float64", job=seen.append) == 0
    assert (seen[-1]["checkpoint"], seen[-1]["data"]["file"]) == ("model", "it's.xyz")


def test_a_word_that_is_no_option_is_named(command, capsys):
    assert command("data=3bpa", "fast", name="train") == 2
    assert "'fast' is no option; write KEY=VALUE" in capsys.readouterr().err
    assert command("file.xyz", name="train") == 2
    assert "'file.xyz' is no option; write data.train=file.xyz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ["Usage: python -m equinet.train", "3bpa", "data  ", "model.channels=64", "seed=0"]),
        (["data=oc20"], ["data.max_atoms=null", "(a whole number or null)"]),
        (["+experiment=3bpa"], ["data.train_file=train_300K.xyz", "optim.momentum=0.99"]),
    ],
)
def test_help_shows_every_option_of_the_chosen_groups(command, capsys, words, wanted):
    assert command("--help", *words, job=pytest.fail, name="train") == 0
    page = capsys.readouterr().out
    for text in wanted:
        assert text in page
    assert page.count("\n  python -m equinet.train ") == 5
    assert "ydra" not in page
    assert max(map(len, page.splitlines())) <= 100


def test_help_of_the_evaluation_shows_its_own_keys_alone(command, capsys):
    assert command("--help", job=pytest.fail) == 0
    page = capsys.readouterr().out
    assert "data.file=..." in page
    assert "dtype=null" in page
    assert "callbacks" not in page
    assert "ydra" not in page
