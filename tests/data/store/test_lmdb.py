"""LMDB files of both kinds: pickled PyG objects and ASE's rows in JSON."""

import itertools
import json
import os
import pickle
import zlib

import numpy as np
import pytest
import torch
from oc20_files import data_of, slab, write_lmdb
from torch_geometric.data import Data

from equinet import __main__ as entry
from equinet.data import LabelKeys, StoredFrames
from equinet.data.store import FrameStore, Options, convert, find_parts
from equinet.errors import DataError


def stored(source, store, **options):
    list(convert(source, store, **options))
    return FrameStore(store)


def same_float32(found, expected):
    return np.array_equal(found, np.asarray(expected, dtype=np.float32).astype(np.float64))


@pytest.fixture
def frames():
    return [slab(seed, metals=4 + seed) for seed in range(12)]


def test_s2ef_lmdb(frames, tmp_path):
    """The length is wrong by one, as in files of third parties."""
    values = {
        key: pickle.dumps(
            data_of(
                frame,
                y=frame.energy,
                force=torch.tensor(frame.forces, dtype=torch.float32),
                sid=100 + key,
                fid=key,
            )
        )
        for key, frame in enumerate(frames)
    }
    path = write_lmdb(tmp_path / "data.0000.lmdb", {**values, "length": pickle.dumps(11)})
    store = stored(path, tmp_path / "store")
    assert len(store) == 12
    for index, (found, frame) in enumerate(zip(store, frames, strict=True)):
        assert found.energy == frame.energy
        assert same_float32(found.positions, frame.positions)
        assert same_float32(found.forces, frame.forces)
        assert same_float32(found.cell, frame.cell)
        assert found.pbc.all()
        for name in ("numbers", "tags", "fixed"):
            assert np.array_equal(getattr(found, name), getattr(frame, name))
        record = store.record(index)
        assert (record.system, record.step) == (100 + index, index)


def test_is2re_lmdb_and_one_without_labels(frames, tmp_path):
    moved = frames[0].positions + 0.1
    labels = {
        "y_init": 9.25,
        "y_relaxed": np.float64(-1.5),
        "pos_relaxed": torch.tensor(moved, dtype=torch.float32),
        "sid": 5,
    }
    train = write_lmdb(
        tmp_path / "train" / "data.lmdb", {0: pickle.dumps(data_of(frames[0], **labels))}
    )
    record = stored(train, tmp_path / "is2re").record(0)
    assert record.frame.energy == 9.25
    assert record.relaxed_energy == -1.5
    assert same_float32(record.relaxed_positions, moved)
    test = write_lmdb(
        tmp_path / "test" / "data.lmdb",
        {key: pickle.dumps(data_of(frames[key], sid=key)) for key in range(2)},
    )
    store = stored(test.parent, tmp_path / "unlabeled")
    assert store[1].energy is None
    assert store[1].forces is None
    assert store.record(1).relaxed_positions is None
    assert "energy" not in store.labels


def test_real_is2re_samples(shared_data, tmp_path):
    """Three systems of OC20, as its LMDB files hold them."""
    with np.load(shared_data / "oc20" / "is2re_batch3.npz") as file:
        arrays = {name: file[name] for name in file.files}
    values = {}
    for key, (start, stop) in enumerate(itertools.pairwise(arrays["ptr"].tolist())):
        mine = {
            name: torch.from_numpy(arrays[name][start:stop])
            for name in ("pos", "atomic_numbers", "tags", "fixed", "force", "pos_relaxed")
        }
        numbers = {name: float(arrays[name][key]) for name in ("y_init", "y_relaxed")}
        values[key] = pickle.dumps(
            Data(
                **mine,
                **numbers,
                cell=torch.from_numpy(arrays["cell"][key])[None],
                natoms=stop - start,
                sid=int(arrays["sid"][key]),
            )
        )
    folder = write_lmdb(tmp_path / "is2re" / "val_id" / "data.lmdb", values).parents[1]
    command = ["data", "convert", str(folder), str(tmp_path / "stores"), "--processes", "1"]
    assert entry.main(command) == 0
    store = FrameStore(tmp_path / "stores" / "val_id")
    frames = StoredFrames(store, relaxed=True)
    assert frames.systems.tolist() == arrays["sid"].tolist()
    for index, (start, stop) in enumerate(itertools.pairwise(arrays["ptr"].tolist())):
        record = store.record(index)
        assert record.frame.energy == arrays["y_init"][index]
        assert record.relaxed_energy == arrays["y_relaxed"][index]
        assert np.array_equal(record.relaxed_positions, arrays["pos_relaxed"][start:stop])
        assert np.array_equal(record.frame.positions, arrays["pos"][start:stop])
        assert np.array_equal(record.frame.fixed, record.frame.tags == 0)
        held = record.frame.fixed
        assert np.array_equal(record.relaxed_positions[held], record.frame.positions[held])
        assert frames[index].energy == record.relaxed_energy
        assert frames[index].forces is None
    assert frames.labels == {"tags": 3, "fixed": 3, "energy": 3}


