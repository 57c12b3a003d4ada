"""Run directories: claimed, continued, refused."""

import json
import logging
import os

import pytest

from equinet.configuration.run_directory import (
    RunDirectory,
    close_log,
    differences,
    open_log,
    write_json,
)
from equinet.errors import ConfigError

_TREE = {"seed": 0, "model": {"channels": 4}, "trainer": {"max_epochs": 3}, "run": {"dir": "a"}}


def _changed(group, key, value):
    return _TREE | {group: _TREE[group] | {key: value}}


def _stamp(fingerprint="f"):
    keys = ("time", "command", "hostname", "commit", "dirty")
    return {"data_fingerprint": fingerprint, **dict.fromkeys(keys, "x")}


@pytest.fixture
def directory(tmp_path):
    made = RunDirectory(tmp_path / "run")
    made.claim(_TREE, None)
    made.config.touch()
    return made


def test_a_new_directory_is_made(directory):
    assert directory.checkpoints.is_dir()
    assert directory.resumes_from is None


def test_budget_and_place_may_change(directory):
    directory.table.touch()
    directory.claim(_changed("trainer", "max_epochs", 9), _TREE)
    directory.claim(_changed("run", "dir", "b"), _TREE)
    directory.claim(_TREE | {"logger": {"wandb": 1}}, _TREE)


def test_another_configuration_is_refused_by_its_first_differing_keys(directory):
    directory.table.touch()
    other = _changed("model", "channels", 8) | {"seed": 1}
    with pytest.raises(ConfigError, match=r"other settings \(model.channels, seed\)"):
        directory.claim(other, _TREE)


def test_a_run_that_never_began_may_be_corrected(directory):
    directory.claim(_changed("model", "channels", 8), _TREE)


def test_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not a run directory"):
        RunDirectory(tmp_path).claim(_TREE, None)
    with pytest.raises(ConfigError, match="is a file"):
        RunDirectory(tmp_path / "thesis.tex").claim(_TREE, None)


def test_a_run_that_could_not_write_its_configuration_may_be_repeated(tmp_path):
    RunDirectory(tmp_path).claim(_TREE, None)
    assert not (tmp_path / "config.yaml").exists()
    RunDirectory(tmp_path).claim(_TREE, None)
    (tmp_path / "checkpoints" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not a run directory"):
        RunDirectory(tmp_path).claim(_TREE, None)


def test_resuming_on_other_data_is_refused(directory):
    directory.write_stamp(_stamp("first"))
    directory.write_stamp(_stamp("second"))  # nothing was trained yet
    (directory.checkpoints / "last.ckpt").touch()
    with pytest.raises(ConfigError, match="trained on other data"):
        directory.write_stamp(_stamp("first"))
    directory.write_stamp(_stamp("second"))
    assert len(json.loads(directory.stamp.read_text())["resumed"]) == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"time": "x"}'])
def test_a_damaged_stamp_is_made_anew(directory, caplog, content):
    (directory.checkpoints / "last.ckpt").touch()
    directory.stamp.write_bytes(content)
    directory.write_stamp(_stamp())
    assert "making the record of the run anew" in caplog.text
    assert json.loads(directory.stamp.read_text())["data_fingerprint"] == "f"
    directory.write_stamp(_stamp())
    assert len(json.loads(directory.stamp.read_text())["resumed"]) == 1


def test_a_directory_belongs_to_one_process(directory):
    (directory.checkpoints / "last.ckpt.another-host.1.partial").touch()
    with directory.held():
        assert not list(directory.checkpoints.iterdir())
        with pytest.raises(ConfigError, match=f"process {os.getpid()} on .* already trains there"):
            directory.held().__enter__()
        directory.claim(_TREE, _TREE)
    with directory.held():
        pass


def test_holding_a_new_directory_does_not_fill_it(tmp_path):
    directory = RunDirectory(tmp_path / "new")
    with directory.held():
        directory.claim(_TREE, None)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"), RunDirectory(tmp_path / "file").held():
        pass


def test_differences():
    assert differences({"a": [1, 2]}, {"a": (1, 2)}) == []
    assert differences({"a": {"b": None}}, {"a": {}}) == []
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 2}}) == ["a.b", "a.c"]
    assert differences({"a": 1}, {"a": {"b": 1}}) == ["a"]


def test_json_is_readable(tmp_path):
    write_json({"unit": "meV/Å"}, tmp_path / "a.json")
    assert "meV/Å" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_json_holds_no_bare_nan_or_infinity(tmp_path):
    write_json({"loss": float("inf"), "rows": [float("nan"), 1.0]}, tmp_path / "a.json")
    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert read == {"loss": None, "rows": [None, 1.0]}


def test_log_file_keeps_what_is_said(tmp_path):
    logger = logging.getLogger("equinet.training.anything")
    handler = open_log(tmp_path / "train.log")
    logger.warning("heard")
    close_log(handler)
    logger.warning("not heard")
    text = (tmp_path / "train.log").read_text(encoding="utf-8")
    assert "WARNING equinet.training.anything: heard" in text
    assert "not heard" not in text
