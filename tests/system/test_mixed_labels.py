"""Files in which only some frames have energies or forces can be trained on and evaluated."""

import json

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from equinet import evaluate, train
from equinet.configuration import hydra_command
from equinet.data import AtomicDataset, read_frames
from equinet.errors import DataError
from equinet.evaluation import LossWeights, predict, residuals
from equinet.models import MACEGaunt

TINY = (
    *("model.channels=2", "model.layers=1", "model.lmax_filter=1", "model.lmax_hidden=0"),
    *("trainer.max_steps=4", "trainer=cpu", "data.val=3"),
)


def compose(name, *overrides):
    return hydra_command.compose(name, list(overrides))


def block(number, *, energy=True, forces=True, unit=1.0):
    """Text of a nitrogen molecule with some of its labels, in eV times a unit."""
    length = 1.023 + 0.01 * number
    pull = 140 * (length - 1.1) * unit
    total = (-2960 + 70 * (length - 1.1) ** 2) * unit
    columns = "species:S:1:pos:R:3" + (":forces:R:3" if forces else "")
    labels = f"energy={total:.8f} " if energy else ""
    rows = (f"N 0 0 {z}{f' 0 0 {f:.8f}' * forces}" for z, f in ((0, pull), (length, -pull)))
    return "\n".join(["2", f'Properties={columns} {labels}pbc="F F F"', *rows, ""])


@pytest.fixture
def mixed(tmp_path):
    kinds = ({}, {"energy": False}, {"forces": False})
    path = tmp_path / "mixed.xyz"
    path.write_text("".join(block(number, **kinds[number % 3]) for number in range(15)))
    return path


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MACEGaunt(
        elements=[7],
        cutoff=5.0,
        reference_energies=[-1480.0],
        average_neighbors=1.0,
        channels=2,
        layers=1,
        lmax_filter=1,
        lmax_hidden=0,
    ).double()


def test_residuals_are_those_of_the_labeled_structures(mixed, model):
    frames = read_frames(mixed, mixed_labels=True)
    with pytest.raises(DataError, match=r"5 of 15 frames have no energy, first .*frame 2"):
        AtomicDataset(frames, 5.0)
    data = AtomicDataset(frames, 5.0, mixed_labels=True)
    batch = Batch.from_data_list([data[index] for index in range(3)])
    assert batch.has_energy.tolist() == [True, False, True]
    assert batch.has_forces.tolist() == [True, True, False]
    predicted = model(batch)
    found = residuals(predicted, batch)
    expected = predicted["energy"][[0, 2]] - torch.tensor(
        [frames[0].energy, frames[2].energy], dtype=torch.float64
    )
    torch.testing.assert_close(found.energy, expected)
    assert found.atoms.tolist() == [2, 2]
    assert found.forces.shape == (4, 3)
    forces = torch.from_numpy(np.concatenate([frames[0].forces, frames[1].forces]))
    torch.testing.assert_close(found.forces, predicted["forces"][:4] - forces)

    # The loss is the one of the labeled frames alone: each label in a batch of its own.
    energies = AtomicDataset([frames[0], frames[2]], 5.0, mixed_labels=True)
    only = Batch.from_data_list([energies[0], energies[1]])
    apart = residuals(model(only), only)
    weights = LossWeights(energy=3.0, forces=0.0)
    torch.testing.assert_close(weights.loss(found), weights.loss(apart))


def test_predictions_compare_what_is_labeled(mixed, model):
    from equinet.data import evaluation_loader

    data = AtomicDataset.from_file(mixed, model.neighborhood, mixed_labels=True)
    found = predict(model, evaluation_loader(data, 4))
    assert np.isnan(found.true_energy).sum() == 5
    assert np.isnan(found.true_forces).all(axis=1).sum() == 10
    assert found.counted.sum() == 20
    off = (found.energy - found.true_energy)[~np.isnan(found.true_energy)]
    assert found.errors["energy_mae"] == pytest.approx(1000 * np.abs(off).mean())
    assert [len(panel.true) for panel in found.parity] == [10, 60]


