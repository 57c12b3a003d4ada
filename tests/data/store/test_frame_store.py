"""A store is read as it was written: damage is found, and older stores are understood."""

import json
import pickle

import pytest
from oc20_files import REFERENCE, slab, write_pair
from safetensors.numpy import load, save
from stores import run

from equinet.data import fingerprint
from equinet.data.store import FrameStore, Options
from equinet.errors import DataError


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