def test_a_poisoned_record_is_named_and_the_rest_kept(frames, tmp_path):
    marker = tmp_path / "marker"

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    values = [data_of(frames[0], y=-1.0), Attack(), Data(pos=torch.ones(1, 3))]
    odd = data_of(frames[1], y=-2.0)
    odd.tags = odd.tags[:-1]
    nan = data_of(frames[2], y=float("nan"))
    path = write_lmdb(
        tmp_path / "data.lmdb",
        {key: pickle.dumps(value) for key, value in enumerate([*values, odd, nan])},
    )
    with pytest.raises(
        DataError, match=r"data.lmdb, frame 2 \(key 1\): the pickle names posix.sys"
    ):
        stored(path, tmp_path / "strict")
    store = stored(path, tmp_path / "store", skip_bad=True)
    assert [frame.energy for frame in store] == [-1.0]
    reasons = [entry["reason"] for entry in store.header["refused"]]
    assert [reason.partition("): ")[2] for reason in reasons] == [
        "the pickle names posix.system, which no data need",
        "no atomic_numbers; there are pos",
        "tags has shape (6,), not (7,)",
        "energy hold NaN or infinity; correct it, or leave the frame out",
    ]
    assert not marker.exists()


def ase_row(frame, *, as_lists):
    def array(values, kind):
        values = np.asarray(values)
        if as_lists:
            return values.tolist()
        return {"__ndarray__": [list(values.shape), kind, values.ravel().tolist()]}

    return {
        "numbers": array(frame.numbers, "int64"),
        "positions": array(frame.positions, "float64"),
        "cell": array(frame.cell, "float64")
        if as_lists
        else {"array": array(frame.cell, "float64"), "__ase_objtype__": "cell"},
        "pbc": array(frame.pbc, "bool"),
        "energy": frame.energy,
        "forces": array(frame.forces, "float64"),
        "stress": array([1, 2, 3, 4, 5, 6], "float64"),
        "tags": array(frame.tags, "int64"),
        "constraints": [
            {"name": "FixAtoms", "kwargs": {"indices": np.flatnonzero(frame.fixed).tolist()}}
        ],
    }


