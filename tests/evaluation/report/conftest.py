"""Predictions on a few structures, and the folder of an evaluation of them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from equinet.data import Frame
from equinet.evaluation import (
    POTENTIAL_ERRORS,
    Predictions,
    published_rows,
)
from equinet.evaluation.report import Findings, Report

HOSTILE = "<script>alert(\"x\")</script> & 'co'.xyz"


@pytest.fixture
def hostile() -> str:
    """A file name that would be markup and script if it were not escaped."""
    return HOSTILE


@pytest.fixture
def loader():
    """Loader of 25 structures of water, every fifth one periodic."""
    rng = np.random.default_rng(0)
    water = np.array([[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    frames = [
        Frame(
            np.array([8, 1, 1]),
            water + 0.02 * rng.normal(size=(3, 3)),
            9.0 * np.eye(3) * (index % 5 == 0),
            np.full(3, index % 5 == 0),
            energy=-14.0,
            forces=rng.normal(size=(3, 3)),
            source=f"{HOSTILE}, frame {index}",
        )
        for index in range(25)
    ]
    return SimpleNamespace(dataset=SimpleNamespace(frames=frames))


@pytest.fixture
def predictions(loader) -> Predictions:
    """Errors of 1 meV a structure and 10 meV/Å a component, but 500 meV/Å in structure 7."""
    frames = loader.dataset.frames
    forces = np.concatenate([frame.forces for frame in frames])
    errors = np.full((75, 3), 0.01)
    errors[21:24] = 0.5
    energy = np.array([frame.energy for frame in frames])
    return Predictions(
        energy=energy + 0.003,
        true_energy=energy,
        atoms=np.full(25, 3),
        forces=forces + errors,
        true_forces=forces,
        counted=np.ones(75, dtype=bool),
        errors={"energy_rmse": 3.0, "forces_rmse": 100.5},
        numbers=np.tile([8, 1, 1], 25),
    )


@pytest.fixture
def report(predictions, loader) -> Report:
    found = Findings.of(HOSTILE, parity=predictions.parity, predictions=predictions, loader=loader)
    return Report(
        f"MACEGaunt on {HOSTILE}",
        about=[f"Evaluated on {HOSTILE}."],
        data=[f"25 structures of {HOSTILE}"],
        errors=POTENTIAL_ERRORS,
        rows=[{"name": HOSTILE, "structures": 25, **predictions.errors}],
        published={HOSTILE: published_rows("test_300K.xyz")},
        findings=[found],
        checks=[("energy under a rotation", "1.0e-12 eV")],
        timings=[("training", "1h02m")],
        settings=[f"data.file={HOSTILE}"],
    )


@pytest.fixture
def folder(report, tmp_path):
    """Folder of a run that has everything a report can show."""
    report.save(tmp_path)
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,train_energy_rmse_meV,val_energy_rmse_meV,val_forces_rmse_meV_per_A\n"
        "1,10,30.0,20.0,90\n2,20,25.0,12.0,40\n"
    )
    stamp = {
        "time": "2026-01-02T03:04:05+00:00",
        "command": ["equinet", "train", f"data.train={HOSTILE}"],
        "hostname": "node7",
        "hardware": {"cpu": "EPYC", "cores": 8, "threads": 4, "gpus": ["H200"]},
        "versions": {"torch": "2.10"},
        "commit": "c0ffee",
        "dirty": True,
        "seed": 3,
        "data_fingerprint": "abc",
        "resumed": [{"command": ["equinet", "train", "trainer.max_epochs=9"]}],
    }
    (tmp_path / "stamp.json").write_text(json.dumps(stamp))
    (tmp_path / "mistakes_test.png").write_bytes(b"\x89PNG mistakes")
    return tmp_path
