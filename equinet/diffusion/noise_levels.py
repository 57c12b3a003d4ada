"""Noise levels: how much noise is added in training, and the levels that sampling goes through.

A noise level is the standard deviation σ of the noise, in the unit of what it is added to (Å for
positions).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.errors import ConfigError


@dataclass(frozen=True)
class NoiseLevels:
    """Log-normal distribution of the noise levels of training.

    Attributes:
        log_mean: Mean of ln σ.
        log_deviation: Standard deviation of ln σ.

    Source: Karras et al. (NeurIPS 2022), table 1, "Noise distribution".

    Example:
        >>> NoiseLevels(log_mean=0.0, log_deviation=0.0).draw(2)
        tensor([1., 1.])
    """

    log_mean: float = -1.0
    log_deviation: float = 1.4

    def draw(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, " graph"]:
        """Draw one level for each graph of a batch.

        Each level has the distribution, and the levels of a batch are spread evenly over its
        quantiles, so that the losses of batches differ less than with independent levels.

        Args:
            count: Number of graphs.
            generator: Source of random numbers on the CPU; None for that of torch.

        Source: Kingma et al., Variational diffusion models (NeurIPS 2021), appendix I.1.
        """
        places = torch.randperm(count, generator=generator)
        return self._at((places + torch.rand((), generator=generator)) / count)

    def _at(self, quantiles: Tensor) -> Tensor:
        # Noise beyond four standard deviations is never drawn.
        normal = torch.special.ndtri(quantiles.double()).clamp(-4, 4)
        return torch.exp(self.log_mean + self.log_deviation * normal).to(torch.get_default_dtype())


def sampling_levels(
    steps: int, *, highest: float = 10.0, lowest: float = 0.002, exponent: float = 7.0
) -> Float[Tensor, " level"]:
    r"""Return the noise levels that sampling goes through, from the highest to zero.

    :math:`\sigma_i = \big(\sigma_{max}^{1/\rho} + \tfrac{i}{n-1} (\sigma_{min}^{1/\rho} -
    \sigma_{max}^{1/\rho})\big)^\rho` for i = 0 … n - 1, then zero.

    Args:
        steps: Number of steps n, at least 2.
        highest: Noise level of the start, σ_max.
        lowest: Last noise level above zero, σ_min.
        exponent: Exponent ρ; the larger it is, the shorter are the steps at low noise.

    Returns:
        Levels [steps + 1] in float64.

    Raises:
        ConfigError: There are less than two steps, or the levels do not fall.

    Source: Karras et al. (NeurIPS 2022), equation 5.

    Example:
        >>> [round(level, 6) for level in sampling_levels(2, highest=4.0, lowest=1.0).tolist()]
        [4.0, 1.0, 0.0]
    """
    if steps < 2:
        raise ConfigError(f"steps must be at least 2, got {steps}")
    if not 0 < lowest < highest:
        raise ConfigError(f"noise levels must fall to above 0, got {highest} and {lowest}")
    first, last = (float(level ** (1 / exponent)) for level in (highest, lowest))
    levels = torch.linspace(first, last, steps, dtype=torch.float64) ** exponent
    return torch.cat([levels, levels.new_zeros(1)])
