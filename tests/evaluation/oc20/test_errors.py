"""OC20's errors, against a plain evaluation structure by structure."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from equinet.evaluation.oc20.errors import (
    RelaxationErrors,
    RelaxedEnergyErrors,
    S2EFErrors,
    mean_of_splits,
    minimum_image_distances,
)


def structure(random, atoms, *, fixed=None):
    held = random.random(atoms) < 0.4 if fixed is None else np.full(atoms, fixed)
    held[0] = False
    return Data(
        atomic_numbers=torch.full((atoms,), 29),
        pos=torch.tensor(random.normal(size=(atoms, 3))),
        energy=torch.tensor([random.normal()]),
        forces=torch.tensor(random.normal(size=(atoms, 3))),
        fixed=torch.tensor(held),
    )


def guesses(random, graphs, scale):
    energy = [float(g.energy) + scale * random.normal() * 0.02 for g in graphs]
    forces = [
        g.forces + scale * 0.01 * torch.tensor(random.normal(size=g.forces.shape)) for g in graphs
    ]
    return torch.tensor(energy, dtype=torch.float64), forces


def plain(graphs, energy, forces):
    """Structure by structure, in NumPy."""
    rows = []
    for graph, guess, guessed in zip(graphs, energy.tolist(), forces, strict=True):
        free = ~graph.fixed.numpy()
        true, found = graph.forces.numpy()[free], guessed.numpy()[free]
        rows.append((abs(guess - float(graph.energy)), true, found))
    off = np.array([row[0] for row in rows])
    true = np.concatenate([row[1] for row in rows])
    found = np.concatenate([row[2] for row in rows])
    worst = np.array([np.abs(t - f).max() for _, t, f in rows])
    norms = np.linalg.norm(true, axis=1), np.linalg.norm(found, axis=1)
    return {
        "energy_mae": 1000 * off.mean(),
        "forces_mae": 1000 * np.abs(true - found).mean(),
        "forces_cosine": ((true * found).sum(axis=1) / norms[0] / norms[1]).mean(),
        "forces_magnitude_error": 1000 * np.abs(norms[0] - norms[1]).mean(),
        "efwt": 100 * ((off < 0.02) & (worst < 0.03)).mean(),
        "ewt": 100 * (off < 0.02).mean(),
    }


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 3.0), cut=st.integers(1, 11))
def test_errors_are_those_of_all_structures_however_they_are_batched(seed, scale, cut):
    random = np.random.default_rng(seed)
    graphs = [structure(random, int(random.integers(1, 6))) for _ in range(12)]
    energy, forces = guesses(random, graphs, scale)
    errors = S2EFErrors()
    for part in (slice(0, cut), slice(cut, 12)):
        batch = Batch.from_data_list(graphs[part])
        errors.update({"energy": energy[part], "forces": torch.cat(forces[part])}, batch)
    found = {name: float(value) for name, value in errors.compute().items()}
    expected = plain(graphs, energy, forces)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


def two(energy_off, force_off):
    """A structure of a fixed and a free atom, off by so much; the fixed one is off by 9 eV/Å."""
    graph = Data(
        atomic_numbers=torch.tensor([29, 6]),
        pos=torch.zeros(2, 3),
        energy=torch.zeros(1, dtype=torch.float64),
        forces=torch.zeros(2, 3, dtype=torch.float64),
        fixed=torch.tensor([True, False]),
    )
    forces = torch.tensor([[9.0, 0, 0], [0, force_off, 0]], dtype=torch.float64)
    guess = {"energy": torch.tensor([energy_off], dtype=torch.float64), "forces": forces}
    return guess, Batch.from_data_list([graph])


@pytest.mark.parametrize(
    ("energy_off", "force_off", "efwt", "ewt"),
    [
        (0.0199, 0.0299, 100, 100),
        (-0.0199, -0.0299, 100, 100),
        (0.02, 0.0, 0, 0),
        (0.0, 0.03, 0, 100),
        (-0.02, 0.0, 0, 0),
        (0.0, -0.03, 0, 100),
        (0.0, float("nan"), 0, 100),
    ],
)
def test_thresholds_are_strict_and_fixed_atoms_do_not_count(energy_off, force_off, efwt, ewt):
    errors = S2EFErrors()
    errors.update(*two(energy_off, force_off))
    found = errors.compute()
    assert (float(found["efwt"]), float(found["ewt"])) == (efwt, ewt)
    assert float(found["forces_mae"]) == pytest.approx(1000 * abs(force_off) / 3, nan_ok=True)


def test_all_atoms_fixed_leaves_the_energy_to_decide():
    guess, batch = two(0.01, 1.0)
    batch.fixed[:] = True
    errors = S2EFErrors()
    errors.update(guess, batch)
    assert float(errors.compute()["efwt"]) == 100
    del batch.fixed
    errors = S2EFErrors()
    errors.update(guess, batch)
    assert float(errors.compute()["efwt"]) == 0


def test_distances_are_those_of_ase(random_rotation):
    from ase.geometry import find_mic

    random = np.random.default_rng(0)
    cell = np.array([[6.0, 0, 0], [1.5, 7.0, 0], [0, 0, 20.0]]) @ random_rotation.numpy()
    first = random.normal(scale=9.0, size=(40, 3))
    second = first + random.normal(scale=0.4, size=(40, 3)) + random.integers(-2, 3, (40, 3)) @ cell
    batch = torch.zeros(40, dtype=torch.int64)
    tensors = [torch.tensor(x) for x in (first, second)]
    found = minimum_image_distances(
        *tensors, torch.tensor(cell)[None], torch.ones(1, 3, dtype=torch.bool), batch
    )
    _, expected = find_mic(first - second, cell)
    assert np.allclose(found.numpy(), expected, atol=1e-12)
    free = minimum_image_distances(
        *tensors, torch.tensor(cell)[None], torch.zeros(1, 3, dtype=torch.bool), batch
    )
    assert np.allclose(free.numpy(), np.linalg.norm(first - second, axis=1))


@pytest.mark.parametrize(
    ("off", "adwt"),
    [(0.0, 100.0), (0.0105, 100 * 489 / 490), (0.2505, 100 * 249 / 490), (0.6, 0.0)],
)
def test_adwt_counts_thresholds(off, adwt):
    """490 thresholds, 0.010 to 0.499; the fixed atom is far off and does not count."""
    graph = Data(
        atomic_numbers=torch.tensor([29, 6, 8]),
        pos=torch.zeros(3, 3),
        cell=10 * torch.eye(3, dtype=torch.float64)[None],
        pbc=torch.ones(1, 3, dtype=torch.bool),
        relaxed_positions=torch.zeros(3, 3, dtype=torch.float64),
        fixed=torch.tensor([True, False, False]),
    )
    places = torch.tensor([[3.0, 0, 0], [off + 10, 0, 0], [0, -off, 0]], dtype=torch.float64)
    errors = RelaxationErrors()
    errors.update(places, Batch.from_data_list([graph]))
    assert float(errors.compute()["adwt"]) == pytest.approx(adwt)


@pytest.mark.parametrize("cut", [0, 1, 4])
def test_relaxed_energies_however_they_are_batched(cut):
    true = torch.tensor([0.0, -1.5, 3.0, 2.0, 1.0], dtype=torch.float64)
    off = torch.tensor([0.0199, -0.0201, 0.5, 0.0, -0.02], dtype=torch.float64)
    off[4] = -0.0200001
    errors = RelaxedEnergyErrors()
    for part in (slice(None, cut), slice(cut, None)):
        errors.update((true + off)[part], true[part])
    found = errors.compute()
    assert float(found["energy_mae"]) == pytest.approx(1000 * float(off.abs().mean()))
    assert float(found["loss"]) == pytest.approx(float(off.abs().mean()))
    assert float(found["ewt"]) == pytest.approx(40.0)


def test_every_split_counts_once():
    splits = [{"energy_mae": 1.0, "efwt": 4.0}, {"energy_mae": 4.0, "efwt": 0.0}]
    assert mean_of_splits(splits) == {"energy_mae": 2.5, "efwt": 2.0}
    assert mean_of_splits([]) == {}
