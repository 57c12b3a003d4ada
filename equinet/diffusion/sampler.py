"""Sampling: from noise to data along the levels of noise, by Heun's method.

The expected clean data D(x, σ) give the direction in which data and noise part,

    dx/dσ = (x − D(x, σ)) / σ,

and Heun's method follows it with an error of second order in the length of a step.

Source: Karras et al. (NeurIPS 2022), algorithms 1 and 2.
"""

import itertools
import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from equinet.errors import ConfigError


def sample(
    denoise: Callable[[Tensor, float], Tensor],
    levels: Float[Tensor, " level"],
    draw: Callable[[], Tensor],
    *,
    churn: float = 0.0,
    after_step: Callable[[], object] | None = None,
) -> Tensor:
    """Turn noise into data.

    Args:
        denoise: Function of noisy data and a noise level that returns the expected clean data.
        levels: Noise levels from the highest to zero, see :func:`sampling_levels`.
        draw: Function that returns new normal noise of unit variance in the shape of the data; it
            is called once for the start, and once for each step if there is churn.
        churn: Amount of noise that is added and removed again, S_churn; each of n steps raises the
            noise level by the fraction churn / n, at most by √2 − 1. Zero follows the direction
            without randomness.
        after_step: Function that is called after each step, for a progress bar; None for none.

    Returns:
        Data in the shape and precision of the noise.

    Raises:
        ConfigError: The churn is negative.

    Example:
        >>> import torch
        >>> from equinet.diffusion import sampling_levels
        >>> always_two = lambda x, level: torch.full_like(x, 2.0)
        >>> sample(always_two, sampling_levels(3), lambda: torch.ones(1))
        tensor([2.])
    """
    if not churn >= 0:
        raise ConfigError(f"churn must be at least 0, got {churn}")
    steps = len(levels) - 1
    raising = min(churn / steps, math.sqrt(2) - 1)
    places = levels.tolist()
    x = places[0] * draw()
    for here, there in itertools.pairwise(places):
        level = here * (1 + raising)
        if raising:
            x = x + math.sqrt(level**2 - here**2) * draw()
        slope = (x - denoise(x, level)) / level
        reached = x + (there - level) * slope
        if there > 0:
            slope = (slope + (reached - denoise(reached, there)) / there) / 2
            reached = x + (there - level) * slope
        x = reached
        if after_step is not None:
            after_step()
    return x