@pytest.mark.parametrize("as_lists", [True, False])
def test_aselmdb(frames, tmp_path, as_lists):
    def packed(value):
        return zlib.compress(json.dumps(value).encode())

    rows = {key: packed(ase_row(frames[key], as_lists=as_lists)) for key in range(1, 12)}
    extra = {"nextid": packed(12), "metadata": packed({}), "deleted_ids": packed([])}
    path = write_lmdb(tmp_path / "train.aselmdb", {**rows, **extra})
    store = stored(path, tmp_path / "store")
    assert len(store) == 11
    for found, frame in zip(store, frames[1:], strict=True):
        for name in ("numbers", "positions", "cell", "pbc", "forces", "tags", "fixed"):
            assert np.array_equal(getattr(found, name), getattr(frame, name)), name
        assert found.energy == frame.energy
        assert found.stress.tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positions": None}, "the row has no positions"),
        ({"positions": "x"}, "no array of numbers"),
        ({"positions": [[0, 0]]}, "positions has shape"),
        ({"numbers": {"__ndarray__": [[3], "int64", [1]]}}, "no array of numbers"),
        ({"forces": [["a", 0, 0]]}, "no array of numbers"),
        ({"constraints": [{"name": "FixAtoms", "kwargs": {"indices": [99]}}]}, "constraints"),
        ({"constraints": 3}, "constraints"),
        ({"constraints": [{"name": "FixAtoms", "kwargs": {"indices": [0.7]}}]}, "hold 0.7"),
        ({"tags": [0.5] * 6}, "tags hold 0.5, which is not a whole number"),
        ({"pbc": [0.5, 0, 0]}, "pbc hold .*not only true and false"),
    ],
)
def test_rows_that_are_wrong(frames, tmp_path, change, reason):
    row = zlib.compress(json.dumps({**ase_row(frames[0], as_lists=True), **change}).encode())
    path = write_lmdb(tmp_path / "train.aselmdb", {1: row, 2: b"no row", 3: zlib.compress(b"[]")})
    with pytest.raises(DataError, match=rf"train.aselmdb, frame 1: .*{reason}"):
        stored(path, tmp_path / "store")
    with pytest.raises(DataError, match="no frame is left"):
        stored(path, tmp_path / "store", skip_bad=True)


def test_a_stress_of_another_shape_is_left_out_unless_asked_for(frames, tmp_path, caplog):
    rows = [{**ase_row(frame, as_lists=True), "stress": [1, 2]} for frame in frames[:3]]
    packed = {key: zlib.compress(json.dumps(row).encode()) for key, row in enumerate(rows, 1)}
    path = write_lmdb(tmp_path / "train.aselmdb", packed)
    store = stored(path, tmp_path / "store")
    assert store.labels["energy"] == 3
    assert "stress" not in store.labels
    assert caplog.text.count("neither 6 nor 3 by 3; the stress is left out") == 1
    with pytest.raises(DataError, match=r"train.aselmdb, frame 1: .*neither 6 nor 3 by 3"):
        stored(path, tmp_path / "asked", options=Options(keys=LabelKeys(stress="stress")))


def test_labels_of_rows_by_name(frames, tmp_path):
    names = ("energy", "forces", "stress")
    packed = {}
    for key, frame in enumerate(frames[:3], 1):
        row = {k: v for k, v in ase_row(frame, as_lists=False).items() if k not in names}
        row["key_value_pairs"] = {"pbe_energy": frame.energy}
        flat = {"__ndarray__": [list(frame.forces.shape), "float64", frame.forces.ravel().tolist()]}
        row["data"] = {"pbe_forces": flat}
        packed[key] = zlib.compress(json.dumps(row).encode())
    path = write_lmdb(tmp_path / "train.aselmdb", packed)
    bare = stored(path, tmp_path / "bare")
    assert not {"energy", "forces"} & set(bare.labels)
    assert bare.unread == {"pbe_energy": 3, "pbe_forces": 3}
    keys = LabelKeys("pbe_energy", "pbe_forces")
    store = stored(path, tmp_path / "store", options=Options(keys=keys))
    assert [frame.energy for frame in store] == [frame.energy for frame in frames[:3]]
    assert np.array_equal(store[2].forces, frames[2].forces)


