import lzma
import shutil
import tarfile

import numpy as np
import pytest
import torch
from oc20_files import slab, write_pair

from equinet.data import (
    OC20,
    AtomicDataset,
    Statistics,
    fingerprint,
    read_frames,
    read_s2ef,
)
from equinet.data.datasets import oc20
from equinet.data.store import Options, convert, find_splits
from equinet.errors import DataError


def s2ef(text, frames):
    """The text of N.extxyz as OC20 writes it, with the first atom held."""
    lines = text(frames).split("\n")
    for index, line in enumerate(lines):
        if line.startswith("Properties"):
            lines[index] = line.replace(":forces", ":move_mask:L:1:tags:I:1:forces")
        elif line and line[0] in "OH":
            row = line.split()
            mask = ["F", "0"] if row[0] == "O" else ["T", "2"]
            lines[index] = " ".join([*row[:4], *mask, *row[4:]])
    return "\n".join(lines)


def rows(frames, reference=-1.0):
    return "".join(f"random7,frame{number},{reference}\n" for number in range(frames))


def test_s2ef_pairs_are_read_in_order_minus_their_references(tmp_path, write, text):
    write(s2ef(text, 2), "split/10.extxyz")
    write(rows(2, -1.0), "split/10.txt")
    write(lzma.compress(s2ef(text, 3).encode()), "split/9.extxyz.xz")
    write(lzma.compress(rows(3, -0.5).encode()), "split/9.txt.xz")
    frames = read_s2ef(tmp_path / "split")
    assert [frame.energy for frame in frames] == [-1.0, -2.0, -3.0, -0.5, -1.5]
    write(lzma.compress(b"packed twice"), "split/10.extxyz.xz")
    assert len(read_s2ef(tmp_path / "split")) == 5
    assert frames[0].tags.tolist() == [0, 2, 2]
    assert frames[0].fixed.tolist() == [True, False, False]
    assert frames[0].forces[0].any()


def test_broken_pairs_are_named(tmp_path, write, text):
    with pytest.raises(DataError, match="no S2EF files"):
        read_s2ef(tmp_path)
    write(s2ef(text, 2), "0.extxyz")
    with pytest.raises(DataError, match=r"0.extxyz: its reference energies 0.txt are not there"):
        read_s2ef(tmp_path)
    write(rows(1), "0.txt")
    with pytest.raises(DataError, match=r"0.txt: 1 rows for 2 frames"):
        read_s2ef(tmp_path)
    write(rows(1) + "random7,frame1\n", "0.txt")
    with pytest.raises(DataError, match=r"0.txt, line 2: expected system,frame,energy"):
        read_s2ef(tmp_path)


def test_frames_of_unknown_elements_are_left_out_of_the_ood_test(tmp_path, write, text, caplog):
    for split, content, count in (
        ("s2ef_train", s2ef(text, 4), 4),
        ("s2ef_val_id", s2ef(text, 4), 4),
        ("s2ef_val_ood", s2ef(text, 2) + s2ef(text, 1).replace("\nO", "\nS"), 3),
    ):
        write(content, f"{split}/0.extxyz")
        write(rows(count), f"{split}/0.txt")
    module = OC20(root=tmp_path, val_size=1, cache=tmp_path / "cache")
    module.prepare()
    assert {name: len(data) for name, data in module.tests.items()} == {
        "s2ef_val_id": 3,
        "s2ef_val_ood": 2,
    }
    assert (
        "1 of 3 frames hold elements that no training frame has (atomic numbers [16])"
        in caplog.text
    )


def official(root):
    """The folders that the released tars unpack to, one of them still packed."""
    write_pair(root / "s2ef_train_200K" / "s2ef_train_200K", 0, [slab(i) for i in range(12)])
    write_pair(root / "s2ef_train_200K" / "s2ef_train_200K", 1, [slab(i) for i in range(12, 20)])
    write_pair(root / "s2ef_val_id" / "s2ef_val_id", 0, [slab(i) for i in range(30, 36)])
    for place, kind in enumerate(("ads", "cat")):
        split = f"s2ef_val_ood_{kind}"
        write_pair(root / split / split, 0, [slab(40 + 10 * place + i) for i in range(4)])
    both = root / "s2ef_val_ood_both"
    write_pair(both, 0, [slab(60 + i) for i in range(3)])
    with tarfile.open(root / "s2ef_val_ood_both.tar", "w") as tar:
        tar.add(both, "s2ef_val_ood_both/s2ef_val_ood_both")
    shutil.rmtree(both)
    return root


