"""Which of two potentials answers for which composition, and that nothing else changes."""

import copy

import pytest
import torch
from models.test_mace_gaunt import ELEMENTS, crystal, graph, model, molecule
from torch_geometric.data import Batch

from equinet import zoo
from equinet.data import pairs_that_meet
from equinet.models import Fallback, MACEGaunt

HYDROGEN, CARBON, OXYGEN = ELEMENTS
PAIRS = [(HYDROGEN, CARBON), (HYDROGEN, OXYGEN)]  # carbon and oxygen never met


def apart() -> tuple[MACEGaunt, MACEGaunt]:
    """Two potentials that differ in weights, width and all that they add to the network."""
    other = model(channels=4, shift=0.3, scale=2.0, reference_energies=(1.0, 2.0, 3.0))
    for parameter in other.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model(), other


def of_elements(*elements: int, seed: int = 0):
    data = molecule(8, seed)
    cycle = torch.tensor(elements).repeat(8)[:8]
    return graph(data.pos, cycle)


FAMILIAR = {
    (HYDROGEN,): True,
    (CARBON,): True,
    (HYDROGEN, CARBON): True,
    (OXYGEN, HYDROGEN): True,
    (CARBON, OXYGEN): False,
    (HYDROGEN, CARBON, OXYGEN): False,
}


@pytest.mark.parametrize(("elements", "familiar"), FAMILIAR.items())
def test_a_structure_is_familiar_if_every_two_of_its_elements_met(elements, familiar):
    known, other = apart()
    found = Fallback.of(known, other, PAIRS)(of_elements(*elements))
    expected = (known if familiar else other)(of_elements(*elements))
    assert found.pop("familiar").tolist() == [familiar]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("training", [False, True])
def test_every_structure_of_a_batch_is_answered_as_if_alone(training):
    fallback = Fallback.of(*apart(), PAIRS).train(training)
    graphs = [of_elements(*elements, seed=seed) for seed, elements in enumerate(FAMILIAR)]
    together = fallback(Batch.from_data_list(graphs), stress=True)
    assert together["familiar"].tolist() == list(FAMILIAR.values())
    alone = [fallback(each, stress=True) for each in graphs]
    for name in ("energy", "forces", "stress"):
        expected = torch.cat([each[name] for each in alone])
        torch.testing.assert_close(together[name], expected, rtol=1e-10, atol=1e-10)
    if training:
        loss = together["energy"].sum() + together["forces"].square().sum()
        loss.backward()
        for name, parameter in fallback.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.abs().sum() > 0), name


def test_the_stress_in_a_mixed_batch_is_that_of_the_potential_that_answers():
    members, cell = apart(), 4.0 * torch.eye(3, dtype=torch.float64)
    fallback, graphs = Fallback.of(*members, PAIRS), []
    for elements in ((HYDROGEN, CARBON), (CARBON, OXYGEN)):
        data = of_elements(*elements)
        graphs.append(graph(data.pos[:4], data.atomic_numbers[:4], cell))
    found = fallback(Batch.from_data_list(graphs), stress=True)["stress"]
    by_known, by_other = (
        torch.cat([member(each, stress=True)["stress"] for each in graphs]) for member in members
    )
    assert (by_known - by_other).abs().amax((1, 2)).min() > 1e-3
    torch.testing.assert_close(found, torch.stack([by_known[0], by_other[1]]))


@pytest.mark.parametrize("elements", [(HYDROGEN, CARBON), (CARBON, OXYGEN)])
def test_forces_are_the_slope_of_the_energy(elements):
    fallback, data = Fallback.of(*apart(), PAIRS), of_elements(*elements)
    direction, step = torch.randn_like(data.pos), 1e-5

    def energy(amount: float) -> torch.Tensor:
        moved = graph(data.pos + amount * direction, data.atomic_numbers)
        return fallback(moved, forces=False)["energy"]

    slope = (energy(step) - energy(-step)) / (2 * step)
    expected = -(fallback(data)["forces"] * direction).sum()
    assert slope.item() == pytest.approx(expected.item(), rel=1e-6)


