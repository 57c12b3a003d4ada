"""Feature interaction: two equivariant features multiplied as functions on the sphere."""

from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.sphere.degrees import scale_degrees
from equinet.nn.sphere.paths import PathWeights
from equinet.ops import bracket_product, gaunt_product


class GauntProduct(nn.Module):
    r"""Channel-wise Gaunt product with one learned weight per degree of x, y and z.

    The full tensor product has a weight per path (l1, l2, l3); the product of functions needs the
    factorized form :math:`w_{l_1} w_{l_2} w_{l_3}`, which commutes with the fast transforms. The
    weights multiply fixed factors that bring every path close to the component normalization of
    e3nn, so unit-variance inputs give outputs of about unit variance.

    Args:
        lmax1: Highest degree of x.
        lmax2: Highest degree of y.
        lmax_out: Highest degree kept of the product.
        channels: Number of channels.
        odd: Whether the Poisson bracket is added, which supplies the paths of odd l1 + l2 + l3
            (among them the cross product). The sum is equivariant under rotations; a reflection
            changes the sign of the odd part, so use it only where parity is not tracked.
        backend: Backend of :func:`equinet.ops.gaunt_product`, chosen for the device by default.

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