OFFICIAL = ["s2ef_val_id", "s2ef_val_ood_ads", "s2ef_val_ood_cat", "s2ef_val_ood_both"]


def test_the_official_layout_is_found_converted_once_and_trained_on(tmp_path):
    root = official(tmp_path / "download")
    options = {"root": root, "cache": tmp_path / "cache", "val_size": 2, "test_size": 3}
    module = OC20(**options, batch_size=4, cutoff=4.0)
    module.prepare()
    assert [len(module.train), len(module.val)] == [20, 2]
    assert {name: len(data) for name, data in module.tests.items()} == dict.fromkeys(OFFICIAL, 3)
    stores = sorted((tmp_path / "cache" / "oc20").iterdir())
    written = [(store / "header.json").stat().st_mtime_ns for store in stores]
    assert len(stores) == 5
    again = OC20(**options)
    assert again.fingerprint() == module.fingerprint()
    assert [(store / "header.json").stat().st_mtime_ns for store in stores] == written
    for loader in (module.train_loader(), module.val_loader(), *module.test_loaders().values()):
        batch = next(iter(loader))
        assert {"tags", "fixed", "energy", "forces", "edge_index"} <= set(batch.keys())
    validated = {frame.source for frame in module.val.frames}
    tested = {frame.source for frame in module.tests["s2ef_val_id"].frames}
    assert not validated & tested
    assert "s2ef_train_200K" in module.describe()
    assert "20 training, 2 validation, 3 s2ef_val_id" in module.describe()


def test_stores_serve_as_splits_and_give_what_memory_gives(tmp_path):
    root = official(tmp_path / "download")
    for name, source in find_splits(root).items():
        list(convert(source, tmp_path / "stores" / name, options=Options(cutoff=4.0)))
    module = OC20(root=tmp_path / "stores", val_size=2, cutoff=4.0, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    frames = read_s2ef(root / "s2ef_train_200K")
    memory = AtomicDataset(frames, 4.0)
    assert module.statistics == Statistics.of(memory)
    assert np.array_equal(module.train.edge_counts, memory.edge_counts)
    assert np.array_equal(module.train.sizes, memory.sizes)
    for index in (0, 11, 12, 19):
        found, expected = module.train[index].to_dict(), memory[index].to_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in found)
    capped = {"max_neighbors": 7, "tie_tolerance": 0.01, "val_size": 2, "cutoff": 4.0}
    few = OC20(root=tmp_path / "stores", **capped).train
    alike = AtomicDataset(frames, 4.0, max_neighbors=7, tie_tolerance=0.01)
    assert all(torch.equal(few[i].edge_index, alike[i].edge_index) for i in range(20))
    assert few.average_neighbors == pytest.approx(alike.average_neighbors)
    with pytest.raises(DataError, match=r"convert with --cutoff 4 --max-neighbors 7"):
        _ = few.edge_counts
    other = OC20(root=tmp_path / "stores", val_size=2, cutoff=5.0)
    with pytest.raises(DataError, match=r"convert with --cutoff 5"):
        _ = other.train.edge_counts


def test_energies_that_have_references_are_taken_as_they_are(tmp_path):
    root = official(tmp_path / "download")
    options = {"root": root, "cache": tmp_path / "cache", "val_size": 2}
    fitted = OC20(**options).statistics
    taken = OC20(**options, fit_references=False).statistics
    assert any(fitted.reference_energies)
    assert not any(taken.reference_energies)
    frames = read_s2ef(root / "s2ef_train_200K")
    assert taken.shift == pytest.approx(np.mean([frame.energy / len(frame) for frame in frames]))
    assert (taken.elements, taken.scale) == (fitted.elements, fitted.scale)