def test_results_turn_with_the_structure():
    fallback, data = Fallback.of(*apart(), PAIRS), of_elements(CARBON, OXYGEN)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    before, after = fallback(data), fallback(graph(data.pos @ turn.T, data.atomic_numbers))
    torch.testing.assert_close(after["energy"], before["energy"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(after["forces"], before["forces"] @ turn.T, rtol=1e-9, atol=1e-9)


def test_no_atom_is_answered():
    fallback = Fallback.of(*apart(), PAIRS)
    empty = graph(torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.long))
    empty.batch = torch.zeros(0, dtype=torch.long)
    found = fallback(empty)
    assert found["energy"].tolist() == [0.0]
    assert found["forces"].shape == (0, 3)
    assert found["familiar"].tolist() == [True]


@pytest.mark.parametrize("elements", [(HYDROGEN, CARBON), (CARBON, OXYGEN)])
def test_atomic_energies_sum_to_the_energy_above_the_references(elements):
    known, other = apart()
    data = of_elements(*elements)
    fallback = Fallback.of(known, other, PAIRS)
    species = fallback.species(data.atomic_numbers)
    vectors = data.pos[data.edge_index[0]] - data.pos[data.edge_index[1]]
    atomic = fallback.atomic_energies(species, vectors, data.edge_index)
    answering = known if FAMILIAR[elements] else other
    reference = answering.reference_energies(species, torch.zeros_like(species), 1)
    torch.testing.assert_close(atomic.sum() + reference[0], fallback(data)["energy"][0])


def test_what_is_evaluated_is_what_is_asked_for(monkeypatch):
    fallback = Fallback.of(*apart(), PAIRS)
    asked = []
    for number, member in enumerate(fallback.members):
        evaluate = member.evaluate
        monkeypatch.setattr(
            member,
            "evaluate",
            lambda *a, number=number, evaluate=evaluate, **k: (
                asked.append(number) or evaluate(*a, **k)
            ),
        )
    fallback(of_elements(HYDROGEN))
    fallback(of_elements(CARBON, OXYGEN))
    fallback(Batch.from_data_list([of_elements(HYDROGEN), of_elements(CARBON, OXYGEN)]))
    assert asked == [0, 1, 0, 1]


def test_it_is_saved_and_loaded_whole(tmp_path):
    fallback, data = Fallback.of(*apart(), PAIRS), crystal()
    zoo.save(fallback, tmp_path / "model", {"data": "none"})
    loaded, found = zoo.load(tmp_path / "model"), fallback(data, stress=True)
    assert torch.equal(loaded.met, fallback.met)
    for name, value in loaded(data, stress=True).items():
        assert torch.equal(value, found[name]), name
    copied = copy.deepcopy(fallback)(data, stress=True)
    assert torch.equal(copied["energy"], found["energy"])


def test_making_one_leaves_models_and_random_numbers_alone():
    known, other = apart()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fallback = Fallback.of(known, other, PAIRS)
    assert torch.equal(torch.rand(3), expected)
    fallback.members[0].embedding.data.zero_()
    assert known.embedding.abs().sum() > 0


@pytest.mark.parametrize(
    ("count", "pairs", "sentence"),
    [
        (1, PAIRS, "members must be 2, found 1"),
        (3, PAIRS, "members must be 2, found 3"),
        (2, [(1, 79)], r"pairs must be of two of the elements \[1, 6, 8\], found \[1, 79\]"),
        (2, [(1,)], r"found \[1\]"),
    ],
)
def test_what_does_not_fit_is_named(count, pairs, sentence):
    described = {"class": "MACEGaunt", "arguments": model().arguments}
    with pytest.raises(ValueError, match=sentence):
        Fallback(members=[described] * count, pairs=pairs)


def test_pairs_are_those_of_some_frame(frames_of_water_and_methane):
    assert pairs_that_meet(frames_of_water_and_methane) == [(1, 6), (1, 8)]
    assert pairs_that_meet([]) == []


@pytest.fixture
def frames_of_water_and_methane():
    ase_build = pytest.importorskip("ase.build")
    from equinet.data import frame_from_atoms

    return [frame_from_atoms(ase_build.molecule(name)) for name in ("H2O", "CH4", "H2")]
