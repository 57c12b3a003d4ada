"""Means and spreads of potentials, and which of them go together."""

import copy
import json
import math

import pytest
import torch
from models.test_mace_gaunt import CUTOFF, ELEMENTS, crystal, graph, model, molecule

from equinet import zoo
from equinet.errors import DataError
from equinet.models import Committee, EquiformerV2, PonitaPotential, Potential, all_models
from equinet.models.members import can_be_member


def members(count: int = 3) -> list:
    """Potentials that differ in weights, width and everything that they add to the network."""
    models = [model(channels=4 + i, shift=-0.1 * i, scale=1.0 + i) for i in range(count)]
    for i, each in enumerate(models):
        for parameter in each.parameters():
            parameter.data += 0.1 * (i + 1) * torch.randn_like(parameter)
    return models


def test_results_are_means_and_standard_deviations_of_the_members():
    models, data = members(), crystal()
    found = Committee.of(models)(data, stress=True)
    apart = [each(data, stress=True) for each in models]
    for name in ("energy", "forces", "stress"):
        mean = sum(each[name] for each in apart) / 3
        torch.testing.assert_close(found[name], mean, rtol=1e-12, atol=1e-12)
    variance = sum((each["energy"] - found["energy"]) ** 2 for each in apart) / 2
    torch.testing.assert_close(found["energy_spread"], variance.sqrt())
    variance = sum((each["forces"] - found["forces"]).square().sum(-1) for each in apart) / 2
    torch.testing.assert_close(found["forces_spread"], variance.sqrt())
    assert set(found) == {"energy", "forces", "stress", "energy_spread", "forces_spread"}
    assert set(Committee.of(models)(data, forces=False)) == {"energy", "energy_spread"}


def test_equal_members_are_the_model_itself_without_spread():
    one, data = model(), molecule()
    found, expected = Committee.of([one, one])(data), one(data)
    torch.testing.assert_close(found["energy"], expected["energy"])
    torch.testing.assert_close(found["forces"], expected["forces"])
    assert found["energy_spread"].abs().max() == 0
    assert found["forces_spread"].abs().max() == 0


def test_energies_and_spreads_are_invariant_and_forces_turn():
    committee, data = Committee.of(members()), molecule()
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    turned = graph(data.pos @ turn.T, data.atomic_numbers)
    before, after = committee(data), committee(turned)
    for name in ("energy", "energy_spread", "forces_spread"):
        torch.testing.assert_close(after[name], before[name], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(after["forces"], before["forces"] @ turn.T, rtol=1e-9, atol=1e-9)


def test_forces_are_the_slope_of_the_mean_energy():
    committee, data = Committee.of(members()), molecule()
    direction = torch.randn_like(data.pos)
    step = 1e-5

    def energy(amount: float) -> torch.Tensor:
        moved = graph(data.pos + amount * direction, data.atomic_numbers)
        return committee(moved, forces=False)["energy"]

    slope = (energy(step) - energy(-step)) / (2 * step)
    expected = -(committee(data)["forces"] * direction).sum()
    assert slope.item() == pytest.approx(expected.item(), rel=1e-6)


def test_atomic_energies_sum_to_the_energy_above_the_references():
    committee, data = Committee.of(members()), molecule()
    species = committee.species(data.atomic_numbers)
    vectors = data.pos[data.edge_index[0]] - data.pos[data.edge_index[1]]
    atomic = committee.atomic_energies(species, vectors, data.edge_index)
    reference = committee.reference_energies(species, torch.zeros_like(species), 1)
    torch.testing.assert_close(atomic.sum() + reference[0], committee(data)["energy"][0])


def test_members_are_copies():
    models, data = members(), molecule()
    state = torch.get_rng_state()
    committee = Committee.of(models)
    assert torch.equal(torch.get_rng_state(), state)
    before = committee(data)["energy"]
    for parameter in models[0].parameters():
        parameter.data.zero_()
    assert committee(data)["energy"] == before


@pytest.mark.parametrize("make", [lambda: model().float(), lambda: on_grid("icosahedron12")])
def test_tables_keep_the_precision_of_the_members(make):
    models, data = [make(), make()], molecule()
    for parameter in models[1].parameters():
        parameter.data *= 1.1
    mean = sum(copy.deepcopy(each).double()(data)["forces"] for each in models) / 2
    found = Committee.of(models).double()(data)["forces"]
    torch.testing.assert_close(found, mean, rtol=1e-12, atol=1e-13)


def test_gradients_stay_finite_where_members_agree():
    committee = Committee.of([model(), model()]).train()
    found = committee(molecule())
    (found["forces"].square().sum() + found["forces_spread"].sum()).backward()
    assert all(p.grad.isfinite().all() for p in committee.parameters() if p.grad is not None)


def test_a_saved_committee_is_the_same(tmp_path):
    committee, data = Committee.of(members()), molecule()
    zoo.save(committee, tmp_path, {})
    expected, found = committee(data), zoo.load(tmp_path)(data)
    for name in expected:
        assert torch.equal(found[name], expected[name])


@pytest.mark.parametrize("key", ["class", "arguments"])
def test_broken_cards_are_refused(key, tmp_path):
    zoo.save(Committee.of(members()), tmp_path, {})
    card = json.loads((tmp_path / "card.json").read_text())
    del card["arguments"]["members"][1][key]
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match="members must have a class and arguments"):
        zoo.load(tmp_path)


