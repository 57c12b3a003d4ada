"""Mistakes are found before torch and Lightning are imported, and the table they need is true."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from equinet.configuration import OPTION_TABLE, compose, option_table
from equinet.configuration.early import check_early
from equinet.configuration.table_of_options import mistake
from equinet.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
_WRITE_AGAIN = "write the table again by python -m equinet.command_line.options"
SLOW = ("torch", "lightning", "scipy", "matplotlib")


def pinned(package: str) -> bool:
    """Tell whether the version is that with which the table was written."""
    line = f"{package}=={metadata.version(package).partition('+')[0]}"
    return line in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_table_says_what_the_signatures_say():
    # A process of its own, since the checks of shapes in this one make the imports slow.
    code = "import json; from equinet.command_line.options import make; print(json.dumps(make()))"
    found = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    for name, table in found.items():
        owner = name.partition(".")[0]
        if owner == "equinet" or pinned(owner):
            assert option_table().get(name) == table, f"{name}: {_WRITE_AGAIN}"
    assert found.keys() == option_table().keys(), _WRITE_AGAIN


@pytest.mark.parametrize("value", [True, 3, 0.5, "text", [1], {"a": 1}, None])
def test_the_table_refuses_nothing_that_a_signature_allows(value):
    allowed = {words for table in option_table().values() for words in table.values()}
    accepted = {words for words in allowed if not mistake(value, words)}
    assert "" in accepted
    wanted = {bool: "true or false", int: "a whole number", str: "a text", list: "a list"}
    assert all(words in accepted for kind, words in wanted.items() if type(value) is kind)


def test_numbers_among_choices_may_be_typed_as_numbers():
    words = option_table()["lightning.pytorch.Trainer"]["precision"]
    assert mistake(64, words) == mistake("64-true", words) == ""
    assert "did you mean '64-true'" in mistake("64-tru", words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["optim.lr=fast"], "optim.lr: 'fast' is not a number"),
        (["model.channels=wide"], "model.channels: 'wide' is not a whole number"),
        (["data.energy_unit=ev"], "did you mean 'eV'?"),
        (["run.probe=yes"], "run.probe: 'yes' is not a whole number"),
        (["trainer.max_time=soon"], "trainer.max_time: 'soon' is no time"),
        (["callbacks.ema.decay=none"], "callbacks.ema.decay: 'none' is not a number"),
        (["init=mace-gaunt-3pba"], "did you mean 'mace-gaunt-3bpa'?"),
    ],
)
def test_a_wrong_value_is_refused(tmp_path, words, sentence):
    (tmp_path / "a.xyz").touch()
    tree = compose("train", [f"data.train={tmp_path / 'a.xyz'}", *words])
    with pytest.raises(ConfigError) as caught:
        check_early("train", tree)
    assert sentence in str(caught.value)


def test_an_unknown_option_is_refused_only_of_classes_that_cannot_have_got_it():
    check_early("train", {"trainer": {"_target_": "lightning.pytorch.Trainer", "new": 1}})
    check_early("train", {"model": {"_target_": "mine.Net", "new": 1}})
    with pytest.raises(ConfigError, match="model: MACEGaunt has no option 'chanels'; did you mean"):
        check_early("train", {"model": {"_target_": "equinet.models.MACEGaunt", "chanels": 1}})


@pytest.mark.parametrize(
    "words",
    [
        ["data.train=none.xyz"],
        ["data.train=[a.xyz,none.xyz]"],
        ["data.train=a.xyz", "data.test={far: none.xyz}"],
        ["data.train=a.xyz", "data.isolated_atoms=none.xyz"],
    ],
)
def test_a_file_that_is_not_there_is_named(tmp_path, words):
    (tmp_path / "a.xyz").touch()
    tree = compose("train", [*words, f"data.root={tmp_path}"])
    with pytest.raises(DataError, match=r"none\.xyz: not there"):
        check_early("train", tree)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "+experiment=3bpaa"],
        ["train", "data.train=none.xyz"],
        ["train", "+experiment=nbody", "optim.lr=fast"],
        ["train", "+experiment=nbody", "model.chanels=3"],
        ["train", "+experiment=nbody", "trainer.max_time=soon"],
        ["evaluate", "mace-gaunt-3bpa", "none.xyz"],
        ["evaluate", "mace-gaunt-3bpa", "none.xyz", "data.energy_unit=ev"],
        ["evaluate", "mace-gaunt-3pba", "."],
        ["data", "info", "none.xyz"],
        ["data", "convert", "none.xyz", "store"],
    ],
)
def test_nothing_slow_is_imported_for_a_mistake(tmp_path, words):
    code = (
        "import json, sys; from equinet.__main__ import main; "
        f"code = main({words!r}); print(json.dumps([code, [*({{*{SLOW}}} & {{*sys.modules}})]]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    code, imported = json.loads(found.stdout.splitlines()[-1])
    assert code in {1, 2}, found.stderr
    assert found.stderr.count("\n") == 1
    assert imported == []
    assert not list(tmp_path.glob("runs/*/*")), "the run directory stays empty and is removed"


def test_the_table_is_part_of_the_package():
    assert OPTION_TABLE.is_file()
    assert '"equinet.configuration" = ["options.json"]' in (ROOT / "pyproject.toml").read_text()
