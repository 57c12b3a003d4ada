"""Archives, long texts, databases and folders are divided into parts, and read as they are."""

import lzma
import tarfile

import pytest
from oc20_files import slab, write_pair
from stores import run

from equinet.data import fingerprint
from equinet.data.store import FrameStore, Options, find_parts, find_splits
from equinet.errors import DataError


def test_a_tar_is_read_as_it_is(pairs, tmp_path):
    archive = tmp_path / "s2ef_train_tiny.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(pairs, "s2ef_train_tiny/s2ef_train_tiny")
    run(pairs, tmp_path / "folder")
    run(archive, tmp_path / "tar")
    folder, tar = FrameStore(tmp_path / "folder"), FrameStore(tmp_path / "tar")
    assert fingerprint(list(folder)) == fingerprint(list(tar))
    archive.write_bytes(archive.read_bytes()[:6000])
    with pytest.raises(DataError, match=r"s2ef_train_tiny.tar.*truncated|uncompressed tar"):
        find_parts(archive)


def write_text(path, frames, *, first=0):
    """Frames whose energies count up; the first ones have no labels."""
    blocks = []
    for number in range(frames):
        columns, energy = ":forces:R:3", f" energy={number}.5"
        if number < first:
            columns = energy = ""
        rows = [f"Ni 0 0 {z}{f' {0.5 - z} 0 0' if columns else ''}" for z in (0, 2 + number)]
        comment = f'Properties=species:S:1:pos:R:3{columns}{energy} pbc="F F F"'
        blocks.append("\n".join(["2", comment, *rows, ""]))
    content = "".join(blocks).encode()
    path.write_bytes(lzma.compress(content) if path.suffix == ".xz" else content)
    return path


@pytest.mark.parametrize("name", ["long.xyz", "long.xyz.xz"])
def test_a_long_text_becomes_several_shards_of_the_same_frames(tmp_path, monkeypatch, name):
    source, whole = write_text(tmp_path / name, 50, first=3), tmp_path / "whole"
    run(source, whole)
    for constant in ("_STRETCH", "_PACKED_STRETCH"):
        monkeypatch.setattr(f"equinet.data.atoms.blocks.{constant}", 1000)
    parts = find_parts(source)
    assert len(parts) > 4
    assert len({part.name for part in parts}) == len(parts)
    run(source, tmp_path / "cut", processes=2)
    cut = FrameStore(tmp_path / "cut")
    assert len(cut.header["shards"]) == len(parts)
    assert fingerprint(list(cut)) == fingerprint(list(FrameStore(whole)))
    assert [frame.energy for frame in cut][:5] == [None, None, None, 3.5, 4.5]


def test_errors_in_a_stretch_name_frame_and_line_of_the_file(tmp_path, monkeypatch):
    source = write_text(tmp_path / "long.xyz", 50)
    lines = source.read_text().split("\n")
    lines[4 * 40 + 2] = "Ni 0 0 x 0 0 0"
    source.write_text("\n".join(lines))
    monkeypatch.setattr("equinet.data.atoms.blocks._STRETCH", 1000)
    with pytest.raises(DataError, match=r"long\.xyz, frame 41, line 163: 'x' is not a number"):
        run(source, tmp_path / "store")
    lines[4 * 40 + 2] = lines[4 * 39 + 2]
    lines[4 * 45] = "two"
    source.write_text("\n".join(lines))
    done = run(source, tmp_path / "other", skip_bad=True)
    assert (done.frames, done.refused) == (45, 1)
    (refused,) = FrameStore(tmp_path / "other").header["refused"]
    assert "frame 46, line 181: expected the number of atoms, found 'two'" in refused["reason"]


def test_a_label_of_another_name_in_a_later_stretch_is_refused(tmp_path, monkeypatch):
    source = write_text(tmp_path / "long.xyz", 50)
    text = source.read_text()
    middle = text.index("energy=40.5")
    source.write_text(text[:middle] + text[middle:].replace("energy", "REF_energy"))
    monkeypatch.setattr("equinet.data.atoms.blocks._STRETCH", 1000)
    with pytest.raises(DataError, match="no energy named 'energy', as in frames before it"):
        run(source, tmp_path / "store")


def test_databases_are_divided(tmp_path, monkeypatch):
    from ase.build import molecule
    from ase.db import connect

    monkeypatch.setattr("equinet.data.store.sources._ROWS", 2)
    with connect(tmp_path / "molecules.db") as database:
        for name in ("H2O", "CO", "NH3", "CH4", "N2"):
            database.write(molecule(name))
        del database[2]
    parts = find_parts(tmp_path / "molecules.db")
    assert [part.size for part in parts] == [2, 2]
    run(tmp_path / "molecules.db", tmp_path / "store")
    store = FrameStore(tmp_path / "store")
    assert [len(frame) for frame in store] == [3, 4, 5, 2]
    assert "rows 3 to 4, frame 4" in store[3].source
    (tmp_path / "broken.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(DataError, match=r"broken.db: ASE cannot read the database"):
        find_parts(tmp_path / "broken.db")


def test_what_cannot_be_converted_is_said(tmp_path, write, text):
    with pytest.raises(DataError, match="not there"):
        find_parts(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no files of structures"):
        find_parts(tmp_path / "empty")
    write(text(1), "mixed/a.xyz")
    write("", "mixed/b.db")
    with pytest.raises(DataError, match=r"several kinds of files \(ASE database, extxyz\)"):
        find_parts(tmp_path / "mixed")
    for wrong in ({"precision": "half"}, {"cutoff": 0.0}, {"max_neighbors": 3}):
        with pytest.raises(DataError, match=next(iter(wrong))):
            Options(**wrong)
    with pytest.raises(DataError, match="processes must be at least 1"):
        run(write(text(1)), tmp_path / "store", processes=0)


def test_splits_of_a_download(pairs, tmp_path):
    inner = tmp_path / "s2ef_val_id" / "s2ef_val_id"
    write_pair(inner, 0, [slab(0)])
    (tmp_path / "s2ef_test.tar").write_bytes(b"")
    (tmp_path / "notes").mkdir()
    found = find_splits(tmp_path)
    assert list(found) == ["s2ef_train_tiny", "s2ef_val_id", "s2ef_test"]
    assert len(find_parts(found["s2ef_val_id"])) == 1
    run(pairs, tmp_path / "stored")
    assert find_splits(tmp_path)["stored"] == tmp_path / "stored"