def test_words_in_pickled_records(tmp_path):
    def record(**changes):
        known = {"pos": torch.rand(2, 3), "atomic_numbers": torch.tensor([14.0, 14.0])}
        return pickle.dumps(Data(**known, cell=5.5 * torch.eye(3)[None], y=-1.0, **changes))

    path = write_lmdb(tmp_path / "words.lmdb", {0: record(sid="mp-149", fid=3)})
    store = stored(path, tmp_path / "store")
    assert (store.record(0).system, store.record(0).step) == (-1, 3)
    path = write_lmdb(tmp_path / "wrong.lmdb", {0: record(tags="none")})
    with pytest.raises(DataError, match=r"key 0\): expected numbers in tags, found 'none'"):
        stored(path, tmp_path / "other")
    path = write_lmdb(tmp_path / "named.lmdb", {0: record(dft=-7.5, dft_forces=torch.ones(2, 3))})
    keys = LabelKeys(energy="dft", forces="dft_forces")
    named = stored(path, tmp_path / "named", options=Options(keys=keys))
    assert named[0].energy == -7.5
    assert named[0].forces.tolist() == [[1.0] * 3] * 2
    unnamed = stored(path, tmp_path / "unnamed")
    assert unnamed.unread == {"dft": 1}
    assert unnamed.labels == {"energy": 1, "forces": 1}, "dft_forces is a common name"


def pickled(path, **changes):
    """An LMDB file of one structure of two atoms, some of whose fields are other ones."""
    known = {"pos": torch.rand(2, 3), "atomic_numbers": torch.tensor([14, 6])}
    known |= {"cell": 5.5 * torch.eye(3)[None], "y": -1.0, "force": torch.ones(2, 3)} | changes
    given = {name: value for name, value in known.items() if value is not None}
    return write_lmdb(path, {0: pickle.dumps(Data(**given))})


@pytest.mark.parametrize(
    ("pbc", "expected"),
    [
        (None, [True] * 3),
        (torch.tensor([[True, False, True]]), [True, False, True]),
        (torch.zeros(3), [False] * 3),
    ],
)
def test_pickled_records_say_how_they_are_periodic(tmp_path, pbc, expected):
    frame = stored(pickled(tmp_path / "a.lmdb", pbc=pbc), tmp_path / "store")[0]
    assert frame.pbc.tolist() == expected
    assert frame.cell.any() == any(expected)


def test_pickled_labels_under_their_common_names_are_read(tmp_path):
    stress = torch.diag(torch.tensor([0.5, 0.25, 0.125]))[None]
    names = {"y": None, "force": None, "REF_energy": -2.5, "dft_forces": torch.ones(2, 3)}
    store = stored(pickled(tmp_path / "a.lmdb", stress=stress, **names), tmp_path / "store")
    assert (store[0].energy, store[0].forces.tolist()) == (-2.5, [[1.0] * 3] * 2)
    assert np.array_equal(store[0].stress, stress[0].numpy())
    same = stored(pickled(tmp_path / "same.lmdb", energy=-1.0), tmp_path / "same")
    assert same[0].energy == -1.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"atomic_numbers": torch.tensor([1.7, 6])}, "atomic_numbers hold 1.7"),
        ({"tags": torch.tensor([0.5, 1])}, "tags hold 0.5, which is not a whole number"),
        ({"fixed": torch.tensor([0.5, 1])}, "fixed hold .*not only true and false"),
        ({"pbc": torch.tensor([2, 0, 1])}, "pbc hold .*not only true and false"),
        ({"pbc": torch.tensor([True])}, "pbc has shape"),
        ({"natoms": 3}, "natoms is 3, but 2 atoms are there"),
        ({"sid": 1.5}, "sid hold 1.5"),
        ({"energy": -2.0}, "'y' and 'energy' both look like energy and differ"),
        ({"cell": None}, "no cell"),
    ],
)
def test_pickled_values_that_contradict_are_refused(tmp_path, changes, reason):
    path = pickled(tmp_path / "a.lmdb", **changes)
    with pytest.raises(DataError, match=rf"a\.lmdb, frame 1 \(key 0\): .*{reason}"):
        stored(path, tmp_path / "store")


def test_a_row_that_unpacks_to_anything(frames, tmp_path, monkeypatch):
    monkeypatch.setattr("equinet.data.store.lmdb_records._LARGEST_ROW", 100)
    row = zlib.compress(json.dumps(ase_row(frames[0], as_lists=True)).encode())
    path = write_lmdb(tmp_path / "train.aselmdb", {1: row})
    with pytest.raises(DataError, match="frame 1 "):
        stored(path, tmp_path / "store")


