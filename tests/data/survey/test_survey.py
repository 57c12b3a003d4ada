"""What is said of sets whose units, signs or frames are wrong, and of those that are right."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from equinet import configuration
from equinet.data import Frame, Units, frame_from_atoms
from equinet.data.survey import Survey, formula, repeated, report, suspicions
from equinet.errors import ConfigError

KCAL, HARTREE, BOHR = 23.060548, 1 / 27.211386, 1 / 0.52917721
STIFFNESS, FREE_ATOMS = 30.0, -13.6057 * 4 - 1025.56  # eV/Å², eV


def methanes(count: int = 40, *, seed: int = 0) -> list[Frame]:
    """Methane with harmonic bonds, at about 300 K."""
    random = np.random.default_rng(seed)
    start = molecule("CH4")
    frames = []
    for number in range(count):
        positions = start.positions + random.normal(scale=0.03, size=(5, 3))
        bonds = positions[1:] - positions[0]
        lengths = np.linalg.norm(bonds, axis=1)
        pull = STIFFNESS * ((lengths - 1.09) / lengths)[:, None] * bonds
        forces = np.concatenate([pull.sum(axis=0)[None], -pull])
        energy = FREE_ATOMS - 17.0 + 0.5 * STIFFNESS * float(np.square(lengths - 1.09).sum())
        frame = frame_from_atoms(Atoms("CH4", positions), source=f"methane {number}")
        frames.append(replace(frame, energy=energy, forces=forces))
    return frames


def scaled(frames, *, energy=1.0, forces=1.0, length=1.0):
    return [
        replace(
            frame,
            positions=frame.positions * length,
            energy=frame.energy * energy,
            forces=frame.forces * forces,
        )
        for frame in frames
    ]


def test_a_plausible_set_is_described_and_not_suspected():
    frames = methanes()
    survey = Survey.of(frames)
    assert suspicions(survey) == {}
    assert survey.compositions == {"CH4": 40}
    assert survey.labels["energy"] == survey.labels["forces"] == 40
    components = np.concatenate([frame.forces.ravel() for frame in frames])
    assert survey.force_rms == pytest.approx(np.sqrt(np.square(components).mean()))
    spread = np.std([frame.energy for frame in frames]) / 5
    assert survey.energy_spread == pytest.approx(spread, rel=1e-6)
    assert survey.bonds.stiffness == pytest.approx(STIFFNESS, rel=0.2)
    assert survey.agreement.slope == pytest.approx(1.0, rel=0.05)
    assert survey.distances.least == pytest.approx(1.0, abs=0.15)
    text = "\n".join(survey.lines())
    assert "40 structures: CH4\nlabels: energy, forces\nenergies spread by" in text


@pytest.mark.parametrize(
    ("factors", "found"),
    [
        ({"energy": KCAL, "forces": KCAL}, {"energy": "data.energy_unit=kcal/mol", "forces": ""}),
        ({"energy": HARTREE, "forces": HARTREE}, {"energy": "=Hartree", "forces": ""}),
        ({"forces": KCAL}, {"forces": "data.forces_unit=kcal/mol/angstrom"}),
        (
            {"energy": HARTREE, "forces": HARTREE / BOHR},
            {"energy": "data.energy_unit=Hartree", "forces": "data.forces_unit=Hartree/bohr"},
        ),
        ({"energy": KCAL}, {"energy": "data.energy_unit=kcal/mol", "forces": "the energies"}),
        ({"length": BOHR}, {"length": "data.length_unit=bohr"}),
        ({"length": 0.1}, {"length": "data.length_unit=nm"}),
        ({"forces": -1.0}, {"sign": "negative gradient"}),
    ],
)
def test_wrong_units_and_signs_are_named_with_the_option_that_mends_them(factors, found):
    said = suspicions(Survey.of(scaled(methanes(), **factors)))
    said.pop("large forces", None)
    assert said.keys() == found.keys()
    for kind, words in found.items():
        assert words in said[kind]


def test_atoms_in_one_place_are_not_taken_for_another_unit():
    frames = methanes()
    for frame in frames:
        frame.positions[1] = frame.positions[0]
    assert "methane 0: two atoms are at 0.00" in suspicions(Survey.of(frames))["close atoms"]


def test_the_sign_is_found_without_energies():
    frames = [replace(frame, energy=None, forces=-frame.forces) for frame in methanes()]
    assert "forces pull short bonds together" in suspicions(Survey.of(frames))["sign"]


@pytest.mark.parametrize(
    "units",
    [
        Units("kcal/mol"),
        Units("Hartree", "bohr"),
        Units("Hartree", "angstrom", "Hartree/bohr"),
        Units("kJ/mol", "nm"),
        Units("Rydberg", "bohr"),
    ],
    ids=Units.describe,
)
def test_converted_frames_are_those_that_were_in_other_units(units):
    energy, length = Units(units.energy), Units(length=units.length)
    one = replace(methanes(1)[0], energy=1.0, positions=np.ones((5, 3)), forces=np.ones((5, 3)))
    in_file = scaled(
        methanes(),
        energy=1 / energy.convert(one).energy,
        length=1 / length.convert(one).positions[0, 0],
        forces=1 / units.convert(one).forces[0, 0],
    )
    converted = [units.convert(frame) for frame in in_file]
    assert suspicions(Survey.of(converted), units) == {}
    assert converted[3].energy == pytest.approx(methanes()[3].energy, rel=1e-12)


def test_factors_of_units():
    one = Frame(
        np.ones(1, int),
        np.ones((1, 3)),
        np.eye(3),
        np.ones(3, bool),
        1.0,
        np.ones((1, 3)),
        np.eye(3),
    )
    atomic = Units("Hartree", "bohr").convert(one)
    assert atomic.energy == pytest.approx(27.211386245988)
    assert atomic.positions[0, 0] == atomic.cell[0, 0] == pytest.approx(0.529177210903)
    assert atomic.forces[0, 0] == pytest.approx(51.42206747)
    assert atomic.stress[0, 0] == pytest.approx(183.6315353)
    assert Units("kcal/mol").convert(one).energy == pytest.approx(0.0433641043)
    assert Units("eV", "angstrom", "kJ/mol/nm").convert(one).forces[0, 0] == pytest.approx(
        0.001036427
    )
    node = {"_target_": "equinet.data.AtomisticFiles", "train": "a.xyz", "energy_unit": "hartree"}
    with pytest.raises(ConfigError, match=r"data.energy_unit: 'hartree' is not one of eV, Hartree"):
        configuration.check(node, "data")


def test_a_stray_energy_is_named_unless_its_forces_explain_it():
    frames = methanes()
    frames[7] = replace(frames[7], energy=frames[7].energy + 500)
    assert "methane 7 (+100 eV/atom)" in suspicions(Survey.of(frames))["strays"]
    frames[7] = replace(frames[7], forces=20 * frames[7].forces)
    assert "strays" not in suspicions(Survey.of(frames))


def test_dimers_of_noble_gases_are_not_in_bohr():
    frames = [
        frame_from_atoms(Atoms("Ar2", [[0, 0, 0], [0, 0, distance]]))
        for distance in (3.6, 3.8, 4.0)
    ]
    assert suspicions(Survey.of(frames)) == {}


def test_two_atoms_too_close_are_named():
    frames = methanes()
    clash = frames[3].positions.copy()
    clash[1] = clash[0] + 0.2
    frames[3] = replace(frames[3], positions=clash)
    assert suspicions(Survey.of(frames))["close atoms"].startswith(
        "methane 3: two atoms are at 0.3"
    )


def test_repetitions_and_training_frames_among_test_frames():
    frames = methanes(6)
    shifted = replace(frames[1], positions=frames[1].positions + 1e-9, source="again")
    assert repeated([*frames, shifted]) == (1, "again")
    texts = [
        (remark.text, remark.is_loud)
        for remark in report({"training set": frames[:5], "test set": [*frames[5:], shifted]})
    ]
    assert ("SUSPECT  test set: 1 of 2 structures are training structures, first again", True) in (
        texts
    )
    assert texts[0] == ("Data     training set: 5 structures: CH4", False)


def test_missing_labels_are_counted():
    frames = methanes(4)
    frames[1] = replace(frames[1], forces=None)
    assert "labels: energy, forces of 3 in 4" in Survey.of(frames).lines()
    alone = [replace(frame, forces=None) for frame in frames]
    assert "labels: energy, no forces" in Survey.of(alone).lines()


def test_formulas_are_in_the_order_of_hill():
    assert formula([1, 1, 8, 6, 6, 17]) == "C2H2ClO"
    assert formula([11, 17]) == "ClNa"


def test_no_structure_of_real_benchmarks_is_suspected(request):
    """The thresholds hold for molecules at 300 to 1200 K and for relaxations on surfaces."""
    from equinet.data import read_frames, read_s2ef

    data = request.config.rootpath.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip("the benchmark files are not here")
    mixed = read_frames(data / "3bpa" / "train_mixedT.xyz")
    assert suspicions(Survey.of(mixed[334:])) == {}
    assert suspicions(Survey.of(read_frames(data / "rmd17_aspirin" / "test.xyz")[::9])) == {}
    assert suspicions(Survey.of(read_s2ef(data / "oc20" / "s2ef_val_ood")[::3])) == {}
