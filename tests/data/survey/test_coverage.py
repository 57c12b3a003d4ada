"""Which structures are unlike a training set, and what the card of a model keeps of it."""

import json

import numpy as np
import pytest
from ase.build import molecule

from equinet.data import AtomisticFiles, frame_from_atoms
from equinet.data.survey import Coverage
from equinet.errors import DataError


def coverage(*names):
    return Coverage.of([frame_from_atoms(molecule(name)) for name in names])


def numbers(name):
    return molecule(name).numbers


def test_structures_within_the_compositions_are_alike():
    one = coverage("CH3CH2OH")
    assert one.compositions == {"C2H6O": 1}
    assert one.unlike(np.tile(numbers("CH3CH2OH"), 2)) == ""
    assert one.unlike(numbers("H2O")) == (
        "H2O is no combination of the training compositions (C2H6O)"
    )
    several = coverage("H2O", "CH4", "CH3OH", "H2", "CO")
    assert len(several.basis) == 3
    assert several.unlike(numbers("CH3CH2OH")) == ""


def test_pairs_that_do_not_meet_are_named():
    apart = coverage("H2O", "NH3", "N2")
    reason = apart.unlike(np.array([7, 8]))
    assert reason == "N and O do not meet in training"


def test_the_card_keeps_it():
    one = coverage("CH3CH2OH", "H2O")
    card = json.loads(json.dumps(one.for_card()))
    assert Coverage.from_card(card) == one
    assert Coverage.from_card({}) is None
    with pytest.raises(DataError, match="'training_set' of the model's card is damaged"):
        Coverage.from_card({"training_set": {"elements": [1]}})


ATOM = (
    '1\nProperties=species:S:1:pos:R:3 config_type=IsolatedAtom energy={} pbc="F F F"\n{} 0 0 0\n'
)


def test_isolated_atoms_in_a_training_file_are_reference_energies(write, text, caplog):
    path = write(text(6) + ATOM.format(-13.5, "H") + ATOM.format(-2041.0, "O"))
    module = AtomisticFiles(train=path, val=1)
    with caplog.at_level("INFO"):
        module.prepare()
    assert module.statistics.reference_energies == (-13.5, -2041.0)
    assert [len(module.train), len(module.val)] == [5, 1]
    assert "isolated atoms in the training file give reference energies" in caplog.text
    assert module.for_card()["training_set"]["compositions"] == {"H2O": 5}
    assert "theory" not in module.for_card()


def test_isolated_atoms_of_some_elements_stay_training_frames(write, text, caplog):
    path = write(text(6) + ATOM.format(-13.5, "H"))
    module = AtomisticFiles(train=path, val=1, theory="PBE")
    module.prepare()
    assert len(module.train) + len(module.val) == 7
    assert "isolated atoms of H, but none of O" in caplog.text
    assert module.for_card()["theory"] == "PBE"
    again = write(text(2) + ATOM.format(-13.5, "H") + ATOM.format(-13.4, "H"), "twice.xyz")
    with pytest.raises(DataError, match=r"isolated atom of H has -13.4.* eV, another one -13.5"):
        AtomisticFiles(train=again, val=1).prepare()
