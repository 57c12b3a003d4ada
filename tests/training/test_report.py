"""The first lines and the last ones of a run."""

import json
import logging
from pathlib import Path

import pytest
import torch

from equinet import zoo
from equinet.ops import native
from equinet.run_directory import relative


def test_first_block_is_short_and_names_what_matters(run_fit, caplog):
    with caplog.at_level(logging.INFO, "equinet"):
        run_fit(max_epochs=1)
    messages = [record.message for record in caplog.records if record.name.startswith("equinet")]
    block = messages[: next(i for i, m in enumerate(messages) if m.startswith("Stop"))]
    assert len(block) <= 15
    for word in ("Model", "Device", "Backends", "Budget", "Output"):
        assert any(line.startswith(word) for line in block), word
    assert "MACEGaunt" in block[0]
    assert "Next: python -m equinet.evaluate" in messages[-1]
    assert "meV/Å" in messages[-3]


def test_metrics_and_pictures(whole):
    path = whole.directory.path
    written = json.loads((path / "metrics.json").read_text())
    # Another test starts this finished run again, which takes a moment.
    assert written.pop("train_seconds") == pytest.approx(whole.metrics["train_seconds"], abs=1)
    assert written == {k: v for k, v in whole.metrics.items() if k != "train_seconds"}
    assert whole.metrics["sets"]["test"]["structures"] == 5
    assert whole.metrics["data"] == "springs: 14 training frames"
    for name in ("curves.png", "parity.png"):
        assert (path / name).read_bytes().startswith(b"\x89PNG")


def test_model_is_that_of_the_best_checkpoint(whole):
    model = zoo.load(whole.directory.path)
    best = torch.load(whole.directory.checkpoints / "best.ckpt", weights_only=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, best["state_dict"][f"model.{name}"]), name


@pytest.mark.parametrize("inside", [True, False])
def test_paths_are_written_as_one_would_type_them(tmp_path, monkeypatch, inside):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "a" if inside else Path(tmp_path.parent / "elsewhere")
    assert relative(path) == ("runs/a" if inside else str(path))


@pytest.mark.parametrize("reason", ["", "libequinet.so is not built"])
def test_first_block_says_which_backend_is_taken_and_why(run_fit, caplog, monkeypatch, reason):
    if native.unavailable("filter_sum"):
        pytest.skip("the native engine is not built here")
    monkeypatch.setattr(native, "unavailable", lambda *_: reason)
    with caplog.at_level(logging.INFO, "equinet"):
        run_fit(max_epochs=1)
    (line,) = (record.message for record in caplog.records if record.message.startswith("Backends"))
    taken = "grid" if reason else "native"
    assert f"gaunt_convolution: auto is {taken}; also " in line
    assert line.endswith(f"; no native: {reason}" if reason else "grid")
