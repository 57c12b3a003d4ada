import logging
import math

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from equinet.data import AtomicDataset, Statistics, fit_reference_energies
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
    data = dataset(["H2O", "H2O"], REFERENCES)
    with caplog.at_level(logging.INFO):
        hydrogen, oxygen = fit_reference_energies(data.frames, data.elements)
    assert 2 * hydrogen + oxygen == pytest.approx(-2069.0, abs=1e-9)
    assert hydrogen == pytest.approx(2 * oxygen)
    assert "fix 1 of 2 reference energies" in caplog.text


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
    with pytest.raises(DataError, match="the frame has no energy"):
        Statistics.of(plain)
