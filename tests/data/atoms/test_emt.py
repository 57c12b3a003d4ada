import itertools

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from equinet.data import fingerprint, frame_from_atoms, frame_to_atoms
from equinet.data.atoms import emt
from equinet.data.atoms.emt import make_molecules, make_relaxations


@pytest.fixture(scope="module")
def surfaces():
    return emt.make_surfaces()


@pytest.fixture
def take_systems(monkeypatch):
    """Generate sets of some of the 112 systems alone; takes the arguments of a slice."""
    every = emt._systems

    def take(*places):
        monkeypatch.setattr(emt, "_systems", lambda rng: itertools.islice(every(rng), *places))

    return take


def system(frame):
    """The slab, by cell and metals, and what is on it."""
    is_adsorbed = frame.tags == 2
    metals, guests = frame.numbers[~is_adsorbed], frame.numbers[is_adsorbed]
    return frame.cell.round(6).tobytes(), metals.tobytes(), tuple(sorted(guests.tolist()))


def composition(frame):
    """Shares of the metals, whatever the size of the slab."""
    metals, counts = np.unique(frame.numbers[frame.tags != 2], return_counts=True)
    return tuple(zip(metals.tolist(), (counts / counts.sum()).round(1).tolist(), strict=True))


def test_surfaces_are_made_alike_each_time(surfaces, take_systems):
    take_systems(8)
    again = emt.make_surfaces()
    assert {name: len(frames) for name, frames in again.items()} == {
        "train": 64,
        "val_id": 16,
        "val_ood": 0,
    }
    for name, frames in again.items():
        assert fingerprint(frames) == fingerprint(surfaces[name][: len(frames)])


def test_systems_are_made_alike_each_time():
    first, second = (list(emt._systems(np.random.default_rng(3))) for _ in range(2))
    assert len(first) == len(second) == 112
    for (atoms, held_out), (again, again_held_out) in zip(first, second, strict=True):
        assert atoms == again
        assert held_out == again_held_out


def test_surfaces_have_the_promised_sizes(surfaces):
    sizes = {name: len(frames) for name, frames in surfaces.items()}
    assert sizes == {"train": 768, "val_id": 192, "val_ood": 160}
    frames = [frame for split in surfaces.values() for frame in split]
    assert len({fingerprint([frame]) for frame in frames}) == len(frames)


def test_surfaces_are_tagged_and_fixed_as_oc20_is(surfaces):
    for frame in (frame for split in surfaces.values() for frame in split):
        np.testing.assert_array_equal(frame.fixed, frame.tags == 0)
        np.testing.assert_array_equal(frame.tags == 2, np.isin(frame.numbers, [1, 6, 7, 8]))
        assert 1 <= (frame.tags == 2).sum() <= 4
        assert (frame.tags == 0).any()
        assert frame.positions[frame.tags == 0, 2].max() < frame.positions[frame.tags == 1, 2].min()
        assert frame.pbc.all()
        assert np.abs(frame.forces).max() < 10


def test_systems_are_shared_by_id_and_held_out_of_ood(surfaces):
    systems = {name: {system(frame) for frame in frames} for name, frames in surfaces.items()}
    assert [len(found) for found in systems.values()] == [96, 96, 16]
    assert systems["val_id"] == systems["train"]
    assert not systems["val_ood"] & systems["train"]
    known = {composition(frame) for frame in surfaces["train"]}
    carried = {system(frame)[2] for frame in surfaces["train"]}
    novelty = [
        (composition(frame) not in known, system(frame)[2] not in carried)
        for frame in surfaces["val_ood"]
    ]
    # Half of the frames have another alloy, the other half another adsorbate.
    assert sorted(novelty) == [(False, True)] * 80 + [(True, False)] * 80


def test_every_element_is_trained_on_in_many_surroundings(surfaces):
    elements = {
        name: {int(z) for frame in frames for z in frame.numbers}
        for name, frames in surfaces.items()
    }
    assert elements["train"] == {1, 6, 7, 8, 13, 28, 29, 46, 47, 78, 79}
    assert elements["val_ood"] <= elements["train"]
    pairs = {
        (int(metal), int(guest))
        for frame in surfaces["train"]
        for metal in frame.numbers[frame.tags == 1]
        for guest in frame.numbers[frame.tags == 2]
    }
    assert len(pairs) == 7 * 4


def test_labels_are_those_of_emt_with_raw_forces(surfaces):
    frame = surfaces["train"][0]
    atoms = frame_to_atoms(frame)
    atoms.calc = EMT()
    assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    raw = atoms.get_forces(apply_constraint=False)
    np.testing.assert_allclose(frame.forces, raw, atol=1e-9)
    assert frame.forces[frame.fixed].any()


def test_molecules(molecules):
    sizes = {name: len(frames) for name, frames in molecules.items()}
    assert sizes == {"train": 310, "test": 50}
    assert {int(z) for frame in molecules["train"] for z in frame.numbers} == {1, 6, 7, 8}
    assert not any(frame.pbc.any() for frame in molecules["train"])
    assert fingerprint(molecules["test"]) == fingerprint(make_molecules()["test"])


def test_relaxations_are_split_by_system(monkeypatch):
    monkeypatch.setattr(emt, "_toward_minimum", frame_from_atoms)
    made = make_relaxations(each=2)
    assert {name: len(starts) for name, starts in made.items()} == {
        "train": 134,
        "val": 20,
        "test_id": 38,
        "test_ood": 32,
    }


def check_relaxations(made, last):
    """Compare labels with EMT; relax the last structure of a set, which must not change it."""
    for frame in (frame for frames in made.values() for frame in frames):
        atoms = frame_to_atoms(frame)
        atoms.calc = EMT()
        forces = atoms.get_forces(apply_constraint=False)
        np.testing.assert_allclose(frame.forces, forces, atol=1e-9)
        assert frame.energy < atoms.get_potential_energy()
    relaxed = frame_to_atoms(last)
    relaxed.calc = EMT()
    assert BFGS(relaxed, logfile=None, maxstep=0.1).run(fmax=0.05, steps=1000)
    assert relaxed.get_potential_energy() == pytest.approx(last.energy, abs=1e-6)


def test_relaxations_are_labeled_with_the_energy_at_the_end(take_systems):
    take_systems(0, None, 16)
    made = make_relaxations(each=1)
    sizes = {name: len(frames) for name, frames in made.items()}
    assert sizes == {"train": 4, "val": 1, "test_id": 1, "test_ood": 1}
    check_relaxations(made, made["test_ood"][-1])


@pytest.mark.slow
def test_all_relaxations_are_labeled_with_the_energy_at_the_end():
    made = make_relaxations(each=1)
    assert {name: len(frames) for name, frames in made.items()} == {
        "train": 67,
        "val": 10,
        "test_id": 19,
        "test_ood": 16,
    }
    check_relaxations(made, made["test_ood"][-1])
