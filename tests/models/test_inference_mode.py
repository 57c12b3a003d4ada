"""Forces come out inside torch.inference_mode(), or one sentence says why not."""

import pytest
import torch
from ase.build import molecule
from torch_geometric.data import Batch

from equinet.data import frame_from_atoms, to_graph
from equinet.errors import ConfigError
from equinet.models import Committee, Fallback, MACEGaunt


def model():
    torch.manual_seed(0)
    return MACEGaunt(
        elements=[1, 8],
        cutoff=4.0,
        reference_energies=[0.0, 0.0],
        average_neighbors=2.0,
        channels=4,
        layers=1,
    ).eval()


def graph():
    frames = [frame_from_atoms(molecule(name)) for name in ("H2O", "H2")]
    return Batch.from_data_list([to_graph(frame, 4.0) for frame in frames])


@pytest.mark.parametrize(
    "make",
    [
        model,
        lambda: Committee.of([model(), model()]),
        lambda: Fallback.of(model(), model(), pairs=[]),
    ],
)
def test_forces_in_inference_mode_are_those_outside(make):
    network = make()
    expected = network(graph(), forces=True, stress=True)
    inputs = graph()
    with torch.inference_mode():
        inside = network(graph(), forces=True, stress=True)
        outside = network(inputs, forces=True, stress=True)
        energy = network(inputs, forces=False)["energy"]
    for name, value in expected.items():
        assert torch.equal(inside[name], value), name
        assert torch.equal(outside[name], value), name
    assert torch.equal(energy, expected["energy"].detach())


def test_a_model_made_in_inference_mode_is_named():
    with torch.inference_mode():
        network = model()
    with pytest.raises(ConfigError, match=r"made or loaded inside torch\.inference_mode"):
        network(graph())
