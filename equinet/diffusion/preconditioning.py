"""Preconditioning: how a network of unit scale becomes a denoiser at all noise levels.

A denoiser D returns the expected clean data y for noisy data x = y + σ n. With a network F,

    D(x, σ) = c_skip(σ) x + c_out(σ) F(c_in(σ) x, c_noise(σ)),

where the factors are chosen so that the inputs and the targets of F have unit variance at every
noise level, for data of standard deviation s, and so that errors of F are amplified least.

Source: Karras et al. (NeurIPS 2022), §5, table 1 and appendix B.6.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

_HIGHEST_WEIGHT = 1000.0  # inverse square of the unit of the noise, Å⁻² for positions


class Preconditioning(NamedTuple):
    """Factors of a denoiser, one for each noise level.

    Attributes:
        skip: Factor c_skip = s² / (σ² + s²) of the noisy data in the output.
        out: Factor c_out = σ s / √(σ² + s²) of the output of the network.
        into: Factor c_in = 1 / √(σ² + s²) of the noisy data in the input of the network.

    Example:
        >>> import torch
        >>> precondition(torch.tensor(0.0), 2.0).into
        tensor(0.5000)
    """

    skip: Tensor
    out: Tensor
    into: Tensor


def precondition(noise: Float[Tensor, "*level"], deviation: float) -> Preconditioning:
    """Return the factors of a denoiser.

    Args:
        noise: Noise levels σ, of any shape.
        deviation: Standard deviation s of the data, in the unit of the noise.

    Example:
        >>> import torch
        >>> precondition(torch.tensor(1.0), 1.0).skip
        tensor(0.5000)
    """
    total = noise.square() + deviation**2
    return Preconditioning(
        skip=deviation**2 / total,
        out=noise * deviation * total.rsqrt(),
        into=total.rsqrt(),
    )


def noise_input(noise: Float[Tensor, "*level"]) -> Float[Tensor, "*level"]:
    """Return the number c_noise = ¼ ln σ by which a network is told the noise level.

    Args:
        noise: Noise levels σ, of any shape.

    Example:
        >>> import torch
        >>> noise_input(torch.tensor(1.0))
        tensor(0.)
    """
    return noise.log() / 4


def loss_weights(noise: Float[Tensor, "*level"], deviation: float) -> Float[Tensor, "*level"]:
    """Return the weight of the squared error of a denoiser at each noise level.

    The weight 1 / c_out² = 1 / σ² + 1 / s² gives errors of the network the same weight at all
    levels. It is clamped at 1000, in Å⁻² for positions, since a few molecules with hardly any noise
    would otherwise dominate the gradient.

    Args:
        noise: Noise levels σ, of any shape.
        deviation: Standard deviation s of the data, in the unit of the noise.

    Example:
        >>> import torch
        >>> loss_weights(torch.tensor([1.0, 1e-6]), 1.0).tolist()
        [2.0, 1000.0]
    """
    weights = noise.square().reciprocal() + deviation**-2
    return weights.clamp(max=_HIGHEST_WEIGHT)