def test_every_potential_may_be_a_member():
    potentials = {name for name, each in all_models().items() if issubclass(each, Potential)}
    members = {name for name, each in all_models().items() if can_be_member(each)}
    assert members == potentials - {"Committee", "Fallback"}


def direct() -> EquiformerV2:
    return (
        EquiformerV2(
            elements=ELEMENTS,
            cutoff=CUTOFF,
            reference_energies=(0.0, 0.0, 0.0),
            average_neighbors=6.0,
            channels=8,
            blocks=1,
        )
        .double()
        .eval()
    )


def test_direct_forces_have_means_too():
    models = [direct(), direct()]
    committee, data = Committee.of(models), molecule()
    assert not committee.conservative
    mean = sum(each(data)["forces"] for each in models) / 2
    torch.testing.assert_close(committee(data)["forces"], mean)
    with pytest.raises(ValueError, match="no stress"):
        committee(data, stress=True)


def on_grid(grid: str) -> PonitaPotential:
    return PonitaPotential(
        elements=ELEMENTS,
        cutoff=CUTOFF,
        reference_energies=(0.0, 0.0, 0.0),
        average_neighbors=6.0,
        grid=grid,
        channels=4,
        layers=1,
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: [model()], "at least 2 members, found 1"),
        (
            lambda: [model(), model(elements=(1, 6, 7))],
            r"same elements in the same order: number 2 knows \[1, 6, 7\], the first \[1, 6, 8\]",
        ),
        (lambda: [model(), model().float()], r"one dtype: number 2 is torch\.float32"),
        (lambda: [model(), model(), model(cutoff=4.0)], r"share their graphs: number 3"),
        (lambda: [on_grid("icosahedron12"), on_grid("octahedron6")], "same symmetry: number 2"),
        (lambda: [model(), Committee.of([model(), model()])], "number 2 is a Committee"),
        (lambda: [model(), direct()], "gradients, or none: number 2"),
    ],
)
def test_members_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        Committee.of(make())


def test_symmetry_is_that_of_the_members():
    assert Committee.of([model(), model()]).symmetry is None
    assert Committee.of([on_grid("icosahedron12")] * 2).symmetry.shape[-2:] == (3, 3)


def test_training_goes_through_the_mean():
    committee, data = Committee.of(members()).train(), molecule()
    committee(data)["forces"].square().sum().backward()
    norms = [p.grad.norm().item() for p in committee.members[1].parameters() if p.grad is not None]
    assert norms
    assert all(math.isfinite(norm) for norm in norms)
