"""The first lines and the last ones of a run."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from equinet import zoo
from equinet.configuration import relative
from equinet.errors import EquinetError
from equinet.ops import native
from equinet.training import PotentialTask


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
    last = messages[-3].splitlines()[-2:]
    assert [line.split(":")[0] for line in last] == ["val", "test"]
    assert all(re.search(r"median \d.* worst \d+\.\d\d meV/Å \(frame \d\)", line) for line in last)


def test_metrics_and_pictures(whole):
    path = whole.directory.path
    written = json.loads((path / "metrics.json").read_text())
    # Another test starts this finished run again, which takes a moment.
    assert written.pop("train_seconds") == pytest.approx(whole.metrics["train_seconds"], abs=1)
    assert written == {k: v for k, v in whole.metrics.items() if k != "train_seconds"}
    assert whole.metrics["sets"]["test"]["structures"] == 5
    assert whole.metrics["data"] == "springs: 14 training frames"
    for name in ("curves.png", "parity.png", "errors.png"):
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


def test_errors_of_single_structures_are_kept(whole, tiny_data):
    found = whole.metrics["per_structure"]["test"]["forces_rmse"]
    model, errors = zoo.load(whole.directory.path), []
    for graph, frame in zip(tiny_data.tests["test"], tiny_data.tests["test"].frames, strict=True):
        forces = model(Batch.from_data_list([graph]))["forces"].detach().double().numpy()
        errors.append(1000 * np.sqrt(np.square(forces - frame.forces).mean()))
    assert found["median"] == pytest.approx(np.median(errors), rel=1e-4)
    assert found["percentile_90"] == pytest.approx(np.percentile(errors, 90), rel=1e-4)
    assert found["worst"] == pytest.approx(max(errors), rel=1e-4)
    assert found["worst_index"] == int(np.argmax(errors))
    assert found["worst_source"] == f"frame {np.argmax(errors)}"


def test_predictions_that_are_not_finite_end_a_run_with_its_model(run_fit, tmp_path, monkeypatch):
    def stumble(*_):
        raise EquinetError("the model's energy for frame 3 is not finite")

    monkeypatch.setattr(PotentialTask, "evaluate", stumble)
    with pytest.raises(EquinetError, match="frame 3"):
        run_fit(max_epochs=1)
    assert zoo.load(tmp_path / "run").elements
    assert not (tmp_path / "run" / "metrics.json").exists()
