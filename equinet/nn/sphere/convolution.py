"""Equivariant convolution over neighbors: features times a filter of the edge, summed."""

import math
from collections.abc import Callable
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.nn.sphere.degrees import scale_degrees
from equinet.nn.sphere.paths import PathWeights
from equinet.o3 import degree_index, spherical_harmonics
from equinet.ops import aligned_convolution, bracket_product, gaunt_convolution, segment_sum


class GauntConv(nn.Module):
    r"""Sum over neighbors of the Gaunt product of their features with a radial filter.

    :math:`z_i = \frac{1}{\sqrt{n}} \sum_{j} x_j \circledast \sum_l h_l(d_{ij})\,Y_l(\hat r_{ij})`
    per channel, with one learned weight per degree of the input, the filter and the output. The
    radial weights sit on the degree of the filter, so messages can be summed as samples on the
    sphere and every node is projected once.

    Args:
        lmax: Highest degree of the features.
        lmax_filter: Highest degree of the filter.
        lmax_out: Highest degree kept.
        channels: Number of channels.
        average_neighbors: Mean number n of neighbors of a node.
        form: Name of the algorithm. ``generic`` sums in grid space; ``aligned`` rotates every edge
            to the polar axis, where the filter depends on one angle alone. Both give the same
            numbers.
        odd: Whether the Poisson bracket with the filter is added, see
            :class:`equinet.nn.GauntProduct`; then only rotations are a symmetry. Generic form only.
        backend: Backend of :func:`equinet.ops.gaunt_convolution`, chosen for the device by default.

    Raises:
        ValueError: If ``odd`` is combined with the aligned form.

    Source: Luo, Chen, Krishnapriyan (ICLR 2024), §3.3, convolution; Passaro, Zitnick, eSCN
    (ICML 2023) for the alignment.

    Example:
        >>> layer = GauntConv(0, 2, 2, channels=8, average_neighbors=1.0)
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> layer(torch.randn(2, 1, 8), torch.randn(2, 3), torch.randn(2, 3, 8), edge_index).shape
        torch.Size([2, 9, 8])
    """

    def __init__(
        self,
        lmax: int,
        lmax_filter: int,
        lmax_out: int,
        channels: int,
        *,
        average_neighbors: float,
        form: Literal["generic", "aligned"] = "generic",
        odd: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if odd and form == "aligned":
            raise ValueError("odd=True needs form='generic': the aligned form has even paths only")
        self.lmax_out = lmax_out
        self.lmax_filter = lmax_filter
        self.form = form
        self.backend = backend
        # Y_lm of a random direction has variance 1/(4π).
        self.gain = math.sqrt(4 * math.pi / average_neighbors)
        self.even = PathWeights(lmax, lmax_filter, lmax_out, channels, odd=False)
        self.odd = PathWeights(lmax, lmax_filter, lmax_out, channels, odd=True) if odd else None

    def forward(
        self,
        x: Float[Tensor, "node lm channel"],
        directions: Float[Tensor, "edge 3"],
        radial: Float[Tensor, "edge degree channel"] | Callable[[Tensor], Tensor],
        edge_index: Int[Tensor, "2 edge"],
        harmonics: Float[Tensor, "edge lm_filter"] | None = None,
    ) -> Float[Tensor, "node lm_out channel"]:
        """Convolve.

        Args:
            x: Features [N, (lmax+1)², channels] of the nodes.
            directions: Vectors [E, 3] along the edges, of any length.
            radial: Weights h_l [E, lmax_filter + 1, channels], or a function that maps gains
                [lmax_filter + 1, channels] to the weights times these gains, such as a
                :class:`equinet.nn.RadialNetwork` with its basis. The function saves a product with
                every edge.
            edge_index: Senders and receivers [2, E].
            harmonics: Values of ``equinet.o3.spherical_harmonics(lmax_filter, directions)``, if
                several layers use them; the aligned form ignores them.
        """
        a, b, c = self.even()
        features = scale_degrees(x, a)
        weights = self._weigh(radial, b)
        if self.form == "aligned":
            summed = aligned_convolution(features, directions, weights, edge_index, self.lmax_out)
        else:
            summed = gaunt_convolution(
                features,
                directions,
                weights,
                edge_index,
                self.lmax_out,
                harmonics=harmonics,
                backend=self.backend,
            )
        z = scale_degrees(summed, c)
        if self.odd is not None:
            if harmonics is None:
                harmonics = spherical_harmonics(self.lmax_filter, directions)
            z = z + self._bracket(x, harmonics, radial, edge_index, self.odd)
        return z

    def _weigh(self, radial: Tensor | Callable[[Tensor], Tensor], b: Tensor) -> Tensor:
        gain = b * self.gain
        return radial * gain if isinstance(radial, Tensor) else radial(gain)

    def _bracket(
        self,
        x: Tensor,
        harmonics: Tensor,
        radial: Tensor | Callable[[Tensor], Tensor],
        edge_index: Tensor,
        odd: PathWeights,
    ) -> Tensor:
        sender, receiver = edge_index
        a, b, c = odd()
        weights = self._weigh(radial, b)
        filters = (
            harmonics.to(weights.dtype).unsqueeze(-1)
            * weights[:, degree_index(self.lmax_filter, x.device)]
        )
        edges = bracket_product(
            scale_degrees(x, a)[sender], filters, self.lmax_out, backend=self.backend
        )
        return scale_degrees(segment_sum(edges, receiver, x.shape[0]), c)
