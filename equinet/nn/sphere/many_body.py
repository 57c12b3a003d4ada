"""Many-body interaction: powers of one equivariant feature, weighted per degree and species."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.nn.sphere.degrees import scale_degrees
from equinet.nn.sphere.linear import DegreeLinear
from equinet.nn.sphere.paths import PathWeights
from equinet.o3 import degree_index, power_variance
from equinet.ops import bracket_product, gaunt_powers


class GauntManyBody(nn.Module):
    r"""Weighted sum of the powers of a function on the sphere, up to the correlation order.

    :math:`z_{lm} = \sum_{\nu=1}^{\text{correlation}} W^{(\nu)}_{\text{kind}, l}\,[x^\nu]_{lm}`
    per channel. Every power is scaled so that Gaussian inputs of unit variance give outputs of
    unit variance, whatever the order and degree.

    Args:
        lmax: Highest degree of the input.
        lmax_out: Highest degree kept.
        channels: Number of channels.
        correlation: Highest power of the feature.
        kinds: Number of species, each with weights of its own.
        odd: Whether the Poisson bracket of x with a channel-mixed copy of itself is added, see
            :class:`equinet.nn.GauntProduct`; then only rotations are a symmetry.
        backend: Backend of :func:`equinet.ops.gaunt_powers`, chosen for the device by default.

    Source: Luo, Chen, Krishnapriyan (ICLR 2024), §3.3, many-body; Batatia et al., MACE (NeurIPS
    2022), eq. 10.

    Example:
        >>> layer = GauntManyBody(3, 2, channels=8, correlation=3, kinds=4)
        >>> layer(torch.randn(5, 16, 8), torch.tensor([0, 1, 2, 3, 0])).shape
        torch.Size([5, 9, 8])
    """

    gain: Tensor
    degrees: Tensor

    def __init__(
        self,
        lmax: int,
        lmax_out: int,
        channels: int,
        correlation: int,
        kinds: int = 1,
        *,
        odd: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.lmax_out = lmax_out
        self.correlation = correlation
        self.backend = backend
        weights = torch.randn(kinds, correlation, lmax_out + 1, channels)
        self.weight = nn.Parameter(weights / math.sqrt(correlation))
        gains = torch.stack(
            [power_variance(lmax, lmax_out, order).rsqrt() for order in range(1, correlation + 1)]
        )
        # Degrees that a power cannot reach have variance zero and stay zero.
        gains = gains.masked_fill(gains.isinf(), 0.0)
        gains = gains.to(torch.get_default_dtype()).unsqueeze(-1)
        self.register_buffer("gain", gains, persistent=False)
        self.register_buffer("degrees", degree_index(lmax_out), persistent=False)
        self.bracket = (
            _SelfBracket(lmax, lmax_out, channels, kinds, backend=backend) if odd else None
        )

    def forward(
        self,
        x: Float[Tensor, "node lm channel"],
        kind: Int[Tensor, " node"] | None = None,
    ) -> Float[Tensor, "node lm_out channel"]:
        """Evaluate the layer.

        Args:
            x: Features [N, (lmax+1)², channels] of the nodes.
            kind: Index [N] of the species of each node, 0 by default.

        Returns:
            The features [N, (lmax_out+1)², channels].
        """
        if kind is None:
            kind = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        powers = gaunt_powers(x, self.correlation, self.lmax_out, backend=self.backend)
        weights = (self.weight * self.gain).transpose(0, 1)[:, kind][:, :, self.degrees]
        z = (powers * weights).sum(0)
        if self.bracket is not None:
            z = z + self.bracket(x, kind)
        return z


class _SelfBracket(nn.Module):
    """The bracket of a feature with a channel-mixed copy; with itself it would vanish."""

    def __init__(
        self, lmax: int, lmax_out: int, channels: int, kinds: int, *, backend: str
    ) -> None:
        super().__init__()
        self.lmax_out = lmax_out
        self.backend = backend
        self.mix = DegreeLinear(lmax, channels, channels)
        self.paths = PathWeights(lmax, lmax, lmax_out, channels, odd=True)
        self.weight = nn.Parameter(torch.randn(kinds, lmax_out + 1, channels))

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        """Evaluate the bracket for nodes [N] of given species."""
        a, b, c = self.paths()
        z = bracket_product(
            scale_degrees(x, a),
            scale_degrees(self.mix(x), b),
            self.lmax_out,
            backend=self.backend,
        )
        return z * (self.weight * c)[kind][:, degree_index(self.lmax_out, x.device)]
