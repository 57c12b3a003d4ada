"""The models that come with the package do what their cards say."""

from pathlib import Path

import pytest

from equinet import zoo
from equinet.data import AtomicDataset, read_frames
from equinet.data.loading.sampling import evaluation_loader
from equinet.diffusion import generate, sampling_levels
from equinet.evaluation.molecules import bond_orders
from equinet.models import PonitaDenoiser
from equinet.training import predict


@pytest.mark.parametrize("name", ["mace-gaunt-3bpa", "mace-gaunt-3bpa-committee"])
def test_3bpa_models_have_the_errors_of_their_cards(name: str, shared_data: Path) -> None:
    frames = read_frames(shared_data / "3bpa" / "test_300K.xyz")
    model = zoo.load(name)
    found = predict(model, evaluation_loader(AtomicDataset(frames, model.cutoff), 32))
    card = zoo.load_card(name)["metrics"]["test_300K"]
    assert found.errors["energy_rmse"] == pytest.approx(card["energy_rmse"], rel=1e-3)
    assert found.errors["forces_rmse"] == pytest.approx(card["forces_rmse"], rel=1e-3)


@pytest.mark.parametrize("name", [entry.name for entry in zoo.list()])
def test_every_model_gives_the_results_of_its_worked_example(name: str) -> None:
    assert "as when it was saved" in zoo.check(zoo.load(name), zoo.load_card(name)["example"])


def test_the_denoiser_makes_molecules() -> None:
    model = zoo.load("ponita-qm9-molecules")
    assert isinstance(model, PonitaDenoiser)
    for made in generate(model, range(4), sampling_levels(20), seed=1):
        bonds = bond_orders(made.numbers, made.positions)
        assert (bonds.sum(axis=1) > 0).mean() > 0.8  # nearly all atoms are bound to another one
