"""``python -m equinet data``: what it says and how it ends."""

import lzma

import pytest
from oc20_files import extxyz, slab, write_pair

from equinet import __main__ as entry
from equinet.data.store import FrameStore


@pytest.fixture
def root(tmp_path):
    """Two splits; the second frame of the first is odd in every way that lint knows."""
    frames = [slab(seed) for seed in range(3)]
    frames[1].forces[4] = [60.0, 0, 0]
    frames[1].positions[5] = frames[1].positions[4] + [0.3, 0, 0]
    frames[1].fixed[8] = True
    write_pair(tmp_path / "download" / "s2ef_train", 0, [*frames, frames[0]])
    write_pair(tmp_path / "download" / "s2ef_val_id", 0, [slab(7)])
    return tmp_path / "download"


def command(capsys, *arguments):
    status = entry.main(["data", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def test_every_split_is_converted_described_and_checked(root, tmp_path, capsys):
    stores = tmp_path / "stores"
    options = ("--processes", 1, "--cutoff", 3.0, "--max-neighbors", 4)
    status, lines, _ = command(capsys, "convert", root, stores, *options)
    assert status == 0
    assert [line.split(" in ")[0] for line in lines] == [
        f"{stores}/s2ef_train: 4 frames",
        f"{stores}/s2ef_train: labels of 4 frames: energy, forces, reference_energy",
        f"{stores}/s2ef_val_id: 1 frames",
        f"{stores}/s2ef_val_id: labels of 1 frames: energy, forces, reference_energy",
    ]
    assert len(FrameStore(stores / "s2ef_val_id")) == 1
    again = command(capsys, "convert", root, stores, *options)
    assert again[1][0] == f"{stores}/s2ef_train: whole already, 4 frames"
    words = [line.split() for line in command(capsys, "info", stores)[1]]
    assert words[0] == [f"{stores}/s2ef_train:", "4", "frames"]
    assert ["elements", "C", "O", "Cu"] in words
    assert ["forces", "all,", "float64", "eV/Å"] in words
    edges = next(row for row in words if row[:1] == ["edges"])
    assert " ".join(edges).endswith("within 3 Å, at most 4 neighbors")
    status, lines, err = command(capsys, "lint", stores)
    assert status == 1
    assert err == f"equinet: {stores}: 4 findings, listed above\n"
    place = f"{stores}/s2ef_train, frame"
    assert lines == [
        f"{place} 1 (0.extxyz.xz, frame 2): a force of 60.0 eV/Å on atom 4, beyond 50 eV/Å",
        f"{place} 1 (0.extxyz.xz, frame 2): atoms 4 and 5 are 0.30 Å apart, below 0.5 Å",
        f"{place} 1 (0.extxyz.xz, frame 2): tag 0 and the fixed atoms differ at 1 atoms, first 8",
        f"{place} 3 (0.extxyz.xz, frame 4): the same structure as {place} 0 (0.extxyz.xz, frame 1)",
        f"{stores}/s2ef_train: 4 frames, 4 findings",
        f"{stores}/s2ef_val_id: 1 frame, 0 findings",
    ]


def test_sources_are_described_and_checked_as_they_are(root, capsys):
    status, lines, _ = command(capsys, "info", root / "s2ef_train")
    assert (status, lines[0]) == (
        0,
        f"{root}/s2ef_train: 1 part of kind S2EF, not converted yet",
    )
    assert command(capsys, "lint", root / "s2ef_val_id")[0] == 0
    status, lines, _ = command(capsys, "lint", root / "s2ef_train", "--largest-force", 70)
    assert status == 1
    assert not [line for line in lines if "a force of" in line]


def test_bad_frames_are_skipped_and_reported(root, tmp_path, capsys):
    path = root / "s2ef_val_id" / "0.extxyz.xz"
    path.write_bytes(lzma.compress(extxyz([slab(7)]).replace("Cu ", "Qq ", 1).encode()))
    write_pair(root / "s2ef_val_id", 1, [slab(8)])
    source, store = root / "s2ef_val_id", tmp_path / "store"
    status, lines, err = command(capsys, "convert", source, store)
    assert status == 1
    assert f"{path}, frame 1, line 3: 'Qq' is not an element (--skip-bad leaves it out)" in err
    status, lines, _ = command(capsys, "convert", source, store, "--skip-bad")
    assert status == 0
    assert "1 frames or files left out" in lines[-1]
    info = command(capsys, "info", store)[1]
    assert info[-2].split() == ["left", "out", "1"]
    assert "'Qq' is not an element" in info[-1]
    assert command(capsys, "lint", store)[0] == 0
    shard = next((store / "shards").glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    status, lines, _ = command(capsys, "lint", store)
    assert status == 1
    assert "SHA-256" in lines[0]


@pytest.mark.parametrize("option", ["--closest", "--largest-force"])
@pytest.mark.parametrize("value", ["nan", "-1", "0"])
def test_limits_of_lint_that_mean_nothing_are_refused(tmp_path, capsys, option, value):
    (tmp_path / "a.xyz").write_text("1\nenergy=-13.6\nH 0 0 0\n")
    status, _, err = command(capsys, "lint", tmp_path / "a.xyz", option, value)
    assert status == 1
    assert f"{option[2:].replace('-', '_')} must be a finite number above 0" in err


def test_forces_zeroed_by_a_constraint_are_noticed(tmp_path, capsys):
    frames = [slab(seed) for seed in range(2)]
    for frame in frames:
        frame.forces[frame.fixed] = 0.0
    write_pair(tmp_path / "split", 0, frames)
    status, lines, _ = command(capsys, "lint", tmp_path / "split")
    assert status == 1
    assert "the forces on all fixed atoms are exactly zero" in lines[0]


def test_the_real_frames_beyond_50_eV_per_A_are_named(shared_data, capsys):  # noqa: N802
    _, lines, _ = command(capsys, "lint", shared_data / "oc20" / "s2ef_val_id")
    large = [line for line in lines if "a force of" in line]
    assert len(large) == 1
    assert "frame 132: a force of 120.8 eV/Å on atom 99, beyond 50 eV/Å" in large[0]


def test_absent_sources_end_in_one_sentence(tmp_path, capsys):
    for action in ("info", "lint"):
        status, _, err = command(capsys, action, tmp_path / "absent")
        assert status == 1
        assert err.startswith(f"equinet: {tmp_path}/absent: not there; name ")


def test_several_sources_are_described_and_checked_in_one_call(root, capsys):
    places = [root / name for name in ("s2ef_val_id", "s2ef_train")]
    _, lines, _ = command(capsys, "info", *places)
    assert [line for line in lines if "not converted yet" in line] == [
        f"{place}: 1 part of kind S2EF, not converted yet" for place in places
    ]
    status, lines, err = command(capsys, "lint", *places)
    assert status == 1
    assert lines[0] == f"{places[0]}: 1 frame, 0 findings"
    assert err == f"equinet: {places[0]}, {places[1]}: 4 findings, listed above\n"


HARTREE, BOHR = 27.211386245988, 0.529177210903
WATER = """3
Properties=species:S:1:pos:R:3:forces:R:3 energy={energy}
O 0 0 0 {force} 0 0
H {x} 0 0 -{force} 0 0
H 0 {x} 0 0 0 0
"""


@pytest.fixture
def water(tmp_path):
    """One file in Hartree and bohr, and one with the same structure in eV and Å."""
    atomic, own = tmp_path / "atomic.xyz", tmp_path / "own.xyz"
    atomic.write_text(WATER.format(energy=-76.4, force=0.01, x=1.8))
    converted = {"energy": -76.4 * HARTREE, "force": 0.01 * HARTREE / BOHR, "x": 1.8 * BOHR}
    own.write_text(WATER.format(**converted))
    return atomic, own


def test_units_of_a_source_are_converted_into_the_store(water, tmp_path, capsys):
    atomic, own = water
    units = ("--energy-unit", "Hartree", "--length-unit", "bohr")
    assert command(capsys, "convert", atomic, tmp_path / "a", *units)[0] == 0
    assert command(capsys, "convert", own, tmp_path / "b")[0] == 0
    first, second = FrameStore(tmp_path / "a")[0], FrameStore(tmp_path / "b")[0]
    assert first.energy == pytest.approx(second.energy, rel=1e-12)
    assert first.positions == pytest.approx(second.positions, rel=1e-12)
    assert first.forces == pytest.approx(second.forces, rel=1e-12)
    assert first.energy == pytest.approx(-76.4 * HARTREE)
    # The same store without the units would be another one.
    status, _, err = command(capsys, "convert", atomic, tmp_path / "a")
    assert status == 1
    assert "with other options" in err


def test_info_and_lint_look_at_converted_structures(water, tmp_path, capsys):
    atomic, own = water
    units = ("--energy-unit", "Hartree", "--length-unit", "bohr")
    told = command(capsys, "info", atomic, *units)[1]
    assert "read as energies in Hartree, lengths in bohr, forces in Hartree/bohr" in told[2]
    renamed = [line.replace("atomic.xyz", "own.xyz") for line in told[3:]]
    assert renamed == command(capsys, "info", own)[1][2:]
    # 1.8 bohr are 0.95 Å, and the largest force is 0.514 eV/Å.
    close = ("--closest", "1.0", "--largest-force", "0.5")
    found = command(capsys, "lint", atomic, *units, *close)[1]
    assert [line.partition("frame 1")[2] for line in found] == [
        line.partition("frame 1")[2] for line in command(capsys, "lint", own, *close)[1]
    ]
    assert any("0.95 Å apart" in line for line in found)


def test_an_empty_name_of_a_label_is_not_there(water, tmp_path, capsys):
    status, _, err = command(capsys, "convert", water[1], tmp_path / "a", "--energy-key", "")
    assert status == 1
    assert "no energy named ''; the frame has the keys energy, forces" in err


@pytest.mark.parametrize("energy", ["1e300", "-1e101"])
def test_numbers_that_overflow_elsewhere_are_refused(water, tmp_path, capsys, energy):
    _, own = water
    own.write_text(WATER.format(energy=energy, force=0.01, x=1.8))
    status, _, err = command(capsys, "convert", own, tmp_path / "a", "--energy-unit", "Hartree")
    assert status == 1
    assert f"frame 1: energy hold {float(energy):g}; correct it" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--energy-unit", "kcal"), "--energy-unit: 'kcal' is not one of eV, Hartree"),
        (("--energy-unit", "hartree"), "did you mean 'Hartree'?"),
        (("--length-unit", "Bohr"), "did you mean 'bohr'?"),
        (("--forces-unit", "eV/A"), "--forces-unit: 'eV/A' is not one of eV/angstrom"),
    ],
)
@pytest.mark.parametrize("action", ["info", "lint", "convert"])
def test_an_unknown_unit_is_refused(water, tmp_path, capsys, action, words, sentence):
    places = (water[0], tmp_path / "store") if action == "convert" else (water[0],)
    status, _, err = command(capsys, action, *places, *words)
    assert status == 1
    assert sentence in err
    assert not (tmp_path / "store").exists()


def test_a_store_has_no_other_units(water, tmp_path, capsys):
    command(capsys, "convert", water[1], tmp_path / "store")
    status, _, err = command(capsys, "lint", tmp_path / "store", "--energy-unit", "Hartree")
    assert status == 1
    assert "a store is in Å, eV and eV/Å; leave out the units" in err
