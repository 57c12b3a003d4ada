"""Trained potentials without autograd give what the models give."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from equinet.data import Frame, to_graph
from equinet.errors import DataError
from equinet.models import Committee, MACEGaunt, Potential
from equinet.models.fixed import mace_gaunt as module

ELEMENTS = (1, 6, 8, 26)


def model(seed: int = 0, **options: Any) -> MACEGaunt:
    torch.manual_seed(seed)
    network = MACEGaunt(
        **{
            "elements": ELEMENTS,
            "cutoff": 3.0,
            "reference_energies": (-13.6, -1029.5, -2041.9, -34000.0),
            "average_neighbors": 6.0,
            "scale": 0.9,
            "shift": -4.5,
            "channels": 8,
            "radial_hidden": (16, 16),
        }
        | options
    ).double()
    with torch.no_grad():  # path weights that are all one would hide a degree taken for another
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


def structure(atoms: int, seed: int = 0, *, periodic: bool = False) -> Frame:
    generator = np.random.default_rng(seed)
    side = max(2.0, 1.6 * atoms ** (1 / 3))
    cell = side * np.eye(3) + 0.2 * generator.normal(size=(3, 3))
    return Frame(
        numbers=generator.choice(ELEMENTS[:3], atoms),
        positions=generator.uniform(-1, 2, (atoms, 3)) @ cell / 2,
        cell=cell[[1, 0, 2]] if periodic else np.zeros((3, 3)),  # a left-handed cell
        pbc=np.full(3, periodic),
    )


def graph(atoms: int, seed: int = 0, *, periodic: bool = False) -> Data:
    return to_graph(structure(atoms, seed, periodic=periodic), 3.0)


def assert_alike(network: Potential, data: Any, bound: float = 1e-9, **wanted: bool) -> None:
    truth, found = network(data, **wanted), network.fixed()(data, **wanted)
    assert set(found) == set(truth)
    for name, value in truth.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        unit = max(1.0, float(value.abs().max()) if name != "energy" else 1.0)
        torch.testing.assert_close(found[name], value.detach(), rtol=1e-12, atol=bound * unit)


SIZES = st.fixed_dictionaries(
    {
        "layers": st.integers(1, 3),
        "lmax_hidden": st.integers(0, 2),
        "lmax_filter": st.integers(2, 3),
        "correlation": st.integers(1, 4),
        "channels": st.sampled_from([1, 3, 8, 17]),
        "convolution_channels": st.sampled_from([None, 5, 16]),
        "radial_basis": st.integers(1, 8),
    }
)


@settings(max_examples=25)
@given(options=SIZES, atoms=st.integers(1, 12), periodic=st.booleans(), seed=st.integers(0, 99))
def test_every_size_of_network(
    options: dict[str, Any], atoms: int, periodic: bool, seed: int
) -> None:
    assert_alike(
        model(seed, **options), graph(atoms, seed, periodic=periodic), forces=True, stress=periodic
    )


@pytest.mark.parametrize("piece", [1, 5, 64])
def test_in_pieces(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    network = model(layers=3)
    assert_alike(network, graph(40, periodic=True), stress=True)
    assert_alike(network, Batch.from_data_list([graph(n, n) for n in (9, 1, 14)]))


def test_batches_and_parts_of_the_results() -> None:
    data = Batch.from_data_list([graph(n, n, periodic=n % 2 == 0) for n in (3, 8, 1, 6)])
    for wanted in ({"forces": False}, {"forces": False, "stress": True}, {"stress": True}):
        assert_alike(model(), data, **wanted)


def test_float32_loses_no_more_than_the_model() -> None:
    exact = model(channels=32)
    network, data = copy.deepcopy(exact).float(), graph(20, periodic=True)
    truth = exact(data, stress=True)
    unit = float(truth["forces"].abs().max())
    for found in (network(data, stress=True), network.fixed()(data, stress=True)):
        assert float((found["forces"] - truth["forces"]).abs().max()) < 2e-5 * unit
        assert float((found["stress"] - truth["stress"]).abs().max()) < 2e-5 * unit


def test_atoms_at_the_cutoff_at_zero_and_without_edges() -> None:
    data = graph(4)
    data.pos = torch.tensor([[0.0, 0, 0], [0, 0, 3.0], [0, 0, 3.7], [0, 0, 0]], dtype=torch.float64)
    data.edge_index = torch.tensor([[0, 1, 2, 0, 3], [1, 0, 0, 3, 0]])
    data.edge_shift = torch.zeros(5, 3, dtype=torch.float64)
    assert_alike(model(), data)
    data.edge_index, data.edge_shift = data.edge_index[:, :0], data.edge_shift[:0]
    assert_alike(model(), data)


def test_committees() -> None:
    assert_alike(Committee.of([model(0), model(1), model(2)]), graph(6))


def test_later_weights_change_nothing() -> None:
    network, data = model(), graph(6)
    truth, prepared = network(data)["energy"], network.fixed()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    torch.testing.assert_close(prepared(data)["energy"], truth)


@pytest.mark.parametrize("network", [model(), Committee.of([model(0), model(1)])])
def test_copies_and_pickles(network: Potential) -> None:
    prepared, data = network.fixed(), graph(6)
    for again in (copy.deepcopy(prepared), pickle.loads(pickle.dumps(prepared))):
        torch.testing.assert_close(again(data)["forces"], prepared(data)["forces"])


def test_unknown_elements_are_refused() -> None:
    data = graph(3)
    data.atomic_numbers[1] = 79
    with pytest.raises(DataError, match="not trained for Au"):
        model().fixed()(data)


@pytest.mark.parametrize("factor", [1e5, float("nan")])
def test_radial_networks_that_no_spline_follows(factor: float, caplog: Any) -> None:
    network = model()
    with torch.no_grad():
        next(network.interactions[0].radial.parameters()).mul_(factor)
    assert network.fixed() is None
    assert "vary too fast for a spline" in caplog.text


def test_other_networks_have_no_fixed_form() -> None:
    assert model(pair_radial=True).fixed() is None
    assert model(backend="grid").fixed() is None
    assert model(lmax_filter=1, lmax_hidden=2).fixed() is None
    assert Committee.of([model(pair_radial=True), model(1, pair_radial=True)]).fixed() is None
