import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian

from equinet.data import Frame, LabelKeys, fingerprint, frame_from_atoms, frame_to_atoms
from equinet.data.atoms.frames import check_cell, frames_from_atoms
from equinet.errors import DataError


def test_there_and_back(make_water):
    atoms = make_water()
    stress = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    atoms.set_cell([4.0, 5.0, 6.0])
    atoms.pbc = [True, True, False]
    atoms.set_tags([0, 1, 2])
    atoms.set_constraint([FixAtoms([0]), FixCartesian([2]), FixCartesian([1], (True, False, True))])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.ones((3, 3)), stress=stress)
    (first,) = frames_from_atoms([atoms])
    (second,) = frames_from_atoms([frame_to_atoms(first)])
    assert fingerprint([first]) == fingerprint([second])
    assert first.fixed is not None
    assert first.fixed.tolist() == [True, False, True]
    np.testing.assert_array_equal(first.tags, second.tags)
    np.testing.assert_array_equal(first.stress, stress)


def test_labels_are_left_alone_without_keys(make_water):
    atoms = make_water()
    atoms.calc = SinglePointCalculator(atoms, energy=float("nan"))
    assert frame_from_atoms(atoms).energy is None


def test_labels_of_other_positions_are_refused(make_water):
    atoms = make_water()
    atoms.calc = EMT()
    atoms.get_potential_energy()
    assert frame_from_atoms(atoms, LabelKeys(energy="energy")).energy is not None
    atoms.positions[0, 0] += 0.1
    with pytest.raises(DataError, match="the positions changed after the labels were computed"):
        frame_from_atoms(atoms, LabelKeys(energy="energy"))


def test_the_fingerprint_sees_every_number():
    def frame(**changes: object) -> Frame:
        values: dict = {
            "numbers": np.array([1, 2]),
            "positions": np.zeros((2, 3)),
            "cell": np.zeros((3, 3)),
            "pbc": np.zeros(3, dtype=bool),
            "energy": 1.0,
        }
        return Frame(**(values | changes))

    variants = [
        frame(),
        frame(energy=np.nextafter(1.0, 2)),
        frame(energy=None),
        frame(numbers=np.array([2, 1])),
        frame(forces=np.zeros((2, 3))),
        frame(pbc=np.array([True, False, False])),
    ]
    assert len({fingerprint([variant]) for variant in variants}) == len(variants)
    assert fingerprint([frame()]) == fingerprint([frame(source="elsewhere")])


def test_misshapen_and_missing_values_are_refused(make_water):
    atoms = make_water(energy=[1.0, 2.0], word="five")
    atoms.arrays["forces"] = np.ones((3, 2))
    for keys, reason in (
        (LabelKeys(energy="energy"), r"energy 'energy' has shape \(2,\)"),
        (LabelKeys(forces="forces"), r"forces 'forces' have shape \(3, 2\), not \(3, 3\)"),
        (LabelKeys(energy="word"), "energy 'word' is not numeric"),
        (LabelKeys(energy="none"), "no energy named 'none'; the frame has the keys"),
    ):
        with pytest.raises(DataError, match=reason):
            frame_from_atoms(atoms, keys)
    with pytest.raises(DataError, match="no atoms"):
        frame_from_atoms(Atoms())
    with pytest.raises(DataError, match=r"atomic numbers \[0\] are not elements"):
        frame_from_atoms(Atoms("X"))


def test_cells_without_volume_are_refused():
    flat = np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]])
    with pytest.raises(DataError, match="no volume"):
        check_cell(flat, np.array([True, True, False]))
    with pytest.raises(DataError, match="no volume"):
        check_cell(np.zeros((3, 3)), np.array([False, True, False]))
    check_cell(flat, np.array([True, False, True]))
    check_cell(np.zeros((3, 3)), np.zeros(3, dtype=bool))
