"""Radial bases, the cutoff envelope, and the network that maps a distance to filter weights."""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

# 1/sqrt(E[silu(u)²]) for a standard normal u: keeps the second moment of every layer at one.
_SILU_GAIN = 1.6765324703310907


def polynomial_envelope(
    distances: Float[Tensor, "*batch"], cutoff: float, order: int = 5
) -> Float[Tensor, "*batch"]:
    r"""Fall smoothly from one at zero distance to zero at the cutoff.

    :math:`1 - \frac{(p+1)(p+2)}{2} u^p + p(p+2) u^{p+1} - \frac{p(p+1)}{2} u^{p+2}` with
    :math:`u = d/\text{cutoff}`; value, slope and curvature vanish at the cutoff, so forces are
    continuously differentiable when a neighbor enters.

    Args:
        distances: Distances in the unit of ``cutoff``.
        cutoff: Distance at which the envelope reaches zero.
        order: Power p, 5 by default; larger values stay flat for longer.

    Source: Gasteiger, Groß, Günnemann, Directional message passing (ICLR 2020), eq. 8.

    Example:
        >>> polynomial_envelope(torch.tensor([0.0, 5.0, 7.0]), cutoff=5.0)
        tensor([1., 0., 0.])
    """
    u = (distances / cutoff).clamp(max=1.0)
    p = order
    square_bracket = -(p + 1) * (p + 2) / 2 + u * (p * (p + 2) - u * (p * (p + 1) / 2))
    return 1 + u**p * square_bracket


class BesselBasis(nn.Module):
    r"""Spherical Bessel functions of degree zero on a ball, times the polynomial envelope.

    :math:`\sqrt{2/c}\,\sin(n\pi d/c)/d` for n = 1 … ``size``; at zero distance the
    limit is taken and all derivatives are zero.

    Args:
        cutoff: Radius c of the ball in Å.
        size: Number of functions.
        envelope_order: Power p of :func:`polynomial_envelope`.

    Source: Gasteiger, Groß, Günnemann (ICLR 2020), eq. 7.

    Example:
        >>> BesselBasis(cutoff=5.0, size=8)(torch.tensor([0.0, 1.0])).shape
        torch.Size([2, 8])
    """

    frequencies: Tensor

    def __init__(self, cutoff: float, size: int = 8, envelope_order: int = 5) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.size = size
        self.envelope_order = envelope_order
        frequencies = math.pi / cutoff * torch.arange(1, size + 1, dtype=torch.float64)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(
        self,
        distances: Float[Tensor, "*batch"],
        places: Float[Tensor, "*batch"] | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Evaluate the basis.

        Args:
            distances: Distances in Å.
            places: Transformed distances at which the waves are taken, while the envelope stays
                that of the distances; None for the distances themselves.
        """
        places = distances if places is None else places
        frequencies = self.frequencies.to(distances.dtype)
        at_zero = places.unsqueeze(-1) == 0
        # Both branches stay finite, so that no derivative of any order is NaN.
        positive = torch.where(at_zero, 1.0, places.unsqueeze(-1))
        waves = torch.where(at_zero, frequencies, torch.sin(frequencies * positive) / positive)
        envelope = polynomial_envelope(distances, self.cutoff, self.envelope_order)
        return waves * (math.sqrt(2 / self.cutoff) * envelope).unsqueeze(-1)


class GaussianBasis(nn.Module):
    r"""Gaussians of one width at equal distances from zero to the cutoff.

    Args:
        cutoff: Center of the last Gaussian in Å.
        size: Number of functions, at least 2.
        width: Standard deviation of a Gaussian, in units of the distance between two.

    Raises:
        ValueError: If ``size`` is below 2.

    Source: Schütt et al., SchNet (NeurIPS 2017); 600 functions of width 2 in Liao et al.,
    EquiformerV2 (ICLR 2024).

    Example:
        >>> GaussianBasis(cutoff=5.0, size=8)(torch.tensor([0.0, 1.0])).shape
        torch.Size([2, 8])
    """

    centers: Tensor

    def __init__(self, cutoff: float, size: int, width: float = 2.0) -> None:
        super().__init__()
        if size < 2:
            raise ValueError(f"size must be at least 2, found {size}")
        self.size = size
        self.deviation = width * cutoff / (size - 1)
        centers = torch.linspace(0, cutoff, size, dtype=torch.float64)
        self.register_buffer("centers", centers, persistent=False)

    def forward(self, distances: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch size"]:
        """Evaluate the basis at distances in Å."""
        offsets = distances.unsqueeze(-1) - self.centers.to(distances.dtype)
        return torch.exp(-(offsets / self.deviation).square() / 2)


class LogarithmicBasis(nn.Module):
    r"""Gaussians in :math:`\ln(1 + d^2)`: a basis on all distances, fine near and coarse far.

    Smooth functions of the squared distance, so that a function of them is smooth at zero. Their
    centers reach from distance zero to about 20.

    Args:
        size: Number of functions.

    Example:
        >>> LogarithmicBasis(8)(torch.tensor([0.0, 1.0])).shape
        torch.Size([2, 8])
    """

    centers: Tensor

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.size = size
        centers = torch.linspace(0, 6, size, dtype=torch.float64)
        self.register_buffer("centers", centers, persistent=False)

    def forward(self, distances: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch size"]:
        """Evaluate the basis at distances in a unit of the order of the nearest ones."""
        spacing = 6 / max(1, self.size - 1)
        places = torch.log1p(distances.square()).unsqueeze(-1)
        return torch.exp(-((places - self.centers.to(distances.dtype)) / spacing).square() / 2)


class RadialNetwork(nn.Module):
    """Map radial basis values to one weight per filter degree and channel by an MLP without biases.

    Without biases a zero input gives a zero output, so the envelope of the basis carries over.

    Args:
        basis_size: Number of radial basis functions.
        lmax: Highest degree of the filter.
        channels: Number of channels.
        hidden: Widths of the hidden layers.

    Example:
        >>> RadialNetwork(8, lmax=3, channels=16)(torch.zeros(5, 8)).shape
        torch.Size([5, 4, 16])
    """

    activation_gain: float = _SILU_GAIN
    """Factor of the activations, which keeps their second moments at one."""

    def __init__(
        self, basis_size: int, lmax: int, channels: int, hidden: tuple[int, ...] = (64, 64, 64)
    ) -> None:
        super().__init__()
        self.lmax = lmax
        self.channels = channels
        widths = (basis_size, *hidden, (lmax + 1) * channels)
        self.weights = nn.ParameterList(
            torch.randn(fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(widths)
        )

    def forward(
        self,
        basis: Float[Tensor, "edge basis"],
        gain: Float[Tensor, "degree channel"] | None = None,
    ) -> Float[Tensor, "edge degree channel"]:
        """Map basis values [E, basis_size] to filter weights [E, lmax + 1, channels].

        Args:
            basis: Values [E, basis_size] of the radial basis.
            gain: Factors [lmax + 1, channels] of the result; None stands for one.
        """
        # Gains act on the weights, which are few, not on the edges.
        weights = [
            weight * ((self.activation_gain if layer else 1.0) / math.sqrt(weight.shape[0]))
            for layer, weight in enumerate(self.weights)
        ]
        if gain is not None:
            weights[-1] = weights[-1] * gain.flatten()
        x = basis @ weights[0]
        for weight in weights[1:]:
            x = nn.functional.silu(x) @ weight
        return x.unflatten(-1, (self.lmax + 1, self.channels))

    def channel_matrices(self) -> list[nn.Parameter]:
        """Return the parameters that map the values of a layer to those of the next layer."""
        return list(self.weights)
