import bz2
import gzip
import logging
import lzma

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from equinet.data import read_frames
from equinet.errors import DataError


def test_reads_energies_forces_and_ignores_a_dummy_cell(write, text):
    content = text().replace("pbc=", 'Lattice="50 0 0 0 50 0 0 0 50" pbc=')
    frames = read_frames(write(content))
    assert [frame.energy for frame in frames] == [-1.5, -2.5, -3.5]
    for number, frame in enumerate(frames, start=1):
        expected = np.random.default_rng(number).normal(size=(3, 3))
        np.testing.assert_allclose(frame.forces, expected, atol=1e-8)
        assert frame.numbers.tolist() == [8, 1, 1]
        assert not frame.pbc.any()
        assert not frame.cell.any()
        assert frame.source.endswith(f"frames.xyz, frame {number}")


@pytest.mark.parametrize(
    ("energy", "forces"),
    [
        ("REF_energy", "REF_forces"),
        ("dft_energy", "dft_forces"),
        ("TotEnergy", "force"),
        ("Energy", "Forces"),
    ],
)
def test_common_other_names_are_found(write, text, energy, forces):
    usual = read_frames(write(text(), "usual.xyz"))
    other = read_frames(write(text(energy=energy, forces=forces)))
    for a, b in zip(usual, other, strict=True):
        assert a.energy == b.energy
        np.testing.assert_array_equal(a.forces, b.forces)


def test_unknown_names_are_refused_with_the_keys_of_the_file(write, text):
    path = write(text(energy="E_mine", forces="F_mine"))
    with pytest.raises(DataError, match=r"frame 1: no energy; .*E_mine, F_mine.*energy_key"):
        read_frames(path)
    with pytest.raises(DataError, match=r"no forces; .*E_mine, F_mine.*forces_key"):
        read_frames(path, energy_key="E_mine")
    assert read_frames(path, energy_key="E_mine", forces_key="F_mine")[0].energy == -1.5
    with pytest.raises(DataError, match="no energy named 'U'"):
        read_frames(path, energy_key="U")


def test_a_free_energy_is_not_taken_for_the_energy(write, text):
    with pytest.raises(DataError, match="free_energy"):
        read_frames(write(text(energy="free_energy")))


def test_contradicting_names_are_refused_and_equal_ones_are_not(write, text):
    both = text(1).replace("energy=-1.5", "energy=-1.5 REF_energy=-7.0")
    with pytest.raises(DataError, match="'energy' and 'REF_energy' both look like energy"):
        read_frames(write(both))
    assert read_frames(write(both), energy_key="REF_energy")[0].energy == -7.0
    same = both.replace("-7.0", "-1.5")
    assert read_frames(write(same))[0].energy == -1.5


def test_a_label_missing_from_a_later_frame_is_named(write, text):
    with pytest.raises(DataError, match="frame 2: no energy named 'energy'"):
        read_frames(write(text().replace("energy=-2.5", "other=-2.5")))


def test_unlabeled_frames_are_read_on_request(write):
    path = write("1\n\nHe 0 0 0\n")
    with pytest.raises(DataError, match="no energy; the frame has no keys beside its atoms"):
        read_frames(path)
    (frame,) = read_frames(path, labels_required=False)
    assert frame.energy is None
    assert frame.forces is None


