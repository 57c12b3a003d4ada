"""The pictures: they are drawn, without a display and without global state."""

import sys

import numpy as np

from equinet.evaluation.plots import Parity, learning_curve, parity

_PNG = b"\x89PNG"
CURVES = {"energy_rmse_meV": "energy (meV)", "forces_rmse_meV_per_A": "forces (meV/Å)"}


def test_learning_curve(tmp_path):
    rows = [
        {"step": 10, "train_energy_rmse_meV": 30.0, "train_forces_rmse_meV_per_A": 90.0},
        {"step": 20, "val_energy_rmse_meV": 20.0, "val_forces_rmse_meV_per_A": 60.0},
    ]
    for name, some in (("curves", rows), ("one", rows[:1]), ("none", [])):
        learning_curve(some, CURVES, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(_PNG)


def test_a_task_without_curves_shows_its_loss(tmp_path):
    learning_curve([{"step": 1, "train_loss": 2.0}], {}, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(_PNG)


def test_parity(tmp_path):
    rng = np.random.default_rng(0)
    energies, forces = rng.normal(size=(2, 5)), rng.normal(size=(2, 50_000))
    panels = [Parity("energy", *energies), Parity("forces", *forces)]
    parity(panels, tmp_path / "a.png", "test")
    empty = np.zeros(0)
    parity([Parity("one", empty, empty)], tmp_path / "b.png")
    for name in "ab":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(_PNG)


def test_pyplot_is_not_used(tmp_path):
    before = "matplotlib.pyplot" in sys.modules
    learning_curve([], CURVES, tmp_path / "a.png")
    assert ("matplotlib.pyplot" in sys.modules) == before
