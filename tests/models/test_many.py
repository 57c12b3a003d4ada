"""Many structures at once: the calculator's results, whatever else is in the batch."""

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, graphene, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from models.test_potential import Pull

from equinet.data import frame_from_atoms
from equinet.errors import DataError
from equinet.integrations.ase import EquinetCalculator
from equinet.models import Committee, Fallback, MACEGaunt, many

ELEMENTS = (1, 6, 8)


def model(**options):
    torch.manual_seed(3)
    return MACEGaunt(
        **{
            "elements": ELEMENTS,
            "cutoff": 3.5,
            "reference_energies": (-13.6, -1030.0, -2040.0),
            "average_neighbors": 10.0,
            "channels": 4,
            "lmax_filter": 2,
            "lmax_hidden": 1,
            "correlation": 2,
            "radial_hidden": (8,),
            **options,
        }
    ).double()


def structures():
    """Molecules, a lone atom, crystals and a sheet, some with tags and labels."""
    tagged = molecule("CH4")
    tagged.set_tags([1, 0, 0, 2, 0])
    labeled = molecule("H2O")
    labeled.calc = SinglePointCalculator(labeled, energy=-3.0, forces=np.ones((3, 3)))
    found = [
        *(tagged, labeled, ase.Atoms("O"), bulk("C", cubic=True), graphene(vacuum=5.0)),
        *(molecule("CH3CH2OH"), bulk("C") * (2, 1, 1)),
    ]
    for seed, atoms in enumerate(found):
        atoms.rattle(0.05, seed=seed)
    return found


def one_by_one(potential, given):
    expected = []
    for atoms in given:
        calculator = EquinetCalculator(potential)
        wanted = [*calculator.implemented_properties[:3]]
        calculator.calculate(atoms, wanted)
        spreads = ("energy_spread", "forces_spread", "familiar")
        more = {name: getattr(calculator, name) for name in spreads}
        known = {name: value for name, value in more.items() if value is not None}
        expected.append({**calculator.results, **known})
    return expected


def same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert set(ours) == set(theirs)
        for name, value in theirs.items():
            assert np.shape(ours[name]) == np.shape(value)
            assert type(ours[name]) is type(value)
            np.testing.assert_allclose(ours[name], value, rtol=1e-9, atol=1e-9)


@pytest.fixture(params=[1, 40, 10**6])
def _bound(request, monkeypatch):
    monkeypatch.setattr(many, "edges_at_once", lambda _: request.param)


@pytest.mark.usefixtures("_bound")
def test_results_are_those_of_the_calculator_in_any_order():
    given, potential = structures(), model()
    expected = one_by_one(potential, given)
    assert [("stress" in results) for results in expected].count(True) == 2
    same(potential.evaluate_many(given), expected)
    order = np.random.default_rng(0).permutation(len(given))
    shuffled = potential.evaluate_many(given[index] for index in order)
    same(shuffled, [expected[index] for index in order])
    frames = [frame_from_atoms(atoms) for atoms in given]
    same(potential.evaluate_many(frames), expected)


@pytest.mark.usefixtures("_bound")
def test_potentials_made_of_others_add_what_they_know():
    given = structures()
    members = [model(channels=channels) for channels in (2, 4)]
    committee = Committee.of(members).double()
    same(committee.evaluate_many(given), one_by_one(committee, given))
    fallback = Fallback.of(model(), model(channels=2), [[1, 1], [1, 6]]).double()
    found = fallback.evaluate_many(given)
    same(found, one_by_one(fallback, given))
    assert {results["familiar"] for results in found} == {True, False}


def test_direct_forces_come_without_a_stress():
    (found,) = Pull(scale=2.0).evaluate_many([bulk("H", "sc", a=4.0)])
    assert set(found) == {"energy", "free_energy", "forces"}


def test_nothing_in_the_model_is_changed_but_its_mode():
    potential = model().train()
    fixed = next(potential.parameters()).requires_grad_(requires_grad=False)
    potential.evaluate_many([molecule("H2O")])
    learned = [parameter.requires_grad for parameter in potential.parameters()]
    assert learned.count(False) == 1
    assert not fixed.requires_grad
    assert not potential.training
    assert all(parameter.grad is None for parameter in potential.parameters())


def test_weights_are_learnable_again_after_a_refusal():
    potential = model()
    close = ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.0001]])
    with pytest.raises(DataError, match="structure 1: atoms 0 and 1 are at the same place"):
        potential.evaluate_many([molecule("H2O"), close])
    assert all(parameter.requires_grad for parameter in potential.parameters())


@pytest.mark.parametrize("copies", [1, 60])
def test_results_that_are_not_finite_are_refused(copies):
    potential = model()
    with torch.no_grad():
        potential.readouts[0].weight.fill_(float("nan"))
    with pytest.raises(DataError, match="structure 0: the model's energy is not finite"):
        potential.evaluate_many([molecule("H2O")] * copies)


def test_unknown_elements_are_refused_before_anything_is_evaluated(monkeypatch):
    potential = model()
    monkeypatch.setattr(potential, "forward", lambda *_, **__: pytest.fail("evaluated"))
    given = [*structures(), ase.Atoms("HNFe", np.eye(3))]
    with pytest.raises(DataError) as error:
        potential.evaluate_many(given)
    assert str(error.value) == (
        "structure 7 holds N, Fe, which the model was not trained for (H, C, O); leave it out, or "
        "evaluate a model that knows it"
    )


def test_one_structure_that_is_no_list_is_refused():
    with pytest.raises(DataError, match="structures must be a list, found one Atoms; put it"):
        model().evaluate_many(molecule("H2O"))


def test_no_structures_have_no_results():
    assert model().evaluate_many([]) == []