def test_zero_forces_are_refused_unless_allowed_or_of_a_single_atom(write, text):
    zeroed = text(2).split("\n")
    zeroed[7:10] = [" ".join([*row.split()[:4], "0", "0.0", "-0.0"]) for row in zeroed[7:10]]
    path = write("\n".join(zeroed))
    with pytest.raises(DataError, match="frame 2: the forces 'forces' on all 3 atoms are exactly"):
        read_frames(path)
    assert not read_frames(path, allow_zero_forces=True)[1].forces.any()
    single = "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1\nHe 0 0 0 0 0 0\n"
    assert len(read_frames(write(single))) == 1


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_non_finite_numbers_name_the_frame(write, text, bad):
    lines = text().split("\n")
    entries = lines[8].split()
    for column, what in ((2, "positions"), (5, "forces")):
        changed = list(lines)
        changed[8] = " ".join([*entries[:column], bad, *entries[column + 1 :]])
        with pytest.raises(DataError, match=f"frame 2: {what} hold NaN or infinity .*atom 1"):
            read_frames(write("\n".join(changed)))
    first = list(lines)
    first[2] = " ".join([*lines[2].split()[:2], bad, *lines[2].split()[3:]])
    with pytest.raises(DataError, match="frame 1: positions hold NaN or infinity"):
        read_frames(write("\n".join(first)))
    with pytest.raises(DataError, match="frame 2: energy hold"):
        read_frames(write(text().replace("energy=-2.5", f"energy={bad}")))


def test_truncated_files_name_file_frame_and_line(write, text):
    lines = text().split("\n")
    with pytest.raises(
        DataError, match=r"frames.xyz, frame 3, line 14: the file ends after 2 of the 3 atoms"
    ):
        read_frames(write("\n".join(lines[:14]) + "\n"))
    with pytest.raises(DataError, match=r"frame 3, line 11: the file ends after 0 of the 3"):
        read_frames(write("\n".join(lines[:11])))
    with pytest.raises(DataError, match=r"frame 2, line 9: expected 7 columns, found 3"):
        read_frames(
            write("\n".join([*lines[:8], " ".join(lines[8].split()[:3])]) + "\n" + lines[9])
        )


def test_wrong_entries_name_their_line(write, text):
    lines = text().split("\n")
    for row, new, reason in (
        (8, lines[8].replace(" ", " x", 1), "line 9: 'x.*' is not a number"),
        (8, "Qq" + lines[8][1:], "line 9: 'Qq' is not an element"),
        (8, lines[8] + " 1.0", "line 9: expected 7 columns, found 8"),
        (5, "three", "line 6: expected the number of atoms, found 'three'"),
        (5, "0", "line 6: the frame has no atoms"),
        (5, "2", "frame 3, line 10: expected the number of atoms"),
        (6, "Properties=species:S:1:pos:R:three", "line 7: ASE cannot read the frame"),
    ):
        changed = list(lines)
        changed[row] = new
        with pytest.raises(DataError, match=reason):
            read_frames(write("\n".join(changed)))


def test_text_that_is_not_utf8_names_its_line(write, text):
    content = text().encode()
    place = content.index(b"energy=-2.5")
    with pytest.raises(DataError, match=r"frame 2, line 7: byte 0xe9 is not UTF-8"):
        read_frames(write(content[:place] + b"\xe9" + content[place:]))


def test_blank_lines_lose_no_frame(write, text):
    lines = text().split("\n")
    content = "\n".join([*lines[:5], "", *lines[5:], "", ""])
    assert len(read_frames(write(content))) == 3


def test_windows_line_ends_and_byte_order_mark(write, text):
    content = b"\xef\xbb\xbf" + text().replace("\n", "\r\n").encode()
    assert [frame.energy for frame in read_frames(write(content))] == [-1.5, -2.5, -3.5]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_compressed_files_and_their_truncation(write, text, suffix, compress):
    content = compress(text().encode())
    assert len(read_frames(write(content, f"frames.extxyz{suffix}"))) == 3
    with pytest.raises(DataError, match="as if truncated"):
        read_frames(write(content[:-20], f"frames.extxyz{suffix}"))


def test_files_that_are_not_there_or_empty(tmp_path, write):
    with pytest.raises(DataError, match=r"nothing\.xyz: not there"):
        read_frames(tmp_path / "nothing.xyz")
    with pytest.raises(DataError, match="a folder, not a file"):
        read_frames(tmp_path)
    with pytest.raises(DataError, match="the file is empty"):
        read_frames(write(""))
    with pytest.raises(DataError, match="the file holds no frames"):
        read_frames(write("\n\n"))


