"""From a tar as released to a submission: convert, train, evaluate, hand in."""

import json
import tarfile

import numpy as np
import pytest
from oc20_files import slab, write_pair

from equinet import __main__ as entry
from equinet import train
from equinet.configuration import hydra_command
from equinet.data import read_s2ef
from equinet.data.store import FrameStore
from equinet.evaluation.oc20.s2ef_submission import SPLITS

COUNTS = {"s2ef_train_200K": 24, **{f"s2ef_val_{split}": 5 for split in SPLITS}}
TINY = (
    *("model.channels=4", "model.blocks=1", "model.lmax=2", "model.heads=2"),
    *("model.attention_hidden=4", "model.edge_channels=4", "model.radial_basis=8"),
)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """One tar a split, with the folders inside that the released ones have."""
    root = tmp_path_factory.mktemp("released")
    for place, (split, count) in enumerate(COUNTS.items()):
        folder = root / "unpacked" / split
        write_pair(folder, 0, [slab(100 * place + i, metals=4 + i % 5) for i in range(count)])
        with tarfile.open(root / f"{split}.tar", "w") as tar:
            tar.add(folder, f"{split}/{split}")
    return root


@pytest.fixture(scope="module")
def stores(released, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    arguments = ["data", "convert", str(released), str(folder), "--processes", "1"]
    assert entry.main([*arguments, "--cutoff", "4"]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(stores, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run"
    overrides = [
        *("+experiment=oc20", f"data.root={stores}", "data.val_size=2", "data.cutoff=4"),
        *("data.max_edges=1500", "trainer=cpu", "trainer.max_epochs=2", "logger=csv"),
        *(f"run.dir={path}", *TINY),
    ]
    train.run(hydra_command.compose("train", overrides))
    return path


def command(capsys, *arguments):
    status = entry.main(["oc20", "evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_released_tar_ends_as_a_submission(released, stores, trained, tmp_path, capsys):
    assert [len(FrameStore(stores / split)) for split in COUNTS] == list(COUNTS.values())
    metrics = json.loads((trained / "metrics.json").read_text())
    assert set(metrics["sets"]) == {"val", *list(COUNTS)[1:]}
    path = tmp_path / "submission.npz"
    status, out, _ = command(capsys, trained, stores, "--batch-size", 3, "--submission", path)
    assert status == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert "needs" not in out
    assert rows["mean"][0] == "mean"
    errors = np.array([[float(x) for x in rows[f"s2ef_val_{s}"][2:]] for s in SPLITS])
    assert np.allclose([float(x) for x in rows["mean"][1:]], errors.mean(axis=0), atol=0.011)
    assert float(rows["SchNet"][1]) == 1400
    with np.load(path, allow_pickle=False) as file:
        for split in SPLITS:
            frames = read_s2ef(released / "unpacked" / f"s2ef_val_{split}")
            ids = file[f"{split}_ids"].tolist()
            assert ids == sorted(f"{7000 + i}_{i}" for i in range(5))
            free = [int((~frame.fixed).sum()) for frame in frames]
            assert len(file[f"{split}_forces"]) == sum(free)
            assert file[f"{split}_chunk_idx"].tolist() == np.cumsum(free)[:-1].tolist()
            # The printed errors are those of the predictions handed in.
            energies = [frame.energy for frame in frames]
            mae = 1000 * np.abs(file[f"{split}_energy"] - energies).mean()
            assert float(rows[f"s2ef_val_{split}"][2]) == pytest.approx(mae, abs=0.02)
            forces = np.concatenate([frame.forces[~frame.fixed] for frame in frames])
            mae = 1000 * np.abs(file[f"{split}_forces"] - forces).mean()
            assert float(rows[f"s2ef_val_{split}"][3]) == pytest.approx(mae, abs=0.02)


def test_parts_of_splits_and_what_is_missing(stores, trained, tmp_path, capsys):
    status, out, _ = command(capsys, trained, stores, "--splits", "s2ef_val_id", "--most", 2)
    assert status == 0
    assert "s2ef_val_id: 2 structures" in out
    path = tmp_path / "part.npz"
    arguments = (trained, stores, "--splits", "s2ef_val_ood_cat", "--submission", path)
    assert "also needs id, ood_ads, ood_both" in command(capsys, *arguments)[1]
    for wrong, reason in (
        ((*arguments, "--most", 2), "nothing can be submitted"),
        ((trained, stores, "--splits", "s2ef_test_id"), "no store 's2ef_test_id'"),
        ((trained, tmp_path), "no store beside the training split"),
        ((trained, stores, "--splits", "s2ef_train_200K", "--submission", path), "does not end in"),
    ):
        status, _, err = command(capsys, *wrong)
        assert status == 1
        assert reason in err


def test_unknown_elements_and_missing_labels(stores, trained, tmp_path, capsys):
    write_pair(tmp_path / "download" / "s2ef_val_id", 0, [slab(0, metal=47)])
    bare = '2\nLattice="9 0 0 0 9 0 0 0 9" pbc="T T T"\nCu 0 0 0\nO 0 0 1.8\n'
    file = tmp_path / "s2ef_test_id" / "frames.xyz"
    file.parent.mkdir()
    file.write_text(2 * bare)
    for source in (tmp_path / "download" / "s2ef_val_id", file.parent):
        target = tmp_path / "stores" / source.name
        assert entry.main(["data", "convert", str(source), str(target)]) == 0
    capsys.readouterr()
    status, _, err = command(capsys, trained, tmp_path / "stores", "--splits", "s2ef_val_id")
    assert status == 1
    assert "s2ef_val_id holds Ag, which the model was not trained for" in err
    write_pair(tmp_path / "download" / "mixed", 0, [slab(0, metal=47), slab(1), slab(2)])
    source, target = tmp_path / "download" / "mixed", tmp_path / "stores" / "s2ef_val_ood_both"
    assert entry.main(["data", "convert", str(source), str(target)]) == 0
    capsys.readouterr()
    arguments = (trained, tmp_path / "stores", "--splits", "s2ef_val_ood_both")
    status, out, _ = command(capsys, *arguments)
    assert status == 0
    assert "1 of 3 structures left out, since the model was not trained for Ag" in out
    assert "s2ef_val_ood_both: 2 structures\n" in out
    path = tmp_path / "part.npz"
    assert "in structures of a submission" in command(capsys, *arguments, "--submission", path)[2]
    status, out, _ = command(capsys, trained, tmp_path / "stores", "--splits", "s2ef_test_id")
    assert status == 0
    assert out == "s2ef_test_id: 2 structures, without labels\n"
