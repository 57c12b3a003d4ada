"""What goes into a store comes out of it: frames, labels, sizes and edges."""

import json

import numpy as np
import pytest
from oc20_files import REFERENCE, slab
from stores import content_of, run

from equinet.data import fingerprint, neighbor_list, read_frames, read_s2ef
from equinet.data.store import FrameStore, Options
from equinet.errors import DataError


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


def test_errors_cross_from_the_converting_processes(pairs, tmp_path):
    packed = (pairs / "2.txt.xz").read_bytes()
    (pairs / "2.txt.xz").write_bytes(packed[:-20])
    with pytest.raises(DataError, match=r"2.txt.xz.*truncated.*--skip-bad"):
        run(pairs, tmp_path / "store", processes=2)
