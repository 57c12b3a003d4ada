"""The loss and its residuals against numbers worked out by hand."""

from types import SimpleNamespace

import pytest
import torch

from equinet.training import LossWeights, residuals


def _example():
    graph = SimpleNamespace(
        energy=torch.tensor([-17660.0, -100.0], dtype=torch.float64),
        forces=torch.zeros(3, 3, dtype=torch.float64),
        batch=torch.tensor([0, 0, 1]),
        atomic_numbers=torch.tensor([1, 1, 8]),
        fixed=torch.tensor([False, True, False]),
    )
    predicted = {
        "energy": torch.tensor([-17660.0 + 0.2, -99.0], dtype=torch.float64),
        "forces": torch.tensor([[0.3, 0.0, 0.0], [9.0, 9.0, 9.0], [0.0, -0.4, 0.0]]),
    }
    return predicted, graph


def test_loss_by_hand():
    predicted, graph = _example()
    errors = residuals(predicted, graph, free_atoms_only=True)
    assert errors.forces.shape == (2, 3)
    loss = LossWeights(energy=2.0, forces=10.0).loss(errors)
    expected = 2.0 * (0.2**2 / 2 + 1.0**2 / 1) / 2 + 10.0 * (0.3**2 + 0.4**2) / 6
    assert float(loss) == pytest.approx(expected, rel=1e-7)


def test_fixed_atoms_count_unless_left_out():
    predicted, graph = _example()
    assert residuals(predicted, graph).forces.shape == (3, 3)
    del graph.fixed
    assert residuals(predicted, graph, free_atoms_only=True).forces.shape == (3, 3)


def test_energy_is_subtracted_before_any_cast():
    predicted, graph = _example()
    predicted["energy"] = graph.energy + 1e-4
    assert torch.allclose(residuals(predicted, graph).energy, torch.tensor(1e-4).double())


def test_stress_enters_where_predicted():
    predicted, graph = _example()
    graph.stress = torch.zeros(2, 3, 3, dtype=torch.float64)
    predicted["stress"] = torch.full((2, 3, 3), 0.5)
    errors = residuals(predicted, graph)
    with_stress = LossWeights(energy=0.0, forces=0.0, stress=4.0).loss(errors)
    assert float(with_stress) == pytest.approx(4.0 * 0.25)


def test_a_single_graph_without_batch_vector():
    predicted, graph = _example()
    graph.batch = None
    graph.energy, predicted["energy"] = graph.energy[:1], predicted["energy"][:1]
    assert residuals(predicted, graph).atoms.tolist() == [3.0]


def test_no_atoms_at_all_is_no_division_by_zero():
    predicted, graph = _example()
    graph.fixed = torch.ones(3, dtype=torch.bool)
    loss = LossWeights(energy=0.0).loss(residuals(predicted, graph, free_atoms_only=True))
    assert float(loss) == 0.0


@pytest.mark.parametrize("weights", [(-1.0, 1.0, 0.0), (1.0, float("nan"), 0.0), (0.0, 0.0, 0.0)])
def test_weights_that_would_train_nonsense_are_refused(weights):
    with pytest.raises(ValueError, match="_weight"):
        LossWeights(*weights)


def test_absolute_loss_by_hand():
    predicted, graph = _example()
    errors = residuals(predicted, graph, free_atoms_only=True)
    loss = LossWeights(energy=2.0, forces=10.0, kind="absolute").loss(errors)
    expected = 2.0 * (0.2 + 1.0) / 2 + 10.0 * (0.3 + 0.4) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-7)


def test_absolute_loss_has_a_gradient_where_forces_agree():
    predicted, graph = _example()
    predicted["forces"] = torch.zeros(3, 3, requires_grad=True)
    LossWeights(kind="absolute").loss(residuals(predicted, graph)).backward()
    assert torch.equal(predicted["forces"].grad, torch.zeros(3, 3))


def test_hubers_loss_by_hand():
    predicted, graph = _example()
    errors = residuals(predicted, graph, free_atoms_only=True)
    loss = LossWeights(energy=2.0, forces=10.0, kind="huber", delta=0.35).loss(errors)
    # Of the energies 0.2 / √2 and 1, of the forces 0.3 and 0.4, the second ones are beyond it.
    linear = (2 * 1.0 - 0.35) * 0.35, (2 * 0.4 - 0.35) * 0.35
    expected = 2.0 * (0.2**2 / 2 + linear[0]) / 2 + 10.0 * (0.3**2 + linear[1]) / 6
    assert float(loss) == pytest.approx(expected, rel=1e-7)


def test_hubers_loss_is_squared_with_slopes_of_no_more_than_at_delta():
    lengths = torch.linspace(0, 3, 31, dtype=torch.float64)
    for length in lengths:
        graph = _example()[1]
        forces = torch.zeros(3, 3, dtype=torch.float64)
        forces[0, 1] = length
        forces.requires_grad_()
        predicted = {"energy": graph.energy, "forces": forces}
        errors = residuals(predicted, graph)
        LossWeights(energy=0, forces=9.0, kind="huber", delta=0.5).loss(errors).backward()
        assert float(forces.grad[0, 1]) == pytest.approx(2 * min(float(length), 0.5))


@pytest.mark.parametrize("delta", [0.0, -1.0, float("inf"), float("nan")])
def test_hubers_delta_is_checked(delta):
    with pytest.raises(ValueError, match="huber_delta must be finite and positive"):
        LossWeights(kind="huber", delta=delta)


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match="loss must be one of squared, absolute, huber, found"):
        LossWeights(kind="cubed")