def test_any_ase_format_and_a_broken_one(tmp_path, write, make_water):
    atoms = make_water()
    forces = np.arange(9.0).reshape(3, 3)
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=forces)
    atoms.set_constraint(FixAtoms([1]))
    ase.io.write(tmp_path / "frames.traj", [atoms, atoms])
    frames = read_frames(tmp_path / "frames.traj")
    assert len(frames) == 2
    np.testing.assert_array_equal(frames[1].forces, forces)
    np.testing.assert_array_equal(frames[1].fixed, [False, True, False])
    with pytest.raises(DataError, match=r"broken.traj, frame 1: ASE cannot read it"):
        read_frames(write("no trajectory", "broken.traj"))


def test_constraints_and_tags_survive_and_zero_nothing(tmp_path, make_water):
    atoms = make_water()
    forces = np.arange(1.0, 10).reshape(3, 3)
    atoms.set_tags([0, 1, 2])
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=forces)
    ase.io.write(tmp_path / "fixed.extxyz", atoms)
    (frame,) = read_frames(tmp_path / "fixed.extxyz")
    np.testing.assert_array_equal(frame.forces, forces)
    np.testing.assert_array_equal(frame.fixed, [True, False, False])
    np.testing.assert_array_equal(frame.tags, [0, 1, 2])


def test_forces_zeroed_on_exactly_the_fixed_atoms_are_pointed_out(tmp_path, make_water, caplog):
    atoms = make_water()
    forces = np.arange(9.0).reshape(3, 3)
    forces[0] = 0
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=forces)
    ase.io.write(tmp_path / "fixed.extxyz", atoms)
    with caplog.at_level(logging.WARNING):
        read_frames(tmp_path / "fixed.extxyz")
    assert "forces on all fixed atoms are exactly zero" in caplog.text


@pytest.mark.parametrize("name", ["stress", "REF_stress"])
def test_stress_of_six_and_nine_numbers(tmp_path, write, text, name):
    full = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    for values in ("1 2 3 4 5 6", "1 6 5 6 2 4 5 4 3"):
        content = text(1).replace("energy=", f'{name}="{values}" energy=')
        np.testing.assert_array_equal(read_frames(write(content))[0].stress, full)


@pytest.mark.parametrize("without", [1, 2])
def test_some_frames_may_lack_the_stress_unless_it_is_asked_for(write, text, without):
    named = text(2).replace("energy=", 'my_stress="1 2 3 4 5 6" energy=')
    found = named.replace("my_stress", "stress")
    lines = {1: "energy=-1.5", 2: "energy=-2.5"}
    bare = found.replace(f'stress="1 2 3 4 5 6" {lines[without]}', lines[without])
    frames = read_frames(write(bare))
    assert [frame.stress is None for frame in frames] == [without == 1, without == 2]
    bare = named.replace(f'my_stress="1 2 3 4 5 6" {lines[without]}', lines[without])
    with pytest.raises(DataError, match=f"frame {without}: no stress named 'my_stress'"):
        read_frames(write(bare), stress_key="my_stress")


def test_stress_of_another_shape_or_not_symmetric_is_refused(write, text):
    for values, reason in (("1 2 3", "neither 6 nor 3 by 3"), ("1 2 3 4 5 6 7 8 9", "symmetric")):
        content = text(1).replace("energy=", f'REF_stress="{values}" energy=')
        with pytest.raises(DataError, match=reason):
            read_frames(write(content), stress_key="REF_stress")


@pytest.mark.parametrize("name", ["stress", "REF_stress"])
@pytest.mark.parametrize("values", ["1 2 3", "nan 2 3 4 5 6", "1 2 3 4 5 6 7 8 9", "inf"])
def test_a_stress_that_is_none_blocks_nothing_unless_asked_for(write, text, name, values, caplog):
    path = write(text(3).replace("energy=", f'{name}="{values}" energy='))
    with caplog.at_level(logging.WARNING):
        frames = read_frames(path)
    assert [frame.energy for frame in frames] == [-1.5, -2.5, -3.5]
    assert all(frame.stress is None for frame in frames)
    assert frames[0].unread == (name,)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "frame 1" in warning
    assert "the stress is left out" in warning
    with pytest.raises(DataError, match="frame 1: stress"):
        read_frames(path, stress_key=name)


