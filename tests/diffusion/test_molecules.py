"""Molecules from noise: symmetry, center, seeds, sizes."""

from typing import Any

import pytest
import torch

from equinet import diffusion
from equinet.diffusion import (
    NoisyMolecules,
    Sizes,
    Streams,
    add_noise,
    center,
    fully_connected,
    generate,
    sampling_levels,
)
from equinet.errors import ConfigError
from equinet.lie import random_rotations
from equinet.models import PonitaDenoiser

LEVELS = sampling_levels(4, highest=3.0, lowest=0.05)


def denoiser(**options: Any) -> PonitaDenoiser:
    torch.manual_seed(0)
    arguments = {
        "elements": (1, 6, 8),
        "sizes": (0, 0, 1, 2, 3, 1),
        "position_deviation": 1.2,
        "channels": 8,
        "layers": 2,
    } | options
    return PonitaDenoiser(**arguments).double().eval()


def noisy(seed: int = 0) -> NoisyMolecules:
    generator = torch.Generator().manual_seed(seed)
    edge_index, batch = fully_connected(torch.tensor([4, 1, 3]))
    pos = center(torch.randn(8, 3, generator=generator).double(), batch, 3)
    types = torch.randn(8, 3, generator=generator).double()
    noise = torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64)
    return add_noise(pos, types, noise, edge_index, batch, generator)


@pytest.fixture
def rotated(monkeypatch):
    """Rotate all noise of positions that is drawn from now on."""

    def start(rotation: torch.Tensor) -> None:
        plain = Streams.normal

        def turned(self: Streams, sizes: list[int], width: int) -> torch.Tensor:
            noise = plain(self, sizes, width)
            return torch.cat([noise[:, :3] @ rotation.T, noise[:, 3:]], dim=1)

        monkeypatch.setattr(Streams, "normal", turned)

    return start


def made(model: PonitaDenoiser, numbers=(0, 1, 2), **options: Any) -> list[diffusion.Molecule]:
    chosen = {"seed": 3, "churn": 2.0, "dtype": torch.float64} | options
    return generate(model, list(numbers), LEVELS, **chosen)


def test_rotated_noise_gives_rotated_molecules_in_lifted_mode(rotated):
    model = denoiser(mode="lifted")
    rotation = random_rotations(1, 3, generator=torch.Generator().manual_seed(1))[0].double()
    before = made(model)
    rotated(rotation)
    for old, new in zip(before, made(model), strict=True):
        assert old.numbers.tolist() == new.numbers.tolist()
        turned = torch.from_numpy(old.positions) @ rotation.T
        assert (torch.from_numpy(new.positions) - turned).abs().max() < 1e-5


@pytest.mark.parametrize("place", [1, 17, 61])
def test_the_symmetries_of_the_grid_rotate_molecules_in_bundle_mode(rotated, place):
    model = denoiser()
    assert model.symmetry is not None
    rotation = model.symmetry[place].double()
    before = made(model)
    rotated(rotation)
    for old, new in zip(before, made(model), strict=True):
        turned = torch.from_numpy(old.positions) @ rotation.T
        assert (torch.from_numpy(new.positions) - turned).abs().max() < 1e-4
        assert old.numbers.tolist() == new.numbers.tolist()


@pytest.mark.parametrize("mode", ["bundle", "lifted"])
def test_centers_stay_at_the_origin(mode):
    model, molecules = denoiser(mode=mode), noisy()
    assert center(molecules.pos, molecules.batch, 3).allclose(molecules.pos, atol=1e-14)
    found = model(molecules)["pos"]
    assert center(found, molecules.batch, 3).allclose(found, atol=1e-12)
    for molecule in made(model):
        assert abs(molecule.positions.mean(axis=0)).max() < 1e-12


def test_noise_has_the_level_of_its_molecule():
    count = 500
    edge_index, batch = fully_connected(torch.full((2 * count,), 4))
    clean = torch.zeros(8 * count, 3)
    noise = torch.tensor([0.5, 2.0]).repeat_interleave(count)
    found = add_noise(clean, clean, noise, edge_index, batch)
    halves = found.pos.reshape(2, -1), found.types.reshape(2, -1)
    # Three of four atoms are free where the center is fixed.
    expected = torch.tensor([0.5, 2.0])
    torch.testing.assert_close(halves[0].std(1), expected * 0.75**0.5, rtol=0.05, atol=0)
    torch.testing.assert_close(halves[1].std(1), expected, rtol=0.05, atol=0)


def test_with_little_noise_the_input_is_returned_and_with_much_the_mean():
    model, molecules = denoiser(), noisy()
    for level, expected in ((1e-4, molecules.pos), (1e4, torch.zeros(8, 3).double())):
        noise = torch.full((3,), level, dtype=torch.float64)
        parts = (molecules.types, noise, molecules.edge_index, molecules.batch)
        pos = model(NoisyMolecules(molecules.pos, *parts))["pos"]
        scale = 1e-2 if level < 1 else 5.0  # the network is not trained
        assert (pos - expected).abs().max() < scale


def test_molecules_do_not_depend_on_their_batch_and_do_on_the_seed():
    model = denoiser()
    together = made(model, range(5))
    alone = [made(model, [number])[0] for number in range(5)]
    for one, other in zip(together, alone, strict=True):
        assert one.numbers.tolist() == other.numbers.tolist()
        assert abs(one.positions - other.positions).max() < 1e-9
    other_seed = made(model, range(5), seed=4)
    assert any(len(a.numbers) != len(b.numbers) for a, b in zip(together, other_seed, strict=True))


def test_sizes_follow_the_histogram():
    sizes = Sizes([0, 0, 1, 0, 3])
    drawn = sizes.draw((torch.arange(1000) + 0.5) / 1000)
    assert drawn.bincount().tolist() == [0, 0, 250, 0, 750]
    assert sizes.draw(torch.tensor([0.0, 1.0])).tolist() == [2, 4]
    streams = Streams(0, range(4000))
    assert float(sizes.draw(streams.uniform()).double().mean()) == pytest.approx(3.5, abs=0.05)


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ([], "not all 0"),
        ([0, 0], "not all 0"),
        ([0, -1, 2], "at least 0"),
        ([0, float("nan")], "finite"),
        ([1, 1], "without atoms"),
    ],
)
def test_histograms_without_meaning_are_refused(fractions, words):
    with pytest.raises(ConfigError, match=words):
        Sizes(fractions)


def test_graphs_are_complete_sorted_and_have_no_loops():
    edge_index, batch = fully_connected(torch.tensor([3, 0, 2]))
    assert batch.tolist() == [0, 0, 0, 2, 2]
    assert edge_index.tolist() == [[1, 2, 0, 2, 0, 1, 4, 3], [0, 0, 1, 1, 2, 2, 3, 4]]


def test_the_denoiser_is_saved_and_loaded_with_all_that_sampling_needs(tmp_path):
    from equinet import zoo

    model = denoiser()
    zoo.save(model, tmp_path, {"data": "none"})
    loaded = zoo.load(tmp_path, dtype=torch.float64)
    assert isinstance(loaded, PonitaDenoiser)
    for one, other in zip(made(model), made(loaded), strict=True):
        assert (one.positions == other.positions).all()


def test_calibration_keeps_the_size_of_features():
    model, molecules = denoiser(), noisy()
    before = model(molecules)["pos"]
    model.calibrate(molecules)
    once = model(molecules)["pos"]
    model.calibrate(molecules)
    assert not torch.allclose(before, once)
    torch.testing.assert_close(model(molecules)["pos"], once, rtol=1e-4, atol=1e-6)
