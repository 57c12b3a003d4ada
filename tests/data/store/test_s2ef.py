"""Broken S2EF files: file and frame are named, and the rest is converted."""

import lzma

import numpy as np
import pytest
from oc20_files import REFERENCE, extxyz, rows, slab, write_pair

from equinet.data import read_s2ef
from equinet.data.atoms.labels import label_keys
from equinet.data.store import FrameStore, convert
from equinet.errors import DataError


@pytest.fixture
def frames():
    return [slab(seed) for seed in range(4)]


@pytest.fixture
def folder(tmp_path, frames):
    """Two whole pairs; each test breaks the first."""
    write_pair(tmp_path / "split", 0, frames)
    write_pair(tmp_path / "split", 1, frames[:2])
    return tmp_path / "split"


def replace(folder, name, old, new, count=-1):
    path = folder / name
    text = lzma.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(lzma.compress(text.replace(old, new, count).encode()))


def converted(folder, tmp_path):
    """Refused without --skip-bad, in one sentence; with it, the store of what is left."""
    with pytest.raises(DataError) as caught:
        list(convert(folder, tmp_path / "strict"))
    list(convert(folder, tmp_path / "store", skip_bad=True))
    store = FrameStore(tmp_path / "store")
    first = store.header["refused"][0]["reason"]
    assert str(caught.value) == f"{first} (--skip-bad leaves it out)"
    with pytest.raises(DataError):
        read_s2ef(folder)
    return store, [entry["reason"] for entry in store.header["refused"]]


def numbers(store):
    return [
        (int(system) // 1000, store.record(i).number)
        for i, system in enumerate(store.values("system"))
    ]


REST = [(8, 1), (8, 2)]


def test_truncated_xz(folder, tmp_path):
    text = extxyz([slab(seed, metals=60) for seed in range(4)]).encode()
    path = folder / "0.extxyz.xz"
    path.write_bytes(lzma.compress(text)[:-5000])
    store, reasons = converted(folder, tmp_path)
    kept = numbers(store)
    assert kept[-2:] == REST
    assert 0 < len(kept) - 2 < 4
    assert kept[:-2] == [(7, number + 1) for number in range(len(kept) - 2)]
    broken = len(kept) - 1
    assert f"0.extxyz.xz, frame {broken}, line" in reasons[0]
    assert "the file ends after" in reasons[0]
    assert store[0].energy == slab(0, metals=60).energy - REFERENCE


def test_truncated_rows(folder, tmp_path):
    path = folder / "0.txt.xz"
    compressor = lzma.LZMACompressor()
    head = compressor.compress(rows(2).encode()) + compressor.flush()
    path.write_bytes(head + lzma.compress(rows(2).encode())[:20])
    store, reasons = converted(folder, tmp_path)
    assert numbers(store) == [(7, 1), (7, 2), *REST]
    assert len(reasons) == 1
    assert "0.txt.xz: cannot be unpacked to its end" in reasons[0]
    assert "frames from 3 on are lost" in reasons[0]


@pytest.mark.parametrize("count", [3, 5])
def test_a_wrong_number_of_rows_refuses_the_pair(folder, tmp_path, count):
    """A row may be lost anywhere, and every energy after it would be another system's."""
    (folder / "0.txt.xz").write_bytes(lzma.compress(rows(count).encode()))
    store, reasons = converted(folder, tmp_path)
    assert numbers(store) == REST
    frames = folder / "0.extxyz.xz"
    assert reasons == [f"{folder / '0.txt.xz'}: {count} rows for 4 frames in {frames}"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (":tags:I:1", ":layer:I:1", "0.extxyz.xz, frame 1: no column tags:I:1"),
        (":move_mask:L:1", ":mask:L:1", "frame 1: no column move_mask:L:1"),
        (" energy=", " total=", "frame 1: expected energy of 1 numbers, found none"),
        (" energy=-", " energy=x", "frame 1: expected energy of 1 numbers, found 'energy=x"),
        (" energy=-", " energy=-inf a=", "frame 1: energy hold NaN"),
        ("Lattice=", "Cell=", "frame 1: expected Lattice of 9 numbers, found none"),
        ('pbc="T T T"', 'pbc="T T"', "frame 1: pbc is"),
        ("Cu ", "Qq ", "frame 1, line 3: 'Qq' is not an element"),
        ("  F ", "  ? ", "line 3: '?' is not T or F"),
        ("  T        1", "  T      0.5", "is not a whole number"),
        ("Cu ", "Cu 1 ", "line 3: expected 9 columns, found 10"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(folder, tmp_path, old, new, reason):
    replace(folder, "0.extxyz.xz", old, new, 1)
    store, reasons = converted(folder, tmp_path)
    assert numbers(store) == [(7, 2), (7, 3), (7, 4), *REST]
    assert len(reasons) == 1
    assert reason in reasons[0]


def test_nan_in_one_force(folder, tmp_path, frames):
    number = f"{frames[2].forces[3, 1]:15.8f}"
    replace(folder, "0.extxyz.xz", number, "nan".rjust(15))
    store, reasons = converted(folder, tmp_path)
    assert numbers(store) == [(7, 1), (7, 2), (7, 4), *REST]
    assert reasons == [
        (
            f"{folder / '0.extxyz.xz'}, frame 3: forces hold NaN or infinity (first at atom 3); "
            "correct it, or leave the frame out"
        )
    ]


def test_a_lost_line_ends_the_file_there(folder, tmp_path, frames):
    text = extxyz(frames).split("\n")
    del text[len(frames[0]) + 2 + 5]
    (folder / "0.extxyz.xz").write_bytes(lzma.compress("\n".join(text).encode()))
    store, reasons = converted(folder, tmp_path)
    assert numbers(store) == [(7, 1), *REST]
    assert "frame 2, line" in reasons[0]
    assert "expected 9 columns, found 1" in reasons[0]
    assert "expected the number of atoms" in reasons[1]
    assert "the 1 frames after it are lost with it" in reasons[1]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            "random7,frame1",
            "0.txt.xz, line 1: expected system,frame,energy, found 'random7,frame1'",
        ),
        ("random7,frame1,low", "line 1: expected system,frame,energy"),
        ("random7,frame1,nan", "line 1: the reference energy is nan"),
    ],
)
def test_rows_that_say_nothing(folder, tmp_path, row, reason):
    text = "\n".join([row, *rows(4).splitlines()[1:]])
    (folder / "0.txt.xz").write_bytes(lzma.compress(text.encode()))
    store, reasons = converted(folder, tmp_path)
    assert numbers(store) == [(7, 2), (7, 3), (7, 4), *REST]
    assert reason in reasons[0]


