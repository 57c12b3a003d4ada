"""Selfmix: a residual block in which a feature interacts with itself."""

from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.sphere.linear import DegreeLinear
from equinet.nn.sphere.norm import DegreeNorm
from equinet.nn.sphere.product import GauntProduct


class SelfMix(nn.Module):
    """Let a feature interact with itself: a residual block around a bilinear product.

    ``x + out(product(a(norm(x)), b(norm(x))))`` with channel mixing per degree; ``out`` starts at
    zero, so a network begins as it was without the block.

    Args:
        product: Module that maps two features of ``hidden`` channels and degrees up to ``lmax`` to
            a third.
        lmax: Highest degree of the feature.
        channels: Number of channels.
        hidden: Number of channels inside the product, ``channels`` by default.
        unit_weights: Whether the weights of the channel mixing are of order one, see
            :class:`DegreeLinear`.

    Source: the Selfmix layer of So3krates and of Luo et al. (ICLR 2024).

    Example:
        >>> x = torch.randn(5, 9, 8)
        >>> torch.equal(SelfMix(GauntProduct(2, 2, 2, channels=8), 2, channels=8)(x), x)
        True
    """

    def __init__(
        self,
        product: nn.Module,
        lmax: int,
        channels: int,
        hidden: int | None = None,
        *,
        unit_weights: bool = True,
    ) -> None:
        super().__init__()
        hidden = hidden or channels
        self.norm = DegreeNorm(lmax, channels)
        self.left = DegreeLinear(lmax, channels, hidden, unit_weights=unit_weights)
        self.right = DegreeLinear(lmax, channels, hidden, unit_weights=unit_weights)
        self.product = product
        self.out = DegreeLinear(lmax, hidden, channels, unit_weights=unit_weights)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Float[Tensor, "*batch lm channel"]) -> Float[Tensor, "*batch lm channel"]:
        """Add the self-interaction to x."""
        normed = self.norm(x)
        return x + self.out(self.product(self.left(normed), self.right(normed)))


class GauntSelfMix(SelfMix):
    """A feature that interacts with itself by the Gaunt product; see :class:`SelfMix`.

    Args:
        lmax: Highest degree of the feature.
        channels: Number of channels.
        hidden: Number of channels inside the product, ``channels`` by default.
        odd: Whether the Poisson bracket is added, see :class:`GauntProduct`.
        backend: Backend of :func:`equinet.ops.gaunt_product`, chosen for the device by default.
        unit_weights: Whether the weights of the channel mixing are of order one, see
            :class:`DegreeLinear`.

    Source: Luo, Chen, Krishnapriyan (ICLR 2024); its placement there is unpublished.

    Example:
        >>> x = torch.randn(5, 9, 8)
        >>> torch.equal(GauntSelfMix(2, channels=8)(x), x)
        True
    """

    def __init__(
        self,
        lmax: int,
        channels: int,
        hidden: int | None = None,
        *,
        odd: bool = False,
        backend: str = "auto",
        unit_weights: bool = True,
    ) -> None:
        product = GauntProduct(lmax, lmax, lmax, hidden or channels, odd=odd, backend=backend)
        super().__init__(product, lmax, channels, hidden, unit_weights=unit_weights)
