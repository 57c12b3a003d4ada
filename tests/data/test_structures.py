"""Structures of files, folders and stores are read alike."""

import lzma

import numpy as np
import pytest
from labeled_files import write_clusters
from oc20_files import slab, write_pair

from equinet.data import LabelKeys, Units, read_frames, read_structures, records_of
from equinet.data.store import Refusal, convert
from equinet.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    """Two files of two structures."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, name in enumerate("ab"):
        write_clusters(folder / f"{name}.xyz", 2, seed=i)
    return folder


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-9)
        assert np.array_equal(one.numbers, other.numbers)
        assert np.allclose(one.positions, other.positions, atol=1e-6)
        assert np.allclose(one.forces, other.forces, atol=1e-6)


def test_folders_stores_and_lists_hold_what_their_files_hold(folder, tmp_path):
    expected = [frame for name in "ab" for frame in read_frames(folder / f"{name}.xyz")]
    list(convert(folder, tmp_path / "store", processes=1))
    same(read_structures(folder), expected)
    same(read_structures(tmp_path / "store"), expected)
    same(read_structures(folder / "b.xyz", folder / "a.xyz"), expected[2:] + expected[:2])


def test_units_are_converted_wherever_structures_come_from(folder, tmp_path):
    units = Units("kcal/mol")
    list(convert(folder, tmp_path / "store", processes=1))
    expected = [units.convert(frame) for frame in read_structures(folder)]
    same(read_structures(folder, units=units), expected)
    with pytest.raises(ConfigError, match="leave out the units"):
        read_structures(tmp_path / "store", units=units)


def test_released_pairs_are_read(tmp_path):
    frames = [slab(seed) for seed in range(3)]
    write_pair(tmp_path / "s2ef_val_id", 0, frames)
    found = read_structures(tmp_path / "s2ef_val_id")
    assert [len(frame.numbers) for frame in found] == [len(frame.numbers) for frame in frames]


def test_what_cannot_be_used_is_refused_by_name(folder, tmp_path):
    store = tmp_path / "store"
    list(convert(folder, store, processes=1))
    with pytest.raises(ConfigError, match=r"store: a store names its labels itself"):
        read_structures(store, energy_key="energy")
    with pytest.raises(DataError, match=r"missing\.xyz"):
        read_structures(tmp_path / "missing.xyz")
    (folder / "b.xyz").write_text("1\n\nH 0 0 0\n")
    with pytest.raises(DataError, match=r"b\.xyz.*no energy and no forces"):
        read_structures(folder)
    write_pair(tmp_path / "s2ef_val_id", 0, [slab(0)])
    (path,) = (tmp_path / "s2ef_val_id").glob("*.extxyz.xz")
    path.write_bytes(lzma.compress(b"2\ntorn\n"))
    (refusal,) = records_of(tmp_path / "s2ef_val_id", LabelKeys())
    assert isinstance(refusal, Refusal)
    with pytest.raises(DataError, match=r"0\.extxyz\.xz"):
        read_structures(tmp_path / "s2ef_val_id")
