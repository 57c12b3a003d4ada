"""What goes into a store comes out of it, whatever happens on the way."""

import json
import lzma
import os
import pickle
import signal
import socket
import tarfile
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from forks import exit_code, fork
from oc20_files import REFERENCE, slab, write_pair
from safetensors.numpy import load, save

from equinet.data import fingerprint, neighbor_list, read_frames, read_s2ef
from equinet.data.store import FrameStore, Options, conversion, convert, find_parts, find_splits
from equinet.errors import ConfigError, DataError
from equinet.files import read_sealed_json, write_sealed_json


@pytest.fixture
def pairs(tmp_path):
    """Three pairs of 4, 3 and 5 frames; 10 comes after 9."""
    folder = tmp_path / "s2ef_train_tiny"
    for stem, count in ((9, 4), (10, 3), (2, 5)):
        write_pair(folder, stem, [slab(100 * stem + i, metals=4 + i) for i in range(count)])
    return folder


def run(source, store, **options):
    return list(convert(source, store, **options))[-1]


def content_of(store):
    return {path.name: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_frames_come_back_to_the_digit_and_in_order(pairs, tmp_path):
    run(pairs, tmp_path / "store")
    store = FrameStore(tmp_path / "store")
    expected = [slab(200 + i, metals=4 + i) for i in range(5)]
    expected += [slab(900 + i, metals=4 + i) for i in range(4)]
    expected += [slab(1000 + i, metals=4 + i) for i in range(3)]
    assert len(store) == 12
    for index, (found, frame) in enumerate(zip(store, expected, strict=True)):
        for name in ("numbers", "positions", "cell", "pbc", "forces", "tags", "fixed"):
            assert np.array_equal(getattr(found, name), getattr(frame, name)), name
            assert getattr(found, name).dtype == getattr(frame, name).dtype, name
        assert found.energy == frame.energy - REFERENCE
        assert store.record(index).reference_energy == REFERENCE
    assert store.atoms.tolist() == [len(frame) for frame in expected]
    assert isinstance(store.atoms, np.memmap)
    assert store.edges is None
    assert store.elements == (6, 8, 29)
    assert store.labels["forces"] == 12
    assert "stress" not in store.labels
    assert store.values("system").tolist()[:6] == [9000, 9001, 9002, 9003, 9004, 16000]
    assert store.record(5).step == 0
    assert "frame 6 (9.extxyz.xz, frame 2)" in store[6].source
    assert store[-1].energy == store[11].energy
    assert [frame.energy for frame in store[2:4]] == [store[2].energy, store[3].energy]
    with pytest.raises(IndexError):
        store[12]
    assert fingerprint(list(store)) == fingerprint(read_s2ef(pairs))


def test_the_header_says_units_types_checksums_and_source(pairs, tmp_path):
    run(pairs, tmp_path / "store")
    header = json.loads((tmp_path / "store" / "header.json").read_text())
    assert header["fields"]["forces"] == {
        "dtype": "float64",
        "shape": [3],
        "per": "atom",
        "unit": "eV/Å",
    }
    assert header["source"]["name"] == "s2ef_train_tiny"
    assert [len(shard["sha256"]) for shard in header["shards"]] == [64] * 3
    assert not list(FrameStore(tmp_path / "store").damaged_shards())


def test_float32_halves_coordinates_and_nothing_else(pairs, tmp_path):
    run(pairs, tmp_path / "double")
    run(pairs, tmp_path / "single", options=Options(precision="float32"))
    double, single = FrameStore(tmp_path / "double"), FrameStore(tmp_path / "single")
    assert single.header["fields"]["positions"]["dtype"] == "float32"
    for exact, rounded in zip(double, single, strict=True):
        assert np.array_equal(rounded.positions, exact.positions.astype(np.float32))
        assert np.array_equal(rounded.forces, exact.forces.astype(np.float32))
        assert rounded.positions.dtype == np.float64
        assert rounded.energy == exact.energy
        assert np.array_equal(rounded.cell, exact.cell)


@pytest.mark.parametrize("most", [None, 9])
def test_edges_are_counted_as_graphs_have_them(pairs, tmp_path, most):
    run(pairs, tmp_path / "store", options=Options(cutoff=4.0, max_neighbors=most))
    store = FrameStore(tmp_path / "store")
    for frame, edges in zip(store, store.edges, strict=True):
        pairs_found, _ = neighbor_list(frame.positions, frame.cell, frame.pbc, 4.0)
        degrees = np.bincount(pairs_found[1], minlength=len(frame))
        assert edges == np.minimum(degrees, most or 10**6).sum()
    assert most is None or (store.edges <= 9 * store.atoms).all()


def test_processes_change_nothing(pairs, tmp_path):
    run(pairs, tmp_path / "one")
    run(pairs, tmp_path / "two", processes=2)
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


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


def convert_until_killed(source, store, moment):
    """Convert in a process of its own that dies by SIGKILL while it writes the second shard."""

    def die_in_the_middle():
        name = "write_sealed_json" if moment == "note" else "write_shard"
        write = getattr(conversion, name)

        def die_or_write(*arguments, **options):
            if any("000001" in str(argument) for argument in arguments):
                if moment == "partial":
                    (store / "shards" / "000001.safetensors.1.partial").write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*arguments, **options)

        setattr(conversion, name, die_or_write)
        run(source, store)

    assert exit_code(fork(die_in_the_middle)) == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["shard", "note", "partial"])
