"""Structures of other elements: what changes, and what must not."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from equinet.data import AtomicDataset, Frame, to_graph
from equinet.errors import ConfigError
from equinet.models import MACEGaunt
from equinet.training import S2EFTask, transmute

ELEMENTS = (1, 6, 8, 13, 29, 46, 78)
SURFACE, ADSORBATE = (13, 29, 46, 78), (1, 6, 8)
STRUCTURES = 20


def slab(seed: int) -> Frame:
    """Two metals and an adsorbate."""
    rng = np.random.default_rng(seed)
    metals = rng.choice(SURFACE, 2, replace=False)
    numbers = np.array([*metals, *metals, 6, 8, 1], dtype=np.int64)
    return Frame(
        numbers=numbers,
        positions=np.arange(7)[:, None] * [1.1, 0.3, 0.2] + rng.normal(size=(7, 3)) * 0.05,
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=bool),
        energy=float(rng.normal()),
        forces=rng.normal(size=(7, 3)),
        fixed=np.array([True, True] + [False] * 5),
        source=f"slab {seed}",
    )


@pytest.fixture
def potential():
    torch.manual_seed(0)
    return MACEGaunt(
        elements=ELEMENTS,
        cutoff=3.0,
        reference_energies=[-float(z) for z in ELEMENTS],
        average_neighbors=2.0,
        shift=0.25,
        channels=4,
        lmax_filter=1,
        lmax_hidden=1,
    )


@pytest.fixture
def graphs():
    return Batch.from_data_list([to_graph(slab(seed), 3.0) for seed in range(STRUCTURES)])


def every(chosen: bool) -> torch.Tensor:
    return torch.full((STRUCTURES,), chosen)


def test_what_changes_is_at_rest_and_all_else_stays(potential, graphs):
    surfaces, adsorbates = torch.arange(STRUCTURES) % 2 == 0, torch.arange(STRUCTURES) % 3 == 0
    before = graphs.clone()
    result = transmute(graphs, surfaces, adsorbates, potential)
    for index in range(STRUCTURES):
        old, new = before.get_example(index), result.get_example(index)
        of_surface = torch.isin(old.atomic_numbers, torch.tensor(SURFACE))
        expected = torch.where(of_surface, surfaces[index], adsorbates[index])
        assert torch.equal(old.atomic_numbers != new.atomic_numbers, expected)
        assert torch.equal(new.forces, old.forces * ~expected[:, None])
        assert torch.equal(torch.isin(new.atomic_numbers, torch.tensor(SURFACE)), of_surface)
        pairs = set(zip(old.atomic_numbers.tolist(), new.atomic_numbers.tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        above_before, above = (
            each.energy + each.atomic_numbers.sum() for each in (old, new)
        )  # references are minus the atomic numbers
        expected = potential.shift * len(old.pos) if surfaces[index] else above_before
        assert above.item() == pytest.approx(float(expected), abs=1e-9)
    for name in ("atomic_numbers", "forces", "energy", "pos"):
        assert torch.equal(graphs[name], before[name]), f"{name} of the batch itself"


def test_the_label_of_another_adsorbate_moves_by_its_reference_energies(potential):
    methyl = slab(0)
    methyl = replace(methyl, numbers=np.array([29, 29, 78, 6, 1, 1, 1]), energy=5.0)
    graphs = Batch.from_data_list([to_graph(methyl, 3.0)] * STRUCTURES)
    result = transmute(graphs, every(False), every(True), potential)
    labels = {}
    for each, energy in zip(result.to_data_list(), result.energy.tolist(), strict=True):
        labels.setdefault(tuple(each.atomic_numbers[3:].tolist()), set()).add(energy)
    # References are minus the atomic numbers, which sum to 9 in CH3, 26 in OC3 and 25 in HO3.
    assert labels == {(8, 6, 6, 6): {5.0 - 26 + 9}, (1, 8, 8, 8): {5.0 - 25 + 9}}


@pytest.mark.parametrize("adsorbates", [False, True])
def test_the_energy_of_a_strange_surface_is_what_a_silent_network_gives(
    potential, graphs, adsorbates
):
    changed = transmute(graphs, every(True), every(adsorbates), potential)
    with torch.no_grad():
        for readout in potential.readouts:
            for parameter in readout.parameters():
                parameter.zero_()
    silent = potential.eval()(changed)
    torch.testing.assert_close(changed.energy, silent["energy"], rtol=0, atol=1e-6)


def test_all_elements_are_drawn_and_a_seed_repeats_them(potential, graphs):
    draws = [
        transmute(
            graphs,
            every(True),
            every(True),
            potential,
            generator=torch.Generator().manual_seed(seed),
        ).atomic_numbers
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    for kinds in (SURFACE, ADSORBATE):
        of_first = graphs.atomic_numbers == kinds[0]
        drawn = set(draws[0][of_first].tolist()) | set(draws[2][of_first].tolist())
        assert drawn == set(kinds[1:])


def test_metals_alone_can_change(graphs):
    metals = MACEGaunt(
        elements=SURFACE, cutoff=3.0, reference_energies=[0.0] * 4, average_neighbors=2.0
    )
    bare = graphs.clone()
    bare.atomic_numbers[torch.isin(graphs.atomic_numbers, torch.tensor(ADSORBATE))] = 13
    result = transmute(bare, every(True), every(True), metals)
    assert bool((result.atomic_numbers != bare.atomic_numbers).all())


def test_one_element_alone_stays_with_its_forces(potential, graphs):
    alone = MACEGaunt(
        elements=[1, 6, 8, 13], cutoff=3.0, reference_energies=[-1.0] * 4, average_neighbors=2.0
    )
    aluminum = graphs.clone()
    aluminum.atomic_numbers[torch.isin(graphs.atomic_numbers, torch.tensor(SURFACE))] = 13
    result = transmute(aluminum, every(True), every(False), alone)
    assert torch.equal(result.atomic_numbers, aluminum.atomic_numbers)
    assert torch.equal(result.forces, aluminum.forces)
    assert torch.equal(result.energy, aluminum.energy)


def make_task(potential, **options):
    return S2EFTask(model=potential, optimizer=partial(torch.optim.SGD, lr=0.1), **options)


def test_a_step_trains_on_the_shares_that_are_asked_for(potential, graphs, monkeypatch):
    # The first atom of a structure is of its surface, the last one of its adsorbate.
    ends = torch.stack([graphs.ptr[:-1], graphs.ptr[1:] - 1])
    for shares, fewest, most in (
        ((0.0, 0.0), (0, 0), (0, 0)),
        ((1.0, 0.0), (STRUCTURES, 0), (STRUCTURES, 0)),
        ((0.5, 1.0), (3, STRUCTURES), (17, STRUCTURES)),
    ):
        task = make_task(potential, transmuted_surfaces=shares[0], transmuted_adsorbates=shares[1])
        monkeypatch.setattr(task, "log", lambda *_, **__: None)
        monkeypatch.setattr(task, "log_dict", lambda *_, **__: None)
        monkeypatch.setattr(task, "_trainer", type("T", (), {"optimizers": [_Optimizer]})())
        seen = []
        evaluate = task.forward

        def spy(graph, network=None, seen=seen, evaluate=evaluate):
            seen.append(graph.atomic_numbers != graphs.atomic_numbers)
            return evaluate(graph, network)

        monkeypatch.setattr(task, "forward", spy)
        torch.manual_seed(3)
        assert bool(task.training_step(graphs, 0).isfinite())
        found = seen[0][ends].sum(1).tolist()
        assert all(a <= b <= c for a, b, c in zip(fewest, found, most, strict=True)), found


def test_a_committee_is_given_the_labels_that_its_members_would_be(potential, graphs, monkeypatch):
    labels = []
    for members in (1, 2):
        task = make_task(potential, transmuted_surfaces=1, transmuted_adsorbates=1, members=members)
        monkeypatch.setattr(task, "log", lambda *_, **__: None)
        monkeypatch.setattr(task, "log_dict", lambda *_, **__: None)
        monkeypatch.setattr(task, "_trainer", type("T", (), {"optimizers": [_Optimizer]})())
        task.networks[0].register_forward_pre_hook(
            lambda _, given: labels.append(given[0].energy.clone())
        )
        torch.manual_seed(3)
        task.training_step(graphs.clone(), 0)
    assert torch.equal(*labels)


class _Optimizer:
    param_groups = ({"lr": 0.1},)


@pytest.mark.parametrize("kind", ["surfaces", "adsorbates"])
def test_what_cannot_be_transmuted_is_refused(potential, kind):
    with pytest.raises(ValueError, match=rf"transmuted_{kind} must be between 0 and 1, found 1\.5"):
        make_task(potential, **{f"transmuted_{kind}": 1.5})
    data = AtomicDataset([slab(0), slab(1)], 3.0)
    make_task(potential, **{f"transmuted_{kind}": 0.5}).check_data(data, data)
    elements = [1, 46, 78] if kind == "adsorbates" else [1, 8, 78]
    few = MACEGaunt(
        elements=elements, cutoff=3.0, reference_energies=[0.0] * 3, average_neighbors=2.0
    )
    where = "among" if kind == "adsorbates" else "beside"
    with pytest.raises(
        ConfigError, match=rf"fewer than two elements {where} .* set task\.transmuted_{kind}=0"
    ):
        make_task(few, **{f"transmuted_{kind}": 0.5}).check_data(data, data)
