"""Predictions on a set and the table of their errors."""

import numpy as np
import pytest
import torch
from torch import nn

from equinet.data import evaluation_loader
from equinet.errors import EquinetError
from equinet.evaluation.published import PublishedRow
from equinet.training import predict, table


def test_errors_and_order_by_hand(make_model, tiny_data):
    model = make_model()
    found = predict(model, evaluation_loader(tiny_data.train, 4))
    frames = tiny_data.train.frames
    assert found.true_energy.tolist() == [frame.energy for frame in frames]
    energy = found.energy - found.true_energy
    assert found.errors["energy_rmse"] == pytest.approx(1000 * np.sqrt((energy**2).mean()))
    forces = found.forces - np.concatenate([frame.forces for frame in frames])
    assert found.errors["forces_mae"] == pytest.approx(1000 * np.abs(forces).mean())
    assert [len(part) for part in found.split(found.forces)] == [len(frame) for frame in frames]
    assert "loss" not in found.errors


def test_batching_changes_nothing(make_model, tiny_data):
    model = make_model().double()
    one, many = (predict(model, evaluation_loader(tiny_data.val, size)) for size in (1, 4))
    assert np.allclose(one.forces, many.forces, atol=1e-12)
    assert np.allclose(one.energy, many.energy, atol=1e-9)


def test_fixed_atoms_are_predicted_but_not_counted(make_model, tiny_data):
    model = make_model()
    loader = evaluation_loader(tiny_data.val, 4)
    free, every = (predict(model, loader, free_atoms_only=free) for free in (True, False))
    assert np.array_equal(free.forces, every.forces)
    mask = np.concatenate([~frame.fixed for frame in tiny_data.val.frames])
    error = (free.forces - free.true_forces)[mask]
    assert free.errors["forces_rmse"] == pytest.approx(1000 * np.sqrt((error**2).mean()))
    assert free.errors["forces_rmse"] != every.errors["forces_rmse"]


def test_stress_is_compared_where_it_is_labeled(make_model, tiny_data):
    graph = next(iter(evaluation_loader(tiny_data.val, 4)))
    graph.cell = 20 * torch.eye(3, dtype=torch.float64).repeat(4, 1, 1)
    graph.stress = torch.zeros(4, 3, 3, dtype=torch.float64)
    model = make_model()
    found = predict(model, [graph])
    expected = model(graph, stress=True)["stress"].square().mean().sqrt()
    assert found.errors["stress_rmse"] == pytest.approx(1000 * float(expected), rel=1e-6)


def test_no_gradients_are_kept(make_model, tiny_data):
    found = predict(make_model(), evaluation_loader(tiny_data.val, 4))
    assert isinstance(found.forces, np.ndarray)
    assert torch.is_grad_enabled()


def test_table_has_units_and_published_rows():
    errors = dict.fromkeys(
        ["energy_rmse", "energy_mae", "energy_rmse_per_atom", "forces_rmse", "forces_mae"], 1.234
    )
    text = table(
        [{"name": "test_300K", "structures": 7, **errors}],
        [PublishedRow("MACE", {"energy_rmse": 3.0, "forces_rmse": 8.8}, "a paper")],
    )
    lines = text.splitlines()
    assert "meV/Å" in lines[1]
    assert "1.23" in lines[2]
    assert lines[-1].startswith("MACE")
    assert "a paper" in lines[-1]
    assert len({len(line) for line in lines[:3]}) == 1


def test_table_shows_the_stress_where_a_set_has_one():
    keys = ["energy_rmse", "energy_mae", "energy_rmse_per_atom", "forces_rmse", "forces_mae"]
    errors = dict.fromkeys(keys, 1.0)
    rows = [
        {"name": "a", "structures": 1, **errors},
        {"name": "b", "structures": 1, **errors, "stress_rmse": 7.25, "stress_mae": 6.5},
    ]
    lines = table(rows).splitlines()
    assert "S RMSE" in lines[0]
    assert lines[1].endswith("meV/Å³")
    assert lines[3].split()[-2:] == ["7.25", "6.50"]
    assert "S RMSE" not in table(rows[:1])


def test_stress_is_not_asked_of_direct_forces(make_model, tiny_data):
    model = make_model()
    model.conservative = False  # as a model with a force head is
    graph = next(iter(tiny_data.val_loader()))
    graph.stress = torch.zeros(4, 3, 3, dtype=torch.float64)
    model.atomic_energies_and_forces = lambda species, *_: (
        torch.zeros(len(species)),
        torch.zeros(len(species), 3),
    )
    found = predict(model, [graph])
    assert "stress_rmse" not in found.errors
    assert found.errors["forces_mae"] > 0


class _Stumbles(nn.Module):
    """A potential that has no answer for one structure of each batch."""

    def __init__(self, model, what, row):
        super().__init__()
        self.model, self.what, self.row = model, what, row

    def forward(self, graph):
        found = {name: value.detach().clone() for name, value in self.model(graph).items()}
        rows = self.row if self.what == "energy" else graph.batch == self.row
        found[self.what][rows] = float("nan")
        return found


@pytest.mark.parametrize("what", ["energy", "forces"])
def test_the_first_structure_whose_prediction_is_not_finite_is_named(make_model, tiny_data, what):
    loader = evaluation_loader(tiny_data.train, 5)
    with pytest.raises(EquinetError, match=f"the model's {what} for frame 3 is not finite"):
        predict(_Stumbles(make_model(), what, 3), loader)
    batches = list(loader)[1:]  # no data set to ask
    with pytest.raises(EquinetError, match=f"the model's {what} for structure 2 is not finite"):
        predict(_Stumbles(make_model(), what, 2), batches)


@pytest.mark.parametrize("free", [True, False])
def test_error_of_each_structure_by_hand(make_model, tiny_data, free):
    found = predict(make_model(), evaluation_loader(tiny_data.val, 3), free_atoms_only=free)
    expected = []
    for forces, frame in zip(found.split(found.forces), tiny_data.val.frames, strict=True):
        kept = ~frame.fixed if free else np.ones(len(frame), dtype=bool)
        expected.append(1000 * np.sqrt(np.square(forces - frame.forces)[kept].mean()))
    assert found.per_structure == pytest.approx(expected)


def test_a_structure_without_free_atoms_has_no_error(make_model, tiny_data):
    graph = next(iter(evaluation_loader(tiny_data.val, 4)))
    graph.fixed[graph.batch == 2] = True
    found = predict(make_model(), [graph], free_atoms_only=True).per_structure
    assert np.isnan(found).tolist() == [False, False, True, False]
