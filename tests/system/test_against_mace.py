"""The race against mace-torch sets our side up as it says; the other side needs its own Python."""

import importlib.util
import sys
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "3bpa" / "against_mace.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("against_mace", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


def labeled(seed: int) -> ase.Atoms:
    draw = np.random.default_rng(seed)
    atoms = molecule("CH3OH")
    atoms.positions += 0.05 * draw.normal(size=atoms.positions.shape)
    atoms.calc = SinglePointCalculator(
        atoms, energy=draw.normal(), forces=draw.normal(size=atoms.positions.shape)
    )
    return atoms


def test_our_side_infers_and_trains(script):
    atoms = [labeled(seed) for seed in range(2)]
    work, edges = script.equinet_work(atoms, {1: -1.0, 6: -2.0, 8: -3.0}, 4, "cpu")
    assert set(work) == set(script.PHASES)
    assert edges == 2 * 6 * 5  # within 5 Å everything is a neighbor
    for phase in script.PHASES:
        work[phase]()


def test_turns_are_taken_and_compared(script):
    class Library:
        def __init__(self, name, ms):
            self.library, self._ms = name, ms
            self.calls = []

        def call(self, phase):
            self.calls.append(phase)
            return {"ms": self._ms, "peak_mb": 2 * self._ms}

        def forget(self):
            pass

    ours, theirs = Library("equinet", 2.0), Library("mace-torch", 30.0)
    found = script.race([ours, theirs], rounds=3)
    expected = [p for p in script.PHASES for _ in range(script.WARM_UP + 3)]
    assert ours.calls == theirs.calls == expected
    assert script.ratios(found["training"]) == (15.0, pytest.approx(1 / 15))
