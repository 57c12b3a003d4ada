"""IS2RE from LMDB files as released to submissions: direct, and by relaxation."""

import json
import pickle

import numpy as np
import pytest
import torch
from oc20_files import data_of, slab, write_lmdb

from equinet import __main__ as entry
from equinet import train, zoo
from equinet.configuration import hydra_command
from equinet.data import IS2RE, FrameStore
from equinet.errors import ConfigError
from equinet.evaluation.oc20.is2re_submission import read_is2re_submission, read_is2rs_submission
from equinet.evaluation.oc20.s2ef_submission import SPLITS
from equinet.models import MACEGaunt

COUNTS = {"train": 16, **{f"val_{split}": 3 for split in SPLITS}}
TINY = (
    *("model.channels=4", "model.blocks=1", "model.lmax=2", "model.heads=2"),
    *("model.attention_hidden=4", "model.edge_channels=4", "model.radial_basis=8"),
)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """``is2re/all`` as it unpacks; in ``val_ood_both`` two atoms of one structure meet."""
    root = tmp_path_factory.mktemp("released") / "is2re" / "all"
    for place, (split, count) in enumerate(COUNTS.items()):
        values = {}
        for key in range(count):
            frame = slab(100 * place + key, metals=4 + key % 5)
            moved = frame.positions + np.where(frame.fixed, 0.0, 0.1)[:, None]
            if split == "val_ood_both" and key == 1:
                frame.positions[-1] = frame.positions[-2]
            number = {"y_init": 5.0, "y_relaxed": -0.1 * key - len(frame) / 10, "sid": 500 + key}
            relaxed = torch.tensor(moved, dtype=torch.float32)
            force = torch.tensor(frame.forces, dtype=torch.float32)
            data = data_of(frame, **number, pos_relaxed=relaxed, force=force)
            values[key] = pickle.dumps(data)
        write_lmdb(root / split / "data.lmdb", values)
    return root


