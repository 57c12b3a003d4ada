"""The ASE calculator: exact derivatives, conserved energy, clear refusals."""

import copy
import importlib
import math
import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from torch_geometric.data import Batch

from equinet import zoo
from equinet.data import frame_from_atoms, to_graph
from equinet.errors import BackendError, ConfigError, DataError
from equinet.integrations.ase import EquinetCalculator
from equinet.models import Committee, EquiformerV2, Fallback, MACEGaunt

ELEMENTS = (1, 6, 8, 29)
REFERENCE = (-13.6, -1030.0, -2040.0, -45000.0)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return MACEGaunt(
        elements=ELEMENTS,
        cutoff=3.5,
        reference_energies=REFERENCE,
        average_neighbors=10.0,
        scale=2.0,
        channels=4,
        lmax_filter=2,
        lmax_hidden=1,
        correlation=2,
        radial_hidden=(8,),
    ).double()


def rattled(atoms, amount=0.05):
    atoms = atoms.copy()
    atoms.rattle(amount, seed=1)
    return atoms


def sheared_copper():
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    shear = np.array([[1, 0.1, 0], [0, 1, 0.05], [0.02, 0, 1]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return rattled(atoms)


STRUCTURES = {
    "molecule": rattled(molecule("CH3CH2OH")),
    "slab": rattled(fcc111("Cu", (2, 2, 2), vacuum=6.0)),
    "crystal": sheared_copper(),
    "dimer": molecule("CO"),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_are_minus_the_gradient(model, name):
    atoms = STRUCTURES[name].copy()
    atoms.calc = EquinetCalculator(model)
    some = range(min(3, len(atoms)))
    numeric = calculate_numerical_forces(atoms, eps=1e-4, iatoms=some)
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 1e-3
    np.testing.assert_allclose(forces[: len(numeric)], numeric, atol=1e-6)
    np.testing.assert_allclose(forces.sum(0), 0, atol=1e-10)


def test_stress_is_the_strain_derivative_in_ase_order_and_sign(model):
    atoms = STRUCTURES["crystal"].copy()
    atoms.calc = EquinetCalculator(model)
    stress = atoms.get_stress()
    assert stress.shape == (6,)
    assert len(set(np.round(stress, 6))) == 6  # else a wrong order could pass
    np.testing.assert_allclose(stress, calculate_numerical_stress(atoms, eps=1e-5), atol=1e-7)


@pytest.mark.parametrize("name", STRUCTURES)
def test_calculator_equals_the_model(model, name):
    atoms = STRUCTURES[name].copy()
    atoms.calc = EquinetCalculator(model)
    graph = Batch.from_data_list([to_graph(frame_from_atoms(atoms), model.cutoff)])
    expected = model.eval()(graph)
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"].item(), rel=1e-14)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"].detach(), atol=1e-12)


@pytest.mark.parametrize("pbc", [False, (True, True, False)])
def test_no_stress_without_three_periods(model, pbc):
    atoms = STRUCTURES["slab"].copy()
    atoms.pbc = pbc
    atoms.calc = EquinetCalculator(model)
    with pytest.raises(PropertyNotImplementedError, match="three periodic directions"):
        atoms.get_stress()
    atoms.get_forces()


def test_no_stress_from_direct_forces():
    torch.manual_seed(3)
    direct = EquiformerV2(
        elements=ELEMENTS,
        cutoff=3.5,
        reference_energies=REFERENCE,
        average_neighbors=10.0,
        channels=4,
        blocks=1,
        lmax=2,
        mmax=1,
        heads=2,
        edge_channels=4,
    )
    atoms = STRUCTURES["crystal"].copy()
    atoms.calc = EquinetCalculator(direct)
    with pytest.raises(PropertyNotImplementedError, match="EquiformerV2 has direct forces"):
        atoms.get_stress()
    assert np.abs(atoms.get_forces()).max() > 0


@pytest.mark.parametrize("pbc", [False, True])
def test_single_atom(model, pbc):
    atoms = Atoms("C", cell=[9, 9, 9] if pbc else None, pbc=pbc)
    atoms.calc = EquinetCalculator(model)
    assert math.isfinite(atoms.get_potential_energy())
    np.testing.assert_array_equal(atoms.get_forces(), np.zeros((1, 3)))
    if pbc:
        np.testing.assert_array_equal(atoms.get_stress(), np.zeros(6))


def test_unknown_elements_are_named(model):
    atoms = molecule("CH3Cl")
    atoms.calc = EquinetCalculator(model)
    for _ in range(2):  # the failure must not be mistaken for a result
        with pytest.raises(DataError, match="not trained for Cl; it knows H, C, O, Cu"):
            atoms.get_potential_energy()
    atoms.symbols[atoms.symbols == "Cl"] = "H"
    assert math.isfinite(atoms.get_potential_energy())


def test_a_failure_leaves_no_results_behind(model):
    calculator = EquinetCalculator(model)
    calculator.calculate(molecule("H2O"))
    with pytest.raises(DataError):
        calculator.calculate(molecule("CH3Cl"))
    assert calculator.results == {}


def test_exploded_positions_are_refused(model):
    atoms = molecule("H2O")
    atoms.positions[0, 0] = np.nan
    atoms.calc = EquinetCalculator(model)
    with pytest.raises(DataError, match="NaN"):
        atoms.get_forces()


def test_results_that_are_not_finite_are_refused(model, monkeypatch):
    calculator = EquinetCalculator(model)
    for name in ("energy", "forces", "stress"):

        def spoiled(graph, name=name, **options):
            found = calculator.model(graph, **options)
            return found | {name: found[name] * math.inf}

        monkeypatch.setattr(calculator, "_fixed", spoiled)
        with pytest.raises(DataError, match=f"the model's {name} is not finite, as where two atom"):
            calculator.calculate(bulk("Cu"))
        assert calculator.results == {}


def test_results_follow_the_atoms(model):
    atoms = STRUCTURES["crystal"].copy()
    atoms.calc = EquinetCalculator(model)
    changes = [
        lambda: atoms.positions.__setitem__((0, 0), 0.1),
        lambda: atoms.set_cell(atoms.cell * 1.02),
        lambda: atoms.symbols.__setitem__(0, "O"),
        lambda: atoms.set_pbc((True, True, False)),
        lambda: atoms.__delitem__(1),
    ]
    for change in changes:
        before = atoms.get_potential_energy()
        change()
        fresh = atoms.copy()
        fresh.calc = EquinetCalculator(model)
        assert atoms.get_potential_energy() != before
        assert atoms.get_potential_energy() == fresh.get_potential_energy()
        np.testing.assert_array_equal(atoms.get_forces(), fresh.get_forces())


def test_unchanged_atoms_are_not_computed_again(model, monkeypatch):
    atoms = STRUCTURES["crystal"].copy()
    atoms.calc = EquinetCalculator(model)
    atoms.get_potential_energy()
    monkeypatch.setattr(atoms.calc, "calculate", None)
    atoms.get_forces()
    atoms.get_stress()
    atoms.set_initial_charges([1.0] * len(atoms))
    atoms.get_potential_energy()


@pytest.mark.parametrize("tol", [0.0, 1e-3])
def test_changes_are_those_that_ase_finds(model, tol):
    calculator = EquinetCalculator(model)
    atoms = STRUCTURES["crystal"].copy()
    assert set(calculator.check_state(atoms)) == set(all_changes)
    changes = [
        lambda _: None,
        lambda changed: changed.positions.__iadd__(1e-6),
        lambda changed: changed.positions.__iadd__(0.1),
        lambda changed: changed.positions.fill(np.nan),
        lambda changed: changed.set_cell(changed.cell * 1.02),
        lambda changed: changed.symbols.__setitem__(0, "O"),
        lambda changed: changed.set_pbc((True, True, False)),
        lambda changed: changed.__delitem__(1),
        lambda changed: changed.set_initial_charges([1.0] * len(changed)),
    ]
    for change in changes:
        calculator.atoms, changed = atoms.copy(), atoms.copy()
        change(changed)
        found = calculator.check_state(changed, tol)
        assert set(found) == set(Calculator.check_state(calculator, changed, tol))


def test_the_fixed_form_is_made_once_and_only_where_it_is_used(model, monkeypatch):
    made, fixed = [], MACEGaunt.fixed
    monkeypatch.setattr(MACEGaunt, "fixed", lambda self: made.append(self) or fixed(self))
    atoms = STRUCTURES["crystal"].copy()
    atoms.calc = EquinetCalculator(model)
    assert not made
    atoms.get_forces()
    atoms.rattle(0.01)
    atoms.get_forces()
    assert made == [atoms.calc.model]
    compiled = EquinetCalculator(model)
    monkeypatch.setattr(MACEGaunt, "is_compiled", True)
    compiled.get_forces(atoms)
    assert len(made) == 1


def test_the_calculator_keeps_its_own_copy(model):
    model.train()
    atoms = STRUCTURES["molecule"].copy()
    atoms.calc = EquinetCalculator(model, dtype=torch.float32)
    atoms.get_forces()
    assert model.training
    assert model.dtype == torch.float64
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_precisions_agree(model):
    double = STRUCTURES["crystal"].copy()
    double.calc = EquinetCalculator(model, dtype=torch.float64)
    single = STRUCTURES["crystal"].copy()
    single.calc = EquinetCalculator(model, dtype=torch.float32)
    # 1e-5 eV at a total of 360 000 eV: the reference energies are summed in float64.
    assert single.get_potential_energy() == pytest.approx(double.get_potential_energy(), abs=1e-3)
    np.testing.assert_allclose(single.get_forces(), double.get_forces(), atol=1e-4)
    np.testing.assert_allclose(single.get_stress(), double.get_stress(), atol=1e-5)


def test_other_precisions_are_refused(model):
    with pytest.raises(ConfigError, match=r"float32 or torch\.float64, found torch\.float16"):
        EquinetCalculator(model, dtype=torch.float16)


def test_saved_models_are_loaded(model, tmp_path):
    zoo.save(model, tmp_path / "model", {})
    first, second = STRUCTURES["molecule"].copy(), STRUCTURES["molecule"].copy()
    first.calc = EquinetCalculator(model)
    second.calc = EquinetCalculator(tmp_path)
    assert first.get_potential_energy() == pytest.approx(second.get_potential_energy(), abs=1e-9)
    with pytest.raises(ConfigError, match="no folder or zoo model"):
        EquinetCalculator("no-such-model")


def test_committees_tell_their_spread(model):
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        parameter.data *= 1.1
    atoms = STRUCTURES["molecule"].copy()
    atoms.calc = EquinetCalculator(Committee.of([model, other]))
    atoms.get_forces()
    graph = to_graph(frame_from_atoms(atoms), model.neighborhood)
    energies = [each(graph)["energy"].item() for each in (model, other)]
    assert atoms.calc.energy_spread == pytest.approx(np.std(energies, ddof=1))
    assert atoms.calc.forces_spread.shape == (len(atoms),)
    assert atoms.get_properties(["forces"])["forces"].shape == (len(atoms), 3)
    atoms.numbers[0] = 79
    with pytest.raises(DataError):
        atoms.get_forces()
    assert atoms.calc.energy_spread is None
    assert atoms.calc.forces_spread is None


def test_fallbacks_tell_what_is_familiar(model):
    atoms = STRUCTURES["molecule"].copy()
    met = list(combinations(sorted(set(atoms.numbers.tolist())), 2))
    for pairs, familiar in ((met, True), ([], False)):
        atoms.calc = EquinetCalculator(Fallback.of(model, model, pairs))
        atoms.get_forces()
        assert atoms.calc.familiar is familiar
    atoms.numbers[0] = 79
    with pytest.raises(DataError):
        atoms.get_forces()
    assert atoms.calc.familiar is None


def test_energy_is_conserved_to_second_order_in_the_time_step(model):
    start = STRUCTURES["molecule"].copy()
    start.calc = EquinetCalculator(model)
    BFGS(start, logfile=None).run(fmax=0.2, steps=20)
    velocities = np.random.default_rng(0).normal(size=(len(start), 3))
    start.set_momenta(velocities * np.sqrt(start.get_masses() * 300 * units.kB)[:, None])

    def swing(timestep, duration=20.0):
        atoms = start.copy()
        atoms.calc = EquinetCalculator(model)
        dynamics = VelocityVerlet(atoms, timestep=timestep * units.fs)
        total, kinetic = [], []
        for _ in range(round(duration / timestep)):
            dynamics.run(1)
            total.append(atoms.get_total_energy())
            kinetic.append(atoms.get_kinetic_energy())
        return np.ptp(total) / np.ptp(kinetic)

    coarse, fine = swing(0.5), swing(0.25)
    assert fine < 0.01
    assert 3 < coarse / fine < 5


def test_relaxations_lower_the_energy(model):
    atoms = STRUCTURES["crystal"].copy()
    atoms.calc = EquinetCalculator(model)
    before = atoms.get_potential_energy()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.05, steps=10)
    assert atoms.get_potential_energy() < before


