"""The record of a run: the command, versions, commit, seed and data."""

import sys
from types import SimpleNamespace

from equinet.configuration import make_stamp


def test_stamp_repeats_the_command_as_typed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/equinet/train.py", "+experiment=3bpa"])
    started = SimpleNamespace(__spec__=SimpleNamespace(name="equinet.train"))
    monkeypatch.setitem(sys.modules, "__main__", started)
    command = make_stamp(seed=0, fingerprint="")["command"]
    assert command == ["python", "-m", "equinet.train", "+experiment=3bpa"]


def test_stamp_says_what_a_result_depends_on():
    record = make_stamp(seed=3, fingerprint="abc")
    assert record["seed"] == 3
    assert record["data_fingerprint"] == "abc"
    assert {"python", "equinet", "torch", "lightning"} <= record["versions"].keys()
    assert record["commit"] is None or len(record["commit"]) == 40