@pytest.mark.parametrize("name", ["virial", "virials", "REF_virial", "dft_virial"])
def test_a_virial_is_no_stress(write, text, name, caplog):
    path = write(text(2).replace("energy=", f'{name}="1 2 3 4 5 6" energy='))
    with pytest.raises(DataError, match=rf"frame 1: '{name}' .*stress = -virial / volume"):
        read_frames(path, stress_key=name)
    with caplog.at_level(logging.WARNING):
        assert read_frames(path)[0].stress is None
    assert caplog.text.count("-virial / volume") == 1


@pytest.mark.parametrize(
    "comment",
    [
        'lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3:force:R:3',
        'lattice="6 0 0 0 6 0 0 0 6" properties=species:S:1:pos:R:3:force:R:3',
        'LATTICE="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3:force:R:3',
        'pbc="F F F" lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3:force:R:3',
        'PBC="T T T" Lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3:force:R:3',
    ],
)
def test_structural_keys_in_other_letters_are_refused(write, comment):
    rows = "Pb 0 0 0 0.2 0 0\nTe 3.2 0.1 0 -0.2 0 0\n"
    path = write(f"2\nenergy=-8.1 {comment}\n{rows}")
    with pytest.raises(DataError, match=r"frame 1, line 2: .*write it '(Lattice|Properties|pbc)'"):
        read_frames(path)


PAIR = "Pb 0 0 0 0.2 0 0\nTe 3.2 0.1 0 -0.2 0 0\n"
COLUMNS = "Properties=species:S:1:pos:R:3:force:R:3"


@pytest.mark.parametrize("key", ["cell", "Cell", "unit_cell", "box", "lattice-vectors"])
@pytest.mark.parametrize("value", ["6 0 0 0 6 0 0 0 6", "6 6 6", "6 6 6 90 90 90"])
def test_a_lattice_under_another_name_is_refused_and_no_molecule(write, key, value):
    with pytest.raises(
        DataError, match=rf"frame 1, line 2: extxyz has no key '{key}'; write it 'L"
    ):
        read_frames(write(f'2\nenergy=-8.1 {key}="{value}" {COLUMNS}\n{PAIR}'))
    free = read_frames(write(f'2\nenergy=-8.1 {key}="{value}" pbc="F F F" {COLUMNS}\n{PAIR}'))
    assert not free[0].pbc.any(), "as the file says"
    both = f'{key}="{value}" Lattice="5 0 0 0 5 0 0 0 5" energy=-8.1'
    assert read_frames(write(f"2\n{both} {COLUMNS}\n{PAIR}"))[0].cell.tolist()[0] == [5, 0, 0]


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        (f"energy=-8.1 energy=-9.1 {COLUMNS}", "the key 'energy' is there twice"),
        (f'energy=-8.1 note="a = b" note="c = d" {COLUMNS}', "the key 'note' is there twice"),
        (f'energy=1 Lattice="6 0 0 0 6 0 0 0 6" pbc="yes yes no" {COLUMNS}', "pbc is .*T T F"),
        (f'energy=1 Lattice="6 0 0 0 6 0 0 0 6" pbc=[2,0,0] {COLUMNS}', "pbc is .*T T F"),
        ("energy=1 Properties=species:S:1:place:R:3:force:R:3", "no column 'pos'"),
    ],
)
def test_comments_that_would_be_misread_are_refused(write, comment, reason):
    with pytest.raises(DataError, match=rf"frame 1, line 2: .*{reason}"):
        read_frames(write(f"2\n{comment}\n{PAIR}"))