@pytest.fixture(scope="module")
def stores(released, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    assert entry.main(["data", "convert", str(released), str(folder), "--processes", "1"]) == 0
    return folder


def compose(*overrides):
    return hydra_command.compose("train", list(overrides))


def command(capsys, *arguments):
    status = entry.main(["oc20", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def rows_of(out):
    return {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}


def test_direct_prediction(released, stores, tmp_path, capsys):
    """Trained on the LMDB files themselves; two atoms at one place cannot be predicted."""
    path = tmp_path / "run"
    options = (
        *("+experiment=oc20_is2re", f"data.root={released}", "data.val_size=1", "data.cutoff=4"),
        *("data.test=[val_ood_ads,val_ood_cat]", f"data.cache={tmp_path}", "trainer=cpu"),
        *("trainer.max_epochs=2", "logger=csv", f"run.dir={path}", *TINY),
    )
    with pytest.raises(ConfigError, match=r"set model\.forces=gradient"):
        train.run(compose(*options, "model.forces=direct", f"run.dir={tmp_path / 'other'}"))
    metrics = train.run(compose(*options))
    assert set(metrics["sets"]) == {"val", "val_id", "val_ood_ads", "val_ood_cat"}
    assert metrics["units"] == {"energy_mae": "meV", "ewt": "%"}
    model = zoo.load(path)
    assert model.neighborhood.max_neighbors == 50
    # The reference energies are fitted to relaxed energies, not to those of the initial frames.
    assert model.scale < 1.0
    file = tmp_path / "direct.npz"
    splits = ("--splits", *(f"val_{split}" for split in SPLITS[:3]))
    arguments = ("evaluate", path, stores, "--task", "is2re", "--submission", file, *splits)
    status, out, _ = command(capsys, *arguments)
    assert status == 0
    rows = rows_of(out)
    assert "also needs ood_both" in out
    read = read_is2re_submission(file)
    for split in SPLITS[:3]:
        store = FrameStore(stores / f"val_{split}")
        true = {str(r.system): r.relaxed_energy for r in map(store.record, range(len(store)))}
        off = [abs(read[split][key] - energy) for key, energy in true.items()]
        assert float(rows[f"val_{split}"][2]) == pytest.approx(1000 * np.mean(off), abs=0.02)
    assert float(rows["val_ood_ads"][2]) == pytest.approx(
        metrics["sets"]["val_ood_ads"]["energy_mae"], abs=0.02
    )
    assert json.loads((path / "metrics.json").read_text())["best_val_loss"] > 0


@pytest.fixture
def potential(tmp_path):
    torch.manual_seed(4)
    sizes = {"channels": 3, "layers": 1, "lmax_filter": 1, "lmax_hidden": 1, "correlation": 2}
    known = {"elements": [6, 8, 29], "reference_energies": [0.0] * 3, "average_neighbors": 10.0}
    model = MACEGaunt(**known, cutoff=3.5, scale=5.0, radial_hidden=(4,), **sizes).double()
    zoo.save(model, tmp_path / "model", {})
    return tmp_path / "model"


def test_relaxation(stores, potential, tmp_path, capsys):
    energies, structures = tmp_path / "is2re.npz", tmp_path / "is2rs.npz"
    status, out, _ = command(
        capsys,
        *("relax", potential, stores, "--steps", 4, "--fmax", 1e-4, "--max-atoms", 20),
        *("--submission", energies, "--submission-is2rs", structures),
    )
    assert status == 0
    rows = rows_of(out)
    assert "val_id: 3 structures, 3 unfinished, 4.0 steps on average" in out
    assert "1 diverged" in out
    sentence = next(line for line in out.splitlines() if "system 501" in line)
    assert "val_ood_both, frame 1 (data.lmdb" in sentence
    assert "are at the same place" in sentence
    assert "left out, since they have no energy: systems 501" in out
    read = read_is2re_submission(energies)
    places = read_is2rs_submission(structures)
    for split in SPLITS:
        store = FrameStore(stores / f"val_{split}")
        records = {str(r.system): r for r in map(store.record, range(len(store)))}
        lost = {"501"} if split == "ood_both" else set()
        assert read[split].keys() == places[split].keys() == records.keys() - lost
        off = [abs(energy - records[key].relaxed_energy) for key, energy in read[split].items()]
        assert float(rows[f"val_{split}"][2]) == pytest.approx(1000 * np.mean(off), abs=0.02)
        shares = []
        for key, found in places[split].items():
            frame = records[key].frame
            assert np.allclose(found[frame.fixed], frame.positions[frame.fixed], atol=1e-5)
            moved = np.linalg.norm(found - frame.positions, axis=1)[~frame.fixed]
            assert 0 < moved.max() <= 4 * 0.04 + 1e-5
            wide = np.linalg.norm(found - records[key].relaxed_positions, axis=1)[~frame.fixed]
            shares.append(np.mean(wide.mean() < np.arange(0.01, 0.5, 0.001)))
        assert float(rows[f"val_{split}"][4]) == pytest.approx(100 * np.mean(shares), abs=0.3)
    assert float(rows["GemNet-OC"][2]) == 60.3


def test_a_single_store_and_what_is_wrong(stores, potential, tmp_path, capsys):
    status, out, _ = command(capsys, "relax", potential, stores / "val_id", "--steps", 0)
    assert status == 0
    assert "val_id: 3 structures, 3 unfinished, 0.0 steps" in out
    for extra, reason in (
        (("--fmax", 0), "fmax must be positive"),
        (("--most", 1, "--submission", tmp_path / "a.npz"), "nothing can be submitted"),
        (("--splits", "test_id"), "no store 'test_id'"),
    ):
        status, _, err = command(capsys, "relax", potential, stores, *extra)
        assert status == 1
        assert reason in err


def test_a_split_may_lie_in_another_folder(released, tmp_path):
    data = IS2RE(
        root=released.parent,
        train="all/train",
        val="all/val_id",
        test=["all/val_ood_ads"],
        val_size=1,
        cache=tmp_path,
    )
    assert len(data.train) == 16
    graph = data.train[3]
    assert float(graph.energy) == pytest.approx(-0.3 - graph.num_nodes / 10)
    assert "forces" not in graph
    assert data.statistics.scale < 1
    assert set(data.tests) == {"all/val_id", "all/val_ood_ads"}
