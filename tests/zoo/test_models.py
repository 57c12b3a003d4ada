"""The models that come with the package do what their cards say."""

from pathlib import Path

import pytest
import torch

from equinet import zoo
from equinet.data import AtomicDataset, read_frames
from equinet.data.sampling import evaluation_loader


@pytest.mark.parametrize("name", [entry.name for entry in zoo.list() if "3bpa" in entry.name])
def test_3bpa_models_have_the_errors_of_their_cards(name: str, shared_data: Path) -> None:
    frames = read_frames(shared_data / "3bpa" / "test_300K.xyz")[::20]
    model = zoo.load(name)
    (batch,) = evaluation_loader(AtomicDataset(frames, model.cutoff), len(frames))
    result = model(batch)
    energy = 1000 * (result["energy"] - batch.energy).square().mean().sqrt().item()
    forces = 1000 * (result["forces"] - batch.forces).square().mean().sqrt().item()
    card = zoo.load_card(name)["metrics"]["test_300K"]
    # Every twentieth frame: their errors differ from those of all frames by 3.9 % and 1.3 %.
    assert energy == pytest.approx(card["energy_rmse"], rel=0.05)
    assert forces == pytest.approx(card["forces_rmse"], rel=0.02)
    assert torch.isfinite(result["forces"]).all()