@pytest.mark.parametrize("pbc", ['"T F T"', '"1 0 1"', "[True, False, True]", '"true false true"'])
def test_periodicity_in_all_spellings_of_truth(write, pbc):
    lattice = 'Lattice="6 0 0 0 6 0 0 0 6" energy=-8.1 note="energy = 5, energy = 6"'
    found = read_frames(write(f"2\n{lattice} pbc={pbc} {COLUMNS}\n{PAIR}"))
    assert found[0].pbc.tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["Z", "numbers"])
def test_elements_and_tags_are_whole_numbers(write, name):
    rows = "{} 0 0 0 0.2 0 0 {}\n8.0 3.2 0.1 0 -0.2 0 0 2.0\n"
    comment = f"2\nenergy=-8.1 Properties={name}:R:1:pos:R:3:force:R:3:tags:R:1\n"
    found = read_frames(write(comment + rows.format("1.0", "1.0")))[0]
    assert (found.numbers.tolist(), found.tags.tolist()) == ([1, 8], [1, 2])
    with pytest.raises(DataError, match=rf"frame 1: {name} hold 1.5, which is not a whole"):
        read_frames(write(comment + rows.format("1.5", "1.0")))
    with pytest.raises(DataError, match=r"frame 1: tags hold 0.5, which is not a whole number"):
        read_frames(write(comment + rows.format("1.0", "0.5")))


@pytest.mark.parametrize("energy", ["T", "False"])
def test_a_truth_value_is_no_energy(write, energy):
    with pytest.raises(DataError, match="frame 1: energy 'energy' is not numeric"):
        read_frames(write(f"2\nenergy={energy} {COLUMNS}\n{PAIR}"))


def test_labels_are_settled_on_the_first_frame_that_has_them(write, text):
    path = write("1\n\nH 0 0 0\n1\nREF_energy=-13.6\nH 0 0 0\n" + text(2), "mixed.xyz")
    with pytest.raises(DataError, match=r"frame 3: no energy named 'REF_energy'.*but 'energy'"):
        read_frames(path, labels_required=False)
    path = write("1\n\nH 0 0 0\n1\nenergy=-13.6\nH 0 0 0\n" + text(2), "mixed.xyz")
    frames = read_frames(path, labels_required=False)
    assert [frame.energy for frame in frames] == [None, -13.6, -1.5, -2.5]
    assert [frame.forces is None for frame in frames] == [True, True, False, False]
    with pytest.raises(DataError, match="frame 1: no energy"):
        read_frames(path)


def test_labels_of_a_database_are_found_in_key_value_pairs_and_data(tmp_path):
    from ase import Atoms
    from ase.db import connect

    forces = np.arange(6.0).reshape(2, 3)
    with connect(tmp_path / "f.db") as database:
        for energy in (-1.5, -2.5):
            atoms = Atoms("N2", positions=[[0, 0, 0], [0, 0, 1.1]])
            database.write(atoms, pbe_energy=energy, data={"pbe_forces": forces})
    with pytest.raises(DataError, match=r"no energy; .*pbe_energy.*energy_key"):
        read_frames(tmp_path / "f.db")
    frames = read_frames(tmp_path / "f.db", energy_key="pbe_energy", forces_key="pbe_forces")
    assert [frame.energy for frame in frames] == [-1.5, -2.5]
    np.testing.assert_array_equal(frames[1].forces, forces)


def test_reading_real_files(shared_data):
    frames = read_frames(shared_data / "3bpa" / "train_300K.xyz")
    assert len(frames) == 500
    assert all(len(frame) == 27 and not frame.cell.any() for frame in frames)
    carbon = shared_data / "molecules" / "carbon_reduced_100.xyz"
    with pytest.raises(DataError, match="frame 10: the forces 'force' on all 4 atoms"):
        read_frames(carbon)
    assert len(read_frames(carbon, allow_zero_forces=True)) == 100
    with pytest.raises(DataError, match=r"no energy; the frame has the keys .*U0.*energy_key"):
        read_frames(shared_data / "molecules" / "qm9_reduced_100.xyz")
