import logging
import math
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from equinet.data import (
    AtomicDataset,
    Statistics,
    atomic_energies,
    fit_reference_energies,
)
from equinet.errors import DataError


def dataset(formulas, references, *, interaction=0.0, force=1.0):
    images = []
    for formula in formulas:
        atoms = Atoms(formula)
        atoms.positions[:, 0] = 1.5 * np.arange(len(atoms))
        energy = sum(references[z] + interaction for z in atoms.numbers.tolist())
        forces = np.full((len(atoms), 3), force)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        images.append(atoms)
    return AtomicDataset(images, 2.0, name="set")


REFERENCES = {1: -13.5, 6: -1029.5, 8: -2042.0}


def test_given_references_leave_the_interaction():
    data = dataset(["H2O", "CH4", "CO"], REFERENCES, interaction=-2.0, force=-0.3)
    statistics = Statistics.of(data, REFERENCES | {79: 0.0})
    assert statistics.elements == (1, 6, 8)
    assert statistics.reference_energies == tuple(REFERENCES.values())
    assert statistics.shift == pytest.approx(-2.0, abs=1e-10)
    assert statistics.scale == pytest.approx(0.3 * math.sqrt(math.pi / 2))
    assert statistics.average_neighbors == pytest.approx((4 + 8 + 2) / 10)
    assert set(statistics.model_arguments()) == {
        "elements",
        "reference_energies",
        "shift",
        "scale",
        "average_neighbors",
    }
    with pytest.raises(DataError, match=r"no reference energies for atomic numbers \[6, 8\]"):
        Statistics.of(data, {1: 0.0})


def test_fitted_references_are_exact_where_compositions_allow():
    data = dataset(["H2O", "CH4", "CO", "H2O2"], REFERENCES)
    fit = fit_reference_energies(data.frames, data.elements)
    np.testing.assert_allclose(fit, list(REFERENCES.values()), atol=1e-9)
    assert Statistics.of(data).shift == pytest.approx(0, abs=1e-10)


def test_degenerate_compositions_keep_their_sum_at_smallest_norm(caplog):
    """Energies of pseudopotentials are far from those of free atoms with all electrons."""
    data = dataset(["H2O", "H2O"], {1: -16.0, 8: -437.0})
    with caplog.at_level(logging.INFO):
        hydrogen, oxygen = fit_reference_energies(data.frames, data.elements)
    assert 2 * hydrogen + oxygen == pytest.approx(-469.0, abs=1e-9)
    assert hydrogen == pytest.approx(2 * oxygen)
    assert "fix 1 of 2 reference energies" in caplog.text
    assert "follow by smallest norm" in caplog.text


def test_degenerate_compositions_stay_near_to_free_atoms(caplog):
    data = dataset(["H2O", "H2O"], REFERENCES, interaction=-3.3)
    with caplog.at_level(logging.INFO):
        hydrogen, oxygen = fit_reference_energies(data.frames, data.elements)
    assert hydrogen == pytest.approx(-13.6057, abs=1e-4)
    assert oxygen == pytest.approx(-74.809 * 27.2114, abs=0.01)
    assert "fix 1 of 2 reference energies; the rest are near to those of free atoms" in caplog.text
    statistics = Statistics.of(data)
    assert 2 * hydrogen + oxygen + 3 * statistics.shift == pytest.approx(-2069.0 - 3 * 3.3)
    # Without the two, a methanol molecule would be off by hundreds of eV.
    with_carbon = dataset(["C2H6O", "C2H6O"], REFERENCES, interaction=-4.0)
    found = Statistics.of(with_carbon)
    energies = dict(zip(found.elements, found.reference_energies, strict=True))
    methanol = energies[6] + 4 * energies[1] + energies[8] + 6 * found.shift
    true = REFERENCES[6] + 4 * REFERENCES[1] + REFERENCES[8] - 6 * 4.0
    assert methanol == pytest.approx(true, abs=3.0)


def test_partly_degenerate_compositions_fit_what_they_fix():
    data = dataset(["H2O", "H2O2", "CH4"], REFERENCES)
    fit = fit_reference_energies(data.frames, data.elements)
    np.testing.assert_allclose(fit, list(REFERENCES.values()), atol=1e-6)
    data = dataset(["H2O", "C2H2O", "C3H2O"], REFERENCES)  # carbon is fixed, and H2O
    hydrogen, carbon, oxygen = fit_reference_energies(data.frames, data.elements)
    shift = Statistics.of(data).shift
    assert carbon + shift == pytest.approx(REFERENCES[6], abs=1e-6)
    assert 2 * hydrogen + oxygen + 3 * shift == pytest.approx(-2069.0, abs=1e-6)


def test_frames_without_energies_or_forces_are_left_out_of_what_they_lack():
    data = dataset(["H2O", "CH4", "CO", "H2O2"], REFERENCES)
    frames = [
        *data.frames,
        replace(data.frames[0], energy=None, forces=3 * data.frames[0].forces),
        replace(data.frames[1], forces=None),
    ]
    mixed = Statistics.of(AtomicDataset(frames, 2.0, mixed_labels=True))
    np.testing.assert_allclose(mixed.reference_energies, list(REFERENCES.values()), atol=1e-9)
    alone = [replace(frame, energy=None) for frame in data.frames]
    found = Statistics.of(AtomicDataset(alone, 2.0))
    assert found.reference_energies == (0.0, 0.0, 0.0)
    assert found.shift == 0.0
    assert found.scale == pytest.approx(math.sqrt(math.pi / 2))


def test_tabulated_energies_are_those_of_calculations():
    # Free atoms of 3BPA's files (wB97X/6-31G(d)), and the local density approximation of NIST.
    calculated = {1: -13.58722, 6: -1029.48900, 7: -1484.98146, 8: -2041.98160}
    for element, energy in calculated.items():
        assert atomic_energies([element])[0] == pytest.approx(energy, rel=0.005)
    local = {10: -128.233481, 18: -525.946195, 26: -1261.093056, 36: -2750.147940, 54: -7228.856107}
    for element, energy in local.items():
        assert atomic_energies([element])[0] == pytest.approx(energy * 27.211386, rel=0.003)
    assert (np.diff(atomic_energies(range(1, 55))) < 0).all()
    assert atomic_energies([55]) is None


def test_a_few_enormous_forces_do_not_set_the_scale():
    random = np.random.default_rng(0)
    frames = []
    for number in range(200):
        atoms = Atoms("C20", positions=random.normal(scale=20, size=(20, 3)))
        forces = random.normal(scale=0.1, size=(20, 3))
        forces[0] = (3.0 if number % 20 == 0 else forces[0, 0]), *forces[0, 1:]
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=forces)
        frames.append(atoms)
    statistics = Statistics.of(AtomicDataset(frames, 2.0), {6: 0.0})
    assert statistics.scale == pytest.approx(0.1, rel=0.05)


def test_no_edges_and_no_forces_give_ones_and_missing_labels_an_error():
    data = dataset(["H", "O"], REFERENCES, force=0.0)
    statistics = Statistics.of(data)
    assert statistics.scale == 1.0
    assert statistics.average_neighbors == 1.0
    plain = AtomicDataset([Atoms("H")], 2.0)
    with pytest.raises(DataError, match="has an energy or forces; name the labels"):
        Statistics.of(plain)
