"""Feature interaction: two equivariant features multiplied as functions on the sphere."""

from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.sphere.degrees import scale_degrees
from equinet.nn.sphere.linear import DegreeLinear
from equinet.nn.sphere.norm import DegreeNorm
from equinet.nn.sphere.paths import PathWeights
from equinet.ops import bracket_product, gaunt_product


class GauntProduct(nn.Module):
    r"""Channel-wise Gaunt product with one learned weight per degree of x, y and z.

    The full tensor product has a weight per path (l1, l2, l3); the product of functions needs the
    factorized form :math:`w_{l_1} w_{l_2} w_{l_3}`, which commutes with the fast transforms. The
    weights multiply fixed factors that bring every path close to the component normalization of
    e3nn, so unit-variance inputs give outputs of about unit variance.

    Args:
        lmax1: Largest degree of x.
        lmax2: Largest degree of y.
        lmax_out: Largest degree kept of the product.
        channels: Number of channels.
        odd: Add the Poisson bracket, which supplies the paths of odd l1 + l2 + l3 (the cross
            product among them). The sum is equivariant under rotations; a reflection turns the
            sign of the odd part, so use it where parity is not tracked.
        backend: Of :func:`equinet.ops.gaunt_product`.

    Source: Luo, Chen, Krishnapriyan, Enabling efficient equivariant operations in the Fourier
    basis via Gaunt tensor products (ICLR 2024), §3.3; the bracket is the antisymmetric companion.

    Example:
        >>> GauntProduct(2, 2, 2, channels=8)(torch.randn(5, 9, 8), torch.randn(5, 9, 8)).shape
        torch.Size([5, 9, 8])
    """

    def __init__(
        self,
        lmax1: int,
        lmax2: int,
        lmax_out: int,
        channels: int,
        *,
        odd: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.lmax_out = lmax_out
        self.backend = backend
        self.even = PathWeights(lmax1, lmax2, lmax_out, channels, odd=False)
        self.odd = PathWeights(lmax1, lmax2, lmax_out, channels, odd=True) if odd else None

    def forward(
        self, x: Float[Tensor, "*batch lm1 channel"], y: Float[Tensor, "*batch lm2 channel"]
    ) -> Float[Tensor, "*batch lm_out channel"]:
        """Multiply x and y and keep degrees 0 … lmax_out."""
        a, b, c = self.even()
        product = gaunt_product(
            scale_degrees(x, a), scale_degrees(y, b), self.lmax_out, backend=self.backend
        )
        z = scale_degrees(product, c)
        if self.odd is not None:
            a, b, c = self.odd()
            bracket = bracket_product(
                scale_degrees(x, a), scale_degrees(y, b), self.lmax_out, backend=self.backend
            )
            z = z + scale_degrees(bracket, c)
        return z


class SelfMix(nn.Module):
    """Let a feature interact with itself: a residual block around a bilinear product.

    ``x + out(product(a(norm(x)), b(norm(x))))`` with channel mixing per degree; ``out`` starts at
    zero, so a network begins as it was without the block.

    Args:
        product: Called with two features of ``hidden`` channels and degrees up to ``lmax``, returns
            a third.
        lmax: Largest degree.
        channels: Number of channels.
        hidden: Channels inside the product; as many as outside unless given.
        unit_weights: Of the channel mixing, see :class:`DegreeLinear`.

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
        lmax: Largest degree.
        channels: Number of channels.
        hidden: Channels inside the product; as many as outside unless given.
        odd: Add the bracket, see :class:`GauntProduct`.
        backend: Of :func:`equinet.ops.gaunt_product`.
        unit_weights: See :class:`SelfMix`.

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
