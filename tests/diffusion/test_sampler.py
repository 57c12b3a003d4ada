"""Sampling: Heun's method on targets whose solution is known."""

import math

import pytest
import torch

from equinet.diffusion import NoiseLevels, sample, sampling_levels
from equinet.errors import ConfigError

MEAN, DEVIATION, HIGHEST = 0.7, 1.3, 10.0


def gaussian(x: torch.Tensor, level: float) -> torch.Tensor:
    """Expected clean data where the data are normal: the best denoiser there is."""
    variance = DEVIATION**2
    return (variance * x + level**2 * MEAN) / (variance + level**2)


def normal(seed: int, count: int = 20_000):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(count, generator=generator, dtype=torch.float64)


def test_a_gaussian_target_is_met_along_the_exact_path():
    """The direction has a closed form: x - mean falls as the root of its variance."""
    start = normal(0)()
    fall = DEVIATION / math.sqrt(DEVIATION**2 + HIGHEST**2)
    exact = MEAN + (HIGHEST * start - MEAN) * fall
    errors = []
    for steps in (40, 80):
        found = sample(gaussian, sampling_levels(steps, highest=HIGHEST), lambda: start)
        errors.append(float((found - exact).square().mean().sqrt()))
    assert errors[0] < 0.01
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25)  # second order


@pytest.mark.parametrize("churn", [0.0, 10.0, 40.0])
def test_samples_of_a_gaussian_have_its_mean_and_variance(churn):
    levels = sampling_levels(100, highest=HIGHEST)
    found = sample(gaussian, levels, normal(1), churn=churn)
    fall = DEVIATION / math.sqrt(DEVIATION**2 + HIGHEST**2)
    if churn == 0:
        assert float(found.mean()) == pytest.approx(MEAN * (1 - fall), abs=0.03)
        assert float(found.std()) == pytest.approx(HIGHEST * fall, rel=0.02)
    # Noise that is removed again makes up for the start, which had not quite the right variance.
    assert float(found.std()) == pytest.approx(DEVIATION, rel=0.02)
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.12)


def test_churn_brings_samples_closer_to_the_mean():
    levels = sampling_levels(40, highest=HIGHEST)
    means = [
        float(sample(gaussian, levels, normal(2), churn=churn).mean()) for churn in (0.0, 40.0)
    ]
    assert abs(means[1] - MEAN) < 0.5 * abs(means[0] - MEAN)


def test_levels_fall_to_zero_and_follow_the_formula():
    levels = sampling_levels(5, highest=8.0, lowest=0.5, exponent=3.0)
    assert levels[0].item() == pytest.approx(8.0)
    assert levels[-2].item() == pytest.approx(0.5)
    assert levels[-1] == 0
    assert levels[2].item() == pytest.approx(((2 + 0.5 ** (1 / 3)) / 2) ** 3)


def test_training_levels_are_log_normal_and_spread_evenly():
    generator = torch.Generator().manual_seed(0)
    found = NoiseLevels(-0.5, 1.1).draw(4096, generator).double().log()
    assert float(found.mean()) == pytest.approx(-0.5, abs=0.01)
    assert float(found.std()) == pytest.approx(1.1, rel=0.01)
    # Each sixteenth of the distribution has exactly its part, which independent draws have not.
    places = torch.special.ndtr((found + 0.5) / 1.1)
    counts = torch.histc(places, bins=16, min=0, max=1)
    assert (counts - 256).abs().max() <= 1
    assert not torch.equal(found, found.sort().values)


def test_mistakes_are_refused():
    with pytest.raises(ConfigError, match="steps must be at least 2, got 1"):
        sampling_levels(1)
    with pytest.raises(ConfigError, match=r"must fall to above 0, got 1\.0 and 2\.0"):
        sampling_levels(5, highest=1.0, lowest=2.0)
    with pytest.raises(ConfigError, match=r"churn must be at least 0, got -1\.0"):
        sample(gaussian, sampling_levels(3), normal(0, 2), churn=-1.0)