def test_a_killed_conversion_goes_on_without_loss_or_double(pairs, tmp_path, moment):
    store = tmp_path / "store"
    convert_until_killed(pairs, store, moment)
    assert (store / "shards" / "000000.json").is_file()
    with pytest.raises(DataError, match="its conversion has not ended: repeat it"):
        FrameStore(store)
    first = (store / "shards" / "000000.safetensors").stat().st_mtime_ns
    steps = list(convert(pairs, store))
    assert [step.done for step in steps] == [1, 2, 3]
    assert steps[-1].frames == 7
    assert (store / "shards" / "000000.safetensors").stat().st_mtime_ns == first
    run(pairs, tmp_path / "undisturbed")
    assert content_of(store) == content_of(tmp_path / "undisturbed")


def test_workers_end_with_a_killed_conversion(pairs, tmp_path):
    """They would otherwise wait for ever for the work of a parent that is gone."""
    source, sink = os.pipe()

    def convert_for_a_minute():
        steps = convert(pairs, tmp_path / "store", processes=2)
        next(steps)
        next(steps)
        os.write(sink, " ".join(str(child.pid) for child in active_children()).encode())
        time.sleep(60)

    parent = fork(convert_for_a_minute)
    workers = [int(word) for word in os.read(source, 100).split()]
    assert len(workers) == 2
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    for _ in range(600):
        alive = [pid for pid in workers if Path(f"/proc/{pid}").exists() and not _zombie(pid)]
        if not alive:
            break
        time.sleep(0.1)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    assert not alive
    run(pairs, tmp_path / "store")
    assert len(FrameStore(tmp_path / "store")) == 12


def _zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_repeating_does_nothing_and_another_source_is_refused(pairs, tmp_path):
    store = tmp_path / "store"
    run(pairs, store)
    before = content_of(store)
    assert run(pairs, store).frames == 0
    assert content_of(store) == before
    with pytest.raises(DataError, match="with other options"):
        run(pairs, store, options=Options(precision="float32"))
    write_pair(pairs, 11, [slab(1)])
    with pytest.raises(DataError, match="a store of another source"):
        run(pairs, store)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(DataError, match="holds something else"):
        run(pairs, tmp_path / "mine")


def test_a_begun_conversion_keeps_its_options(pairs, tmp_path):
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    next(steps)
    steps.close()
    with pytest.raises(DataError, match="was begun here"):
        run(pairs, store, options=Options(cutoff=3.0))
    assert run(pairs, store).done == 3