def test_not_ascii(folder, tmp_path):
    (folder / "0.extxyz.xz").write_bytes(lzma.compress(b"4\n\xff"))
    store, reasons = converted(folder, tmp_path)
    assert numbers(store) == REST
    assert "byte 2 is not ASCII" in reasons[0]


def test_a_bomb_is_not_unpacked(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("equinet.data.store.archives._LARGEST", 5000)
    with pytest.raises(DataError, match=r"0.extxyz.xz: unpacks to more than 5000 bytes"):
        list(convert(folder, tmp_path / "store"))


def test_nothing_left(folder, tmp_path):
    for stem in (0, 1):
        (folder / f"{stem}.txt.xz").write_bytes(lzma.compress(b""))
    with pytest.raises(DataError, match=r"no frame is left to store; first: .*0 rows for 4 frames"):
        list(convert(folder, tmp_path / "store", skip_bad=True))


def test_a_partner_too_few(folder):
    (folder / "0.extxyz.xz").unlink()
    with pytest.raises(DataError, match=r"0.txt has no frames 0.extxyz beside it"):
        read_s2ef(folder)


def test_columns_may_come_in_another_order(tmp_path, frames):
    """Checked against ASE, which knows any order."""
    import io

    import ase.io

    text = extxyz(frames[:1])
    lines = text.splitlines()
    lines[1] = lines[1].replace("tags:I:1:forces:R:3", "forces:R:3:tags:I:1:charge:R:1")
    for index in range(2, len(lines)):
        words = lines[index].split()
        lines[index] = " ".join([*words[:5], *words[6:], words[5], "0.25"])
    (tmp_path / "0.extxyz").write_text("\n".join(lines) + "\n")
    (tmp_path / "0.txt").write_text(rows(1, reference=0.0))
    frame = read_s2ef(tmp_path)[0]
    atoms = ase.io.read(io.StringIO("\n".join(lines) + "\n"), format="extxyz")
    assert label_keys(atoms).energy == "energy"
    assert np.array_equal(frame.positions, atoms.positions)
    assert np.array_equal(frame.forces, atoms.calc.results["forces"])
    assert frame.tags.tolist() == atoms.get_tags().tolist()
    assert np.flatnonzero(frame.fixed).tolist() == atoms.constraints[0].index.tolist()
    assert frame.energy == atoms.calc.results["energy"]


def test_ids_of_another_form_are_left_open(tmp_path, frames):
    write_pair(tmp_path / "split", 0, frames[:2], packed=False)
    (tmp_path / "split" / "0.txt").write_text("random12_x,first,0.0\nrandom12,frame3,0.0\n")
    list(convert(tmp_path / "split", tmp_path / "store"))
    store = FrameStore(tmp_path / "store")
    assert store.values("system").tolist() == [-1, 12]
    assert store.values("step").tolist() == [-1, 3]


@pytest.mark.parametrize("split", ["s2ef_val_id"])
def test_real_frames_are_read_as_ase_reads_them(shared_data, split):
    import io

    import ase.io

    from equinet.data.atoms.frames import frame_from_atoms

    folder = shared_data / "oc20" / split
    frames = read_s2ef(folder)
    text = lzma.decompress((folder / "0.extxyz.xz").read_bytes()).decode()
    references = lzma.decompress((folder / "0.txt.xz").read_bytes()).decode().split()
    images = ase.io.read(io.StringIO(text), ":40", format="extxyz")
    for found, atoms, row in zip(frames, images, references, strict=False):
        expected = frame_from_atoms(atoms, label_keys(atoms))
        for name in ("numbers", "positions", "cell", "pbc", "forces", "tags", "fixed"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name
        assert found.energy == expected.energy - float(row.split(",")[2])
