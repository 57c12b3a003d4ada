"""Batched relaxations: against ASE's optimizer, step by step, and against each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, fcc100, fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import LBFGS
from torch import nn

from equinet.data import Frame, frame_from_atoms, frame_to_atoms
from equinet.errors import DataError
from equinet.evaluation.lbfgs import PackedLBFGS
from equinet.evaluation.relaxation import relax
from equinet.neighborhood import Neighborhood

AS_IN_OC20 = {"maxstep": 0.04, "memory": 50, "damping": 1.0, "alpha": 70.0}


class Surfaces(nn.Module):
    """ASE's EMT potential, called as a model is."""

    neighborhood = Neighborhood(3.0)

    def forward(self, graph):
        energies, forces = [], []
        for place in range(graph.num_graphs):
            inside = graph.batch == place
            atoms = Atoms(
                graph.atomic_numbers[inside].numpy(),
                graph.pos[inside].numpy(),
                cell=graph.cell[place].numpy(),
                pbc=graph.pbc[place].numpy(),
                calculator=EMT(),
            )
            energies.append(atoms.get_potential_energy())
            forces.append(torch.tensor(atoms.get_forces()))
        return {"energy": torch.tensor(energies), "forces": torch.cat(forces)}


class Wells(nn.Module):
    """Every atom in a well of its element's curvature, 1 to 200 eV/Å², 4 Å from well to well."""

    neighborhood = Surfaces.neighborhood

    def forward(self, graph):
        stiffness = 1 + 199 * (graph.atomic_numbers.double() - 1)[:, None] / 91
        stiffness = stiffness * torch.tensor([1.0, 0.5, 0.1])
        off = graph.pos - 4 * (graph.pos / 4).round()
        energy = 0.5 * (stiffness * off**2).sum(dim=1)
        total = torch.zeros(graph.num_graphs, dtype=torch.float64)
        return {
            "energy": total.index_add(0, graph.batch, energy),
            "forces": -stiffness * off,
        }


def adsorbed(seed):
    """A metal slab with an adsorbate off its site; the lower half is held."""
    rng = np.random.default_rng(seed)
    build, metal = (fcc111, fcc100)[seed % 2], ("Cu", "Ni", "Pt")[seed % 3]
    slab = build(metal, (1 + seed % 2, 2, 2), vacuum=6.0)
    add_adsorbate(slab, ("O", "C", "N")[seed % 3], 1.3, "bridge")
    slab.set_constraint(FixAtoms(mask=slab.get_tags() == 2))
    slab.pbc = True
    slab.rattle(0.05, rng=rng)
    return replace(frame_from_atoms(slab), source=f"slab {seed}")


def in_wells(seed, atoms):
    rng = np.random.default_rng(seed)
    return Frame(
        numbers=rng.integers(1, 47, size=atoms),
        positions=rng.uniform(-1, 1, size=(atoms, 3)) + 4.0 * np.arange(atoms)[:, None],
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=bool),
        fixed=rng.random(atoms) < 0.3,
        source=f"wells {seed}",
    )


def by_ase(frame, calculator, *, fmax, steps):
    atoms = frame_to_atoms(frame)
    atoms.calc = calculator
    optimizer = LBFGS(atoms, logfile=None, **AS_IN_OC20)
    optimizer.run(fmax=fmax, steps=steps)
    return atoms, optimizer.nsteps