def test_damage_is_found(pairs, tmp_path):
    run(pairs, tmp_path / "store")
    path = tmp_path / "store" / "shards" / "000001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    store = FrameStore(tmp_path / "store")
    assert [line.partition(": ")[2] for line in store.damaged_shards()] == [
        "the SHA-256 of the shard differs from that in the header"
    ]
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"000001.safetensors cannot"):
        FrameStore(tmp_path / "store")[6]
    path.unlink()
    assert "is not there" in next(store.damaged_shards())
    (tmp_path / "store" / "atoms.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"atoms.npy cannot be read"):
        FrameStore(tmp_path / "store")


@pytest.mark.parametrize("array", ["positions", "forces", "energy", "offsets", "system", "present"])
def test_a_flipped_bit_of_a_shard_is_one_sentence(pairs, tmp_path, array):
    run(pairs, tmp_path / "store")
    path = tmp_path / "store" / "shards" / "000001.safetensors"
    content = bytearray(path.read_bytes())
    values = load(bytes(content))[array].tobytes()
    content[content.index(values) + len(values) - 1] ^= 1
    path.write_bytes(bytes(content))
    store = FrameStore(tmp_path / "store")
    assert len(store[0]) == 6  # in another shard
    with pytest.raises(DataError, match=r"000001\.safetensors.*was damaged"):
        list(store)
    if array == "system":
        with pytest.raises(DataError, match=r"000001\.safetensors.*was damaged"):
            store.values("system")


def test_a_flipped_bit_of_the_sizes_is_one_sentence(pairs, tmp_path):
    run(pairs, tmp_path / "store", options=Options(cutoff=4.0))
    path = tmp_path / "store" / "edges.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"edges\.npy.*was damaged"):
        FrameStore(tmp_path / "store")


def test_a_store_of_an_older_version_is_read(pairs, tmp_path):
    """It has no checksums of frames, sizes and header."""
    store = tmp_path / "store"
    run(pairs, store)
    expected = fingerprint(list(FrameStore(store)))
    header = json.loads((store / "header.json").read_text())
    for name in ("seal", "sealed", "sizes"):
        del header[name]
    for note in header["shards"]:
        path = store / "shards" / note["file"]
        arrays = load(path.read_bytes())
        del arrays["checksums"], arrays["seals"]
        path.write_bytes(save(arrays, metadata={"origin": note["origin"]}))
        note["bytes"] = path.stat().st_size
    (store / "header.json").write_text(json.dumps(header))
    assert fingerprint(list(FrameStore(store))) == expected


@pytest.mark.parametrize("name", ["conversion.json", "shards/000000.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"frames": "four", "seal": ""}'])
def test_damaged_notes_are_made_anew(pairs, tmp_path, caplog, name, content):
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    next(steps)
    steps.close()
    (store / name).write_bytes(content)
    assert run(pairs, store).done == 3
    assert "making it anew" in caplog.text
    run(pairs, tmp_path / "undisturbed")
    assert content_of(store) == content_of(tmp_path / "undisturbed")


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


def test_a_label_declared_since_the_conversion_began_is_counted(pairs, tmp_path):
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    next(steps)
    steps.close()
    path = store / "shards" / "000000.json"
    note = read_sealed_json(path, "a note")
    lost = note["labels"].pop("reference_energy")
    write_sealed_json(note, path)
    run(pairs, store)
    found = FrameStore(store)
    assert lost > 0
    assert found.labels["reference_energy"] == len(found) - lost


def test_notes_of_another_plan_do_not_count(pairs, tmp_path):
    """The plan is lost, and the options are others: its shards must not be mixed in."""
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    next(steps)
    steps.close()
    (store / "conversion.json").unlink()
    run(pairs, store, options=Options(precision="float32"))
    run(pairs, tmp_path / "undisturbed", options=Options(precision="float32"))
    assert content_of(store) == content_of(tmp_path / "undisturbed")


def test_a_second_conversion_into_a_folder_is_refused_or_waits(pairs, tmp_path):
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    reader, writer = os.pipe()

    def convert_in_turn():
        try:
            run(pairs, store)
        except ConfigError as error:
            os.write(writer, str(error).encode())
        run(pairs, store, wait=True)

    pid = fork(convert_in_turn)
    sentence = os.read(reader, 1000).decode()
    assert f"{store}: process {os.getpid()} on {socket.gethostname()} already converts" in sentence
    list(steps)
    assert exit_code(pid) == 0
    assert len(FrameStore(store)) == 12
    assert not (store / "lock").exists()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "cannot be read"),
        ("[]", "not the header"),
        ('{"format": "equinet frame store"}', "version None"),
    ],
)
def test_foreign_headers_are_refused(tmp_path, header, reason):
    (tmp_path / "header.json").write_text(header)
    with pytest.raises(DataError, match=reason):
        FrameStore(tmp_path)
    with pytest.raises(DataError, match="no store is there"):
        FrameStore(tmp_path / "nowhere")


