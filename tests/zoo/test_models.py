"""The models that come with the package do what their cards say."""

from pathlib import Path

import pytest

from equinet import zoo
from equinet.data import AtomicDataset, read_frames
from equinet.data.loading.sampling import evaluation_loader
from equinet.training import predict


@pytest.mark.parametrize("name", ["mace-gaunt-3bpa", "mace-gaunt-3bpa-committee"])
def test_3bpa_models_have_the_errors_of_their_cards(name: str, shared_data: Path) -> None:
    frames = read_frames(shared_data / "3bpa" / "test_300K.xyz")
    model = zoo.load(name)
    found = predict(model, evaluation_loader(AtomicDataset(frames, model.cutoff), 32))
    card = zoo.load_card(name)["metrics"]["test_300K"]
    assert found.errors["energy_rmse"] == pytest.approx(card["energy_rmse"], rel=1e-3)
    assert found.errors["forces_rmse"] == pytest.approx(card["forces_rmse"], rel=1e-3)


def test_every_model_is_looked_at() -> None:
    assert {entry.name for entry in zoo.list()} == {"mace-gaunt-3bpa", "mace-gaunt-3bpa-committee"}
