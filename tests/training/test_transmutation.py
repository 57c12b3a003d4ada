"""Structures of other elements: what changes, and what must not."""

from functools import partial

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from equinet.data import AtomicDataset, Frame, to_graph
from equinet.errors import ConfigError
from equinet.models import MACEGaunt
from equinet.training import S2EFTask, transmutable, transmute

ELEMENTS = (1, 6, 8, 13, 29, 46, 78)
METALS = (13, 29, 46, 78)


def slab(seed: int) -> Frame:
    """Two metals, an oxygen atom of the slab, and an adsorbate."""
    rng = np.random.default_rng(seed)
    metals = rng.choice(METALS, 2, replace=False)
    numbers = np.array([*metals, *metals, 8, 6, 8, 1], dtype=np.int64)
    return Frame(
        numbers=numbers,
        positions=np.arange(8)[:, None] * [1.1, 0.3, 0.2] + rng.normal(size=(8, 3)) * 0.05,
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=bool),
        energy=float(rng.normal()),
        forces=rng.normal(size=(8, 3)),
        fixed=np.array([True, True] + [False] * 6),
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
    return Batch.from_data_list([to_graph(slab(seed), 3.0) for seed in range(20)])


def test_chosen_structures_change_elements_one_to_one_and_nothing_stays(potential, graphs):
    chosen = torch.arange(20) % 3 != 0
    before = graphs.clone()
    changed = transmute(graphs, chosen, potential)
    for index in range(20):
        old, new = before.get_example(index), changed.get_example(index)
        if not chosen[index]:
            for name in ("atomic_numbers", "forces", "energy"):
                assert torch.equal(old[name], new[name]), name
            continue
        metals = torch.isin(old.atomic_numbers, torch.tensor(METALS))
        pairs = set(zip(old.atomic_numbers.tolist(), new.atomic_numbers.tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        assert bool((old.atomic_numbers != new.atomic_numbers).eq(metals).all())
        assert set(new.atomic_numbers[metals].tolist()) <= set(METALS)
        assert bool((new.forces == 0).all())
    for name in ("atomic_numbers", "forces", "energy", "pos"):
        assert torch.equal(graphs[name], before[name]), f"{name} of the batch itself"


def test_the_energy_at_rest_is_what_a_silent_network_gives(potential, graphs):
    changed = transmute(graphs, torch.ones(20, dtype=torch.bool), potential)
    with torch.no_grad():
        for readout in potential.readouts:
            for parameter in readout.parameters():
                parameter.zero_()
    silent = potential.eval()(changed)
    torch.testing.assert_close(changed.energy, silent["energy"], rtol=0, atol=1e-6)


def test_all_elements_are_drawn_and_a_seed_repeats_them(potential, graphs):
    every = torch.ones(20, dtype=torch.bool)
    draws = [
        transmute(
            graphs, every, potential, generator=torch.Generator().manual_seed(seed)
        ).atomic_numbers
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    aluminum = graphs.atomic_numbers == 13
    assert set(draws[0][aluminum].tolist()) | set(draws[2][aluminum].tolist()) == {29, 46, 78}
    assert transmutable(potential) == METALS


def make_task(potential, **options):
    return S2EFTask(model=potential, optimizer=partial(torch.optim.SGD, lr=0.1), **options)


def test_a_step_trains_on_the_share_that_is_asked_for(potential, graphs, monkeypatch):
    seen = []
    for share in (0.0, 0.5, 1.0):
        task = make_task(potential, transmuted=share)
        monkeypatch.setattr(task, "log", lambda *_, **__: None)
        monkeypatch.setattr(task, "log_dict", lambda *_, **__: None)
        monkeypatch.setattr(task, "_trainer", type("T", (), {"optimizers": [_Optimizer]})())
        counted = []
        evaluate = task.errors

        def spy(graph, counted=counted, evaluate=evaluate):
            changed = graph.atomic_numbers != graphs.atomic_numbers
            counted.append(torch.zeros(20).index_add(0, graph.batch, changed.float()) > 0)
            return evaluate(graph)

        monkeypatch.setattr(task, "errors", spy)
        torch.manual_seed(3)
        assert bool(task.training_step(graphs, 0).isfinite())
        seen.append(int(counted[0].sum()))
    assert seen[0] == 0
    assert 4 <= seen[1] <= 16
    assert seen[2] == 20


class _Optimizer:
    param_groups = ({"lr": 0.1},)


def test_what_cannot_be_transmuted_is_refused(potential):
    with pytest.raises(ValueError, match=r"transmuted must be between 0 and 1, found 1\.5"):
        make_task(potential, transmuted=1.5)
    frames = [slab(0), slab(1)]
    data = AtomicDataset(frames, 3.0)
    make_task(potential, transmuted=0.5).check_data(data, data)
    one_metal = MACEGaunt(
        elements=[1, 78], cutoff=3.0, reference_energies=[0, 0], average_neighbors=2.0
    )
    with pytest.raises(ConfigError, match="fewer than two elements"):
        make_task(one_metal, transmuted=0.5).check_data(data, data)