def test_a_store_travels_to_loading_processes(pairs, tmp_path):
    run(pairs, tmp_path / "store")
    store = FrameStore(tmp_path / "store")
    store[0]
    copy = pickle.loads(pickle.dumps(store))
    assert copy[7].energy == store[7].energy
    assert len(pickle.dumps(store)) < 1000


def test_more_shards_than_are_kept_open(tmp_path, monkeypatch):
    folder = tmp_path / "split"
    for stem in range(5):
        write_pair(folder, stem, [slab(stem)])
    run(folder, tmp_path / "store")
    monkeypatch.setattr("equinet.data.store.frame_store._OPEN_SHARDS", 2)
    store = FrameStore(tmp_path / "store")
    expected = [slab(i).energy - REFERENCE for i in range(5)]
    for index in (0, 1, 2, 0, 4, 3, 2, 1):
        assert store[index].energy == expected[index]
        assert len(store._shards) <= 2


def test_plain_files_and_missing_labels(write, text, tmp_path):
    path = write(text(3) + "1\n\nH 0 0 0\n")
    run(path, tmp_path / "store", skip_bad=True)
    store = FrameStore(tmp_path / "store")
    assert [frame.energy for frame in store] == [-1.5, -2.5, -3.5]
    # ASE hands over forces whose axes lie the other way round in memory.
    expected = read_frames(write(text(3), "first.xyz"))
    for found, frame in zip(store, expected, strict=True):
        assert np.array_equal(found.forces, frame.forces)
        assert np.array_equal(found.positions, frame.positions)
    assert "no energy" in store.header["refused"][0]["reason"]
    assert not store[0].pbc.any()
    assert store[0].tags is None
    assert store[0].fixed is None
    bare = write("1\n\nH 0 0 0\n", "bare/bare.xyz")
    run(bare.parent, tmp_path / "bare_store")
    frame = FrameStore(tmp_path / "bare_store")[0]
    assert frame.energy is None
    assert frame.forces is None
    with pytest.raises(DataError, match="not every frame has a value"):
        FrameStore(tmp_path / "bare_store").values("energy")


def test_stress_and_tags_may_differ_between_frames(tmp_path):
    from ase.build import bulk, molecule
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    crystal, water = bulk("Cu", cubic=True), molecule("H2O")
    crystal.calc = SinglePointCalculator(
        crystal, energy=1.0, forces=np.full((4, 3), 0.1), stress=np.arange(6.0)
    )
    water.set_tags([1, 2, 3])
    water.calc = SinglePointCalculator(water, energy=2.0, forces=np.full((3, 3), 0.2))
    write(tmp_path / "both.traj", [crystal, water])
    run(tmp_path / "both.traj", tmp_path / "store")
    stored, expected = FrameStore(tmp_path / "store"), read_frames(tmp_path / "both.traj")
    assert np.array_equal(stored[0].stress, expected[0].stress)
    assert stored[1].stress is None
    assert stored[0].tags is None
    assert stored[1].tags.tolist() == [1, 2, 3]
    water.set_tags([0, 1, 300])
    write(tmp_path / "tags.traj", water)
    with pytest.raises(DataError, match="tags run from 0 to 300"):
        run(tmp_path / "tags.traj", tmp_path / "other")


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


def test_errors_cross_from_the_converting_processes(pairs, tmp_path):
    packed = (pairs / "2.txt.xz").read_bytes()
    (pairs / "2.txt.xz").write_bytes(packed[:-20])
    with pytest.raises(DataError, match=r"2.txt.xz.*truncated.*--skip-bad"):
        run(pairs, tmp_path / "store", processes=2)


def test_a_conversion_killed_after_its_last_file_leaves_nothing_behind(
    pairs, tmp_path, monkeypatch
):
    """The store is whole by then; the same call removes what only the conversion needed."""
    run(pairs, tmp_path / "whole")
    with monkeypatch.context() as patched:

        def die(*_):
            raise KeyboardInterrupt

        patched.setattr(conversion, "_tidy", die)
        with pytest.raises(KeyboardInterrupt):
            run(pairs, tmp_path / "store")
    (tmp_path / "store" / "header.json.elsewhere.1.partial").touch()
    assert (tmp_path / "store" / "conversion.json").is_file()
    run(pairs, tmp_path / "store")
    assert content_of(tmp_path / "store") == content_of(tmp_path / "whole")