def test_constraints_hold_and_hide_nothing(model, tmp_path):
    atoms = STRUCTURES["slab"].copy()
    free = atoms.copy()
    free.calc = EquinetCalculator(model)
    atoms.set_constraint(FixAtoms([0, 1, 2, 3]))
    atoms.calc = EquinetCalculator(model)
    np.testing.assert_array_equal(atoms.get_forces(apply_constraint=False), free.get_forces())
    held = atoms.positions[:4].copy()
    BFGS(atoms, logfile=None, trajectory=str(tmp_path / "relaxation.traj")).run(steps=2)
    np.testing.assert_array_equal(atoms.positions[:4], held)
    last = read(tmp_path / "relaxation.traj")
    assert last.get_potential_energy() == pytest.approx(atoms.get_potential_energy())


def test_without_ase_the_import_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ase.calculators.calculator", None)
    monkeypatch.delitem(sys.modules, "equinet.integrations.ase")
    with pytest.raises(BackendError, match=r"pip install '\.\[atoms\]'"):
        importlib.import_module("equinet.integrations.ase")


def test_threads_may_share_a_calculator(model, monkeypatch):
    """Each waits a little between evaluation and result, where another could come between."""
    calculator = EquinetCalculator(model)
    structures = [STRUCTURES["dimer"].copy(), STRUCTURES["molecule"].copy()]
    expected = [EquinetCalculator(model).get_forces(atoms) for atoms in structures]
    evaluate = EquinetCalculator.calculate

    def slowly(self, *arguments):
        evaluate(self, *arguments)
        time.sleep(0.02)

    monkeypatch.setattr(EquinetCalculator, "calculate", slowly)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(calculator.get_forces, 4 * structures))
    for number, forces in enumerate(found):
        np.testing.assert_array_equal(forces, expected[number % 2])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copied_calculator_works(model, copied):
    calculator = EquinetCalculator(model)
    atoms = STRUCTURES["dimer"].copy()
    assert copied(calculator).get_potential_energy(atoms) == calculator.get_potential_energy(atoms)