def test_splits_are_named_where_they_are_not_found(tmp_path):
    root = official(tmp_path / "download")
    options = {"cache": tmp_path / "cache", "val_size": 2}
    chosen = OC20(root=root, train="s2ef_val_id", test="s2ef_val_ood_cat", **options)
    assert list(chosen.tests) == ["s2ef_val_id", "s2ef_val_ood_cat"]
    write_pair(root / "s2ef_train_2M", 0, [slab(0)])
    with pytest.raises(DataError, match=r"several splits s2ef_train_2M, s2ef_train_200K"):
        OC20(root=root, **options).prepare()
    with pytest.raises(DataError, match=r"no split 's2ef_train_20M'; there are s2ef_train_2M"):
        OC20(root=root, train="s2ef_train_20M", **options).prepare()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no split s2ef_train\* among no splits at all"):
        OC20(root=tmp_path / "empty", **options).prepare()
    with pytest.raises(DataError, match="absent: not there"):
        OC20(root=tmp_path / "absent", **options).prepare()
    with pytest.raises(DataError, match="test_size must be at least 1"):
        OC20(test_size=0)


def test_a_bad_frame_stops_the_first_use_unless_it_may_be_skipped(tmp_path):
    root = official(tmp_path / "download")
    path = root / "s2ef_val_id" / "s2ef_val_id" / "0.extxyz.xz"
    text = lzma.decompress(path.read_bytes()).decode().replace("Cu ", "Qq ", 1)
    path.write_bytes(lzma.compress(text.encode()))
    options = {"root": root, "cache": tmp_path / "cache", "val_size": 2}
    with pytest.raises(DataError, match=r"0.extxyz.xz, frame 1, line 3: 'Qq' is not an element"):
        OC20(**options).prepare()
    module = OC20(**options, skip_bad=True)
    assert len(module.val) + len(module.tests["s2ef_val_id"]) == 5


def test_a_large_set_is_measured_on_a_sample(tmp_path, monkeypatch):
    root = official(tmp_path / "download")
    monkeypatch.setattr("equinet.data.store.dataset._SAMPLE", 15)
    module = OC20(root=root, cache=tmp_path / "cache", val_size=2, cutoff=4.0)
    assert len(module.train.sample()) == 15
    assert module.statistics.elements == (6, 8, 29)
    sources = [frame.source for frame in module.train.sample()]
    assert sources == [frame.source for frame in module.train.sample()]


def test_without_root_emt_surfaces_stand_in_under_the_same_names(
    tmp_path, few_surfaces, monkeypatch
):
    monkeypatch.setattr(oc20, "make_surfaces", lambda: few_surfaces)
    module = OC20(cache=tmp_path, val_size=5)
    module.prepare()
    assert "NOT OC20" in module.describe()
    assert [len(module.train), len(module.val)] == [96, 5]
    assert {name: len(data) for name, data in module.tests.items()} == {
        "val_id": 19,
        "val_ood": 20,
    }
    validated, tested = (
        {fingerprint([frame]) for frame in data.frames}
        for data in (module.val, module.tests["val_id"])
    )
    assert not validated & tested
    assert module.statistics.elements == (1, 6, 7, 8, 13, 28, 29, 46, 47, 78, 79)
    assert len(read_frames(module.files["val_ood"])) == 20
    batch = next(iter(module.train_loader()))
    assert {"tags", "fixed", "energy", "forces"} <= set(batch.keys())
    assert OC20(cache=tmp_path, val_size=5).fingerprint() == module.fingerprint()


def test_real_s2ef_frames(shared_data):
    frames = read_s2ef(shared_data / "oc20" / "s2ef_val_id")
    assert len(frames) == 567
    assert all((frame.fixed == (frame.tags == 0)).all() for frame in frames)
    assert np.concatenate([frame.forces[frame.fixed] for frame in frames]).any()
    assert np.abs([frame.energy for frame in frames]).max() < 100