def test_parts_and_files_that_are_none(frames, tmp_path, monkeypatch):
    monkeypatch.setattr("equinet.data.store.sources._ROWS", 5)
    values = {key: pickle.dumps(data_of(frame, y=-1.0 * key)) for key, frame in enumerate(frames)}
    path = write_lmdb(tmp_path / "split" / "data.lmdb", values)
    assert [part.size for part in find_parts(path.parent)] == [5, 5, 2]
    one, two = (stored(path, tmp_path / str(n), processes=n) for n in (1, 2))
    assert [frame.energy for frame in one] == [-1.0 * key for key in range(12)]
    assert one.fingerprint() == two.fingerprint()
    with pytest.raises(DataError, match="holds no structures"):
        find_parts(write_lmdb(tmp_path / "empty.lmdb", {"length": pickle.dumps(0)}))
    (tmp_path / "text.lmdb").write_text("no database at all, but longer than a header" * 100)
    with pytest.raises(DataError, match="cannot be opened as an LMDB"):
        find_parts(tmp_path / "text.lmdb")


def test_real_is2re_structures(shared_data, tmp_path):
    """Written as the released LMDBs are, read back, and compared with the plain arrays."""
    arrays = np.load(shared_data / "oc20" / "is2re_batch3.npz")
    assert {"pos", "pos_relaxed", "y_init", "y_relaxed", "tags"} <= set(arrays.files)
    counts = np.bincount(arrays["batch"])
    ends = np.cumsum(counts)
    values = {}
    for key, (stop, count) in enumerate(zip(ends, counts, strict=True)):
        part = slice(stop - count, stop)
        values[key] = pickle.dumps(
            Data(
                pos=torch.tensor(arrays["pos"][part]),
                pos_relaxed=torch.tensor(arrays["pos_relaxed"][part]),
                cell=torch.tensor(arrays["cell"][key])[None],
                atomic_numbers=torch.tensor(arrays["atomic_numbers"][part]).float(),
                tags=torch.tensor(arrays["tags"][part]),
                fixed=torch.tensor(arrays["fixed"][part]).float(),
                y_init=float(arrays["y_init"][key]),
                y_relaxed=float(arrays["y_relaxed"][key]),
                sid=key,
            )
        )
    store = stored(write_lmdb(tmp_path / "data.lmdb", values), tmp_path / "store")
    for key in range(3):
        record = store.record(key)
        assert record.relaxed_energy == float(arrays["y_relaxed"][key])
        held = record.frame.fixed
        assert np.array_equal(held, record.frame.tags == 0)
        assert np.array_equal(record.relaxed_positions[held], record.frame.positions[held])


def test_a_cut_file_is_one_sentence_and_no_bus_error(frames, tmp_path):
    """lmdb itself would read beyond the end of the mapped file, which kills the process."""
    values = {key: pickle.dumps(data_of(frame, y=1.0)) for key, frame in enumerate(frames)}
    path = write_lmdb(tmp_path / "a.lmdb", values)
    content = path.read_bytes()
    used = len(content.rstrip(b"\0"))
    path.write_bytes(content[: int(0.6 * used)])
    with pytest.raises(DataError, match=r"a\.lmdb cannot be read as an LMDB file.*truncated"):
        find_parts(path)


@pytest.mark.parametrize("key", ["007", "x1"])
def test_keys_that_are_no_numbers_as_written_are_passed_over(frames, tmp_path, key):
    values = {0: pickle.dumps(data_of(frames[0], y=1.0)), key: b"something else"}
    path = write_lmdb(tmp_path / "a.lmdb", values)
    assert [part.keys for part in find_parts(path)] == [(0,)]


def test_a_row_with_broken_numbers_is_refused(frames, tmp_path):
    row = ase_row(frames[0], as_lists=True) | {"numbers": [1.7] * len(frames[0])}
    path = write_lmdb(tmp_path / "a.aselmdb", {1: zlib.compress(json.dumps(row).encode())})
    with pytest.raises(DataError, match=r"numbers hold 1\.7, which is not a whole number"):
        stored(path, tmp_path / "store")