def test_training_and_evaluation(mixed, tmp_path, caplog):
    command = ("data=files", f"data.train={mixed}", f"run.dir={tmp_path / 'run'}", *TINY)
    with caplog.at_level("INFO"):
        metrics = train.run(compose("train", *command))
    assert (
        "labels: energy of 8 in 12, forces of " in caplog.text or "labels: energy of" in caplog.text
    )
    assert {"energy_rmse", "forces_rmse"} <= metrics["sets"]["val"].keys()
    rows = (tmp_path / "run" / "metrics.csv").read_text()
    assert "nan" not in rows
    with caplog.at_level("INFO"):
        evaluate.run(compose("evaluate", f"checkpoint={tmp_path / 'run'}", f"data.file={mixed}"))
    assert "mixed.xyz: 12 of 15 structures are training structures" in caplog.text
    forces_only = tmp_path / "forces.xyz"
    forces_only.write_text("".join(block(number, energy=False) for number in range(6)))
    with caplog.at_level("INFO"):
        found = evaluate.run(
            compose("evaluate", f"checkpoint={tmp_path / 'run'}", f"data.file={forces_only}")
        )
    assert not [name for name in found["errors"] if name.startswith("energy")]
    assert found["errors"]["forces_rmse"] > 0
    assert "forces has no energies, so there are no errors of them" in caplog.text
    assert (
        json.loads((tmp_path / "run/evaluate/forces/metrics.json").read_text())["structures"] == 6
    )


def test_forces_alone_need_to_be_asked_for(tmp_path):
    path = tmp_path / "forces.xyz"
    path.write_text("".join(block(number, energy=False) for number in range(12)))
    command = ("data=files", f"data.train={path}", f"run.dir={tmp_path / 'run'}", *TINY)
    with pytest.raises(DataError, match=r"no energy, .*data.energy_key.*energy_weight=0"):
        train.run(compose("train", *command))
    metrics = train.run(compose("train", *command, "task.energy_weight=0"))
    assert metrics["sets"]["val"]["forces_rmse"] > 0
    assert "energy_rmse" not in metrics["sets"]["val"]


def test_a_file_without_labels_or_without_the_named_one_is_refused(tmp_path):
    path = tmp_path / "none.xyz"
    path.write_text("".join(block(number, energy=False, forces=False) for number in range(4)))
    with pytest.raises(DataError, match="frame 1: no energy and no forces in this frame and 3 aft"):
        read_frames(path, mixed_labels=True)
    path.write_text("".join(block(number) for number in range(4)))
    with pytest.raises(DataError, match="no energy named 'E_pbe' in this frame and 3 after it"):
        read_frames(path, mixed_labels=True, energy_key="E_pbe")


def test_tasks_that_need_all_labels_say_so(mixed, tmp_path):
    command = ("data=files", f"data.train={mixed}", f"run.dir={tmp_path / 'run'}", *TINY)
    with pytest.raises(DataError, match=r"frame \d+: no (energy|forces), .*task=potential"):
        train.run(compose("train", *command, "task=s2ef"))


def test_units_of_a_file_are_converted_in_training_and_evaluation(tmp_path):
    plain, other = tmp_path / "ev.xyz", tmp_path / "other.xyz"
    plain.write_text("".join(block(number) for number in range(12)))
    other.write_text("".join(block(number, unit=23.0605478) for number in range(12)))
    command = ("data=files", f"run.dir={tmp_path / 'run'}", *TINY)
    metrics = train.run(
        compose("train", *command, f"data.train={other}", "data.energy_unit=kcal/mol")
    )
    assert "converted: energies in kcal/mol, lengths in angstrom" in metrics["data"]
    stamp = json.loads((tmp_path / "run" / "stamp.json").read_text())
    assert "energies in kcal/mol" in stamp["data"]
    run = f"checkpoint={tmp_path / 'run'}"
    found = [
        evaluate.run(compose("evaluate", run, f"data.file={plain}")),
        evaluate.run(compose("evaluate", run, f"data.file={other}", "data.energy_unit=kcal/mol")),
    ]
    assert found[0]["errors"]["energy_rmse"] == pytest.approx(
        found[1]["errors"]["energy_rmse"], rel=1e-3
    )
    assert found[0]["errors"]["forces_mae"] == pytest.approx(
        found[1]["errors"]["forces_mae"], rel=1e-3
    )