class WellCalculator(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        stiffness = (1 + 199 * (atoms.numbers - 1)[:, None] / 91) * [1.0, 0.5, 0.1]
        off = atoms.positions - 4 * (atoms.positions / 4).round()
        self.results = {
            "energy": 0.5 * (stiffness * off**2).sum(),
            "forces": -stiffness * off,
        }


@pytest.mark.parametrize("kind", ["surfaces", "wells"])
def test_each_goes_as_ase_would_take_it_alone(kind):
    """Six at most fit in; they start and end at different steps."""
    if kind == "surfaces":
        frames, model = [adsorbed(seed) for seed in range(5)], Surfaces()
        calculators, most = [EMT() for _ in frames], 20
    else:
        frames, model = [in_wells(seed, 2 + seed % 4) for seed in range(12)], Wells()
        calculators, most = [WellCalculator() for _ in frames], 20
    steps = 60
    results = {r.index: r for r in relax(model, frames, fmax=0.03, max_steps=steps, max_atoms=most)}
    assert sorted(results) == list(range(len(frames)))
    for index, (frame, calculator) in enumerate(zip(frames, calculators, strict=True)):
        atoms, taken = by_ase(frame, calculator, fmax=0.03, steps=steps)
        found = results[index]
        assert found.steps == taken
        assert np.allclose(found.positions, atoms.positions, atol=1e-8)
        assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        largest = np.linalg.norm(atoms.get_forces(), axis=1).max()
        assert found.largest_force == pytest.approx(largest, abs=1e-6)
        assert (found.outcome == "converged") == (largest < 0.03)
        assert np.array_equal(found.positions[frame.fixed], frame.positions[frame.fixed])
    outcomes = {result.outcome for result in results.values()}
    assert "converged" in outcomes
    assert len({result.steps for result in results.values()}) > 2


def test_company_changes_nothing():
    frames = [in_wells(seed, 2 + seed % 4) for seed in range(9)]
    together = {r.index: r for r in relax(Wells(), frames, fmax=0.01, max_atoms=1000)}
    for index, frame in enumerate(frames):
        (alone,) = relax(Wells(), [frame], fmax=0.01)
        found = together[index]
        assert found.steps == alone.steps
        assert np.allclose(found.positions, alone.positions, atol=1e-10)


def test_the_history_is_forgotten_beyond_its_length():
    frame = in_wells(3, 8)
    optimizer = PackedLBFGS(memory=3)
    atoms = frame_to_atoms(replace(frame, fixed=None))
    atoms.calc = WellCalculator()
    oracle = LBFGS(atoms, logfile=None, **AS_IN_OC20 | {"memory": 3})
    optimizer.admit(torch.tensor([8]))
    positions = torch.from_numpy(frame.positions)
    for _ in range(12):
        atoms.positions = positions.numpy()
        forces = torch.from_numpy(atoms.get_forces())
        oracle.step()
        positions = positions + optimizer.step(positions, forces)
        assert np.allclose(positions, atoms.positions, atol=1e-10)


class Breaking(Wells):
    """Where an atom of silver is, the energy is lost after a few steps; of gold, at once."""

    def forward(self, graph):
        found = super().forward(graph)
        lost = (graph.atomic_numbers == 79) | (
            (graph.atomic_numbers == 47) & (graph.pos.norm(dim=1) < 0.9)
        )
        found["energy"][graph.batch[lost]] = float("nan")
        return found


def test_one_that_diverges_is_named_and_the_others_go_on():
    frames = [in_wells(seed, 3) for seed in range(5)]
    for index, number in ((1, 79), (3, 47)):
        frames[index].numbers[0] = number
        frames[index].positions[0] = [1.0, 0, 0]
        frames[index].fixed[0] = False
    frames[2].positions[1] = frames[2].positions[0]  # two atoms at one place
    sound = {r.index: r for r in relax(Wells(), [frames[0], frames[4]])}
    results = {r.index: r for r in relax(Breaking(), frames, max_atoms=100)}
    assert [results[i].outcome == "diverged" for i in range(5)] == [False, True, True, True, False]
    assert "wells 1, step 0: the model's energy or a force is not finite" in results[1].reason
    assert np.isnan(results[1].energy)
    assert "wells 2, step 0: atoms 0 and 1 are at the same place" in results[2].reason
    late = results[3]
    assert late.steps > 1
    assert f"wells 3, step {late.steps}" in late.reason
    assert np.isfinite(late.energy)
    assert np.linalg.norm(late.positions[0]) >= 0.9  # the last place that could be evaluated
    for index, alone in ((0, 0), (4, 1)):
        assert np.allclose(results[index].positions, sound[alone].positions, atol=1e-10)
        assert not results[index].reason


def test_nothing_to_do():
    frame = in_wells(0, 3)
    held = replace(frame, fixed=np.ones(3, dtype=bool))
    (found,) = relax(Wells(), [held])
    assert (found.outcome, found.steps, found.largest_force) == ("converged", 0, 0.0)
    (found,) = relax(Wells(), [replace(frame, fixed=None)], max_steps=0)
    assert (found.outcome, found.steps) == ("unfinished", 0)
    assert list(relax(Wells(), [])) == []
    for wrong in ({"fmax": 0.0}, {"max_steps": -1}, {"max_atoms": 0}):
        with pytest.raises(DataError, match="fmax must be positive"):
            next(relax(Wells(), [frame], **wrong))
