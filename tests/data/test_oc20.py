import lzma

import numpy as np
import pytest

from equinet.data import OC20, read_s2ef
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
    module = OC20(root=tmp_path, val_size=1)
    module.prepare()
    assert {name: len(data) for name, data in module.tests.items()} == {
        "s2ef_val_id": 3,
        "s2ef_val_ood": 2,
    }
    assert (
        "1 of 3 frames hold elements that no training frame has (atomic numbers [16])"
        in caplog.text
    )


def test_without_root_emt_surfaces_stand_in(tmp_path):
    module = OC20(cache=tmp_path)
    module.prepare()
    assert "NOT OC20" in module.describe()
    assert [len(module.train), len(module.val)] == [400, 50]
    assert list(module.tests) == ["test_id", "test_ood"]
    assert module.statistics.elements == (1, 6, 7, 8, 28, 29, 46, 47, 78, 79)
    batch = next(iter(module.train_loader()))
    assert {"tags", "fixed", "energy", "forces"} <= set(batch.keys())
    assert OC20(cache=tmp_path).fingerprint() == module.fingerprint()


def test_real_s2ef_frames(shared_data):
    frames = read_s2ef(shared_data / "oc20" / "s2ef_val_id")
    assert len(frames) == 567
    assert all((frame.fixed == (frame.tags == 0)).all() for frame in frames)
    assert np.concatenate([frame.forces[frame.fixed] for frame in frames]).any()
    assert np.abs([frame.energy for frame in frames]).max() < 100
