"""Steerable linear layers: linear in the features, with weights that depend on attributes."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.sphere.couplings import ClebschGordanCoupling, GauntCoupling
from equinet.o3 import contract

SteerableProduct = Literal["cg", "gaunt", "gaunt+odd"]
"""Name of a product of features with attributes, see :class:`SteerableLinear`."""


class SteerableLinear(nn.Module):
    r"""Map features linearly, by a product with attributes: :math:`x \mapsto W_a x`.

    Attributes are coefficients of a function on the sphere, such as the spherical harmonics of the
    direction of an edge. Products:

    - ``cg``: all paths of the Clebsch-Gordan product, each with a matrix of channels of its own.
    - ``gaunt``: a matrix of channels per degree, the Gaunt product with the attributes, and another
      matrix per degree. Only paths of even l1 + l2 + l3 exist, the features have natural parity.
    - ``gaunt+odd``: the same with the Poisson bracket added, which supplies the other paths.

    With ``cg`` and ``gaunt+odd`` features have a second, pseudo half of channels behind the first,
    whose parity is ``(-1)^(l+1)``: cross products of vectors are kept there. The layer commutes
    with rotations and reflections in all cases.

    The layer is a sum of mixed inputs (:meth:`mix`), which can be computed for nodes, followed by a
    coupling with the attributes of edges (:meth:`couple`). Inputs and attributes of unit variance
    give outputs of unit variance at the start. Weights have the size at which they are used, as in
    ``nn.Linear``.

    Args:
        lmax: Highest degree of the features.
        lmax_attributes: Highest degree of the attributes.
        in_channels: Number of channels of each half of an input.
        out_channels: Number of channels of each half of the output.
        product: Name of the product: ``cg``, ``gaunt`` or ``gaunt+odd``.
        inputs: Number of inputs that are mixed with weights of their own and added.
        scalars: Number of scalars that are a further input.

    Source: Brandstetter et al., Geometric and physical quantities improve E(3) equivariant message
    passing (ICLR 2022), §2; the factorized weights are those of Luo et al. (ICLR 2024).

    Example:
        >>> layer = SteerableLinear(1, 1, in_channels=8, out_channels=16, product="cg")
        >>> layer(torch.randn(5, 4, 2 * 8), torch.randn(5, 4)).shape
        torch.Size([5, 4, 32])
    """

    def __init__(
        self,
        lmax: int,
        lmax_attributes: int,
        in_channels: int,
        out_channels: int,
        *,
        product: SteerableProduct,
        inputs: int = 1,
        scalars: int = 0,
    ) -> None:
        super().__init__()
        self.channels = out_channels
        self.coupling: ClebschGordanCoupling | GauntCoupling
        pseudo = has_pseudo_half(product)
        degrees, odd = list(range(lmax + 1)), [False] * (lmax + 1)
        factors, self.out = [1.0], None
        if product == "cg":
            self.coupling = ClebschGordanCoupling(lmax, lmax_attributes, lmax, pseudo=pseudo)
            degrees = [path[0] for path in self.coupling.paths]
            odd = [sum(path) % 2 == 1 for path in self.coupling.paths]
        else:
            self.coupling = GauntCoupling(lmax, lmax_attributes, lmax, out_channels, pseudo=pseudo)
            factors = self.coupling.factors_in
            self.out = PathLinear(
                degrees,
                out_channels,
                out_channels,
                halves=1 + pseudo,
                factors=self.coupling.factors_out,
            )
        fan_in = in_channels * (inputs + (scalars > 0))
        self.mixes = nn.ModuleList(
            PathLinear(
                degrees,
                in_channels,
                out_channels,
                halves=1 + pseudo,
                exchanged=odd,
                factors=factors,
                fan_in=fan_in,
                bias=index == 0,
            )
            for index in range(inputs)
        )
        # Scalars are features of degree zero, which are the first rows.
        self.scalar_rows = degrees.count(0)
        size = factors[0] / math.sqrt(max(1, scalars) * (inputs + 1))
        weight = torch.randn(scalars, self.scalar_rows * out_channels) * size
        self.scalar_weight = nn.Parameter(weight) if scalars else None

    def forward(
        self,
        x: Float[Tensor, "*batch lm in_channel"],
        attributes: Float[Tensor, "*batch lm_attribute"],
    ) -> Float[Tensor, "*batch lm out_channel"]:
        """Apply a layer of one input.

        Args:
            x: Coefficients [..., (lmax+1)², in_channels], with the pseudo half behind.
            attributes: Coefficients [..., (lmax_attributes+1)²].

        Returns:
            The coefficients [..., (lmax+1)², out_channels], with the pseudo half behind.
        """
        return self.couple(self.mix(x), attributes)

    def mix(
        self, x: Float[Tensor, "*batch lm in_channel"], index: int = 0
    ) -> Float[Tensor, "*batch row hidden_channel"]:
        """Mix the channels of one input.

        Args:
            x: Coefficients [..., (lmax+1)², in_channels], with the pseudo half behind.
            index: Index of the input.

        Returns:
            The mixed input, to be added to others.
        """
        mixed: Tensor = self.mixes[index](x)
        return mixed

    def couple(
        self,
        mixed: Float[Tensor, "*batch row hidden_channel"],
        attributes: Float[Tensor, "*batch lm_attribute"],
        scalars: Float[Tensor, "*batch scalar"] | None = None,
    ) -> Float[Tensor, "*batch lm out_channel"]:
        """Couple mixed inputs with attributes.

        Args:
            mixed: Sum of the results of :meth:`mix`.
            attributes: Coefficients [..., (lmax_attributes+1)²].
            scalars: Scalars [..., scalars]; None where the layer has none.

        Returns:
            The coefficients [..., (lmax+1)², out_channels], with the pseudo half behind.
        """
        if self.scalar_weight is not None and scalars is not None:
            added = scalars @ self.scalar_weight
            added = added.unflatten(-1, (self.scalar_rows, self.channels))
            mixed = mixed.clone()
            mixed[..., : self.scalar_rows, : self.channels] += added
        z: Tensor = self.coupling(mixed, attributes)
        return z if self.out is None else self.out(z)

    def channel_matrices(self) -> list[nn.Parameter]:
        """Return the weights of the scalars; other matrices belong to modules of their own."""
        return [] if self.scalar_weight is None else [self.scalar_weight]


class PathLinear(nn.Module):
    """Mix channels with one matrix per path; several paths may begin at the same degree.

    Args:
        degrees: Degree of each path; the result has 2 l + 1 rows for a path of degree l.
        in_channels: Number of channels of each half of the input.
        out_channels: Number of channels of each half of the result.
        halves: Number of halves of the channels, 1 or 2, each with matrices of its own.
        exchanged: Whether each path takes the other half of the input; None stands for no path.
        factors: Factor of the matrices of each path, or of all paths.
        fan_in: Number of terms in a sum of unit variance, ``in_channels`` by default.
        bias: Whether learned constants are added to paths of degree zero in the first half.

    Example:
        >>> PathLinear((0, 1, 1), 8, 16)(torch.randn(5, 4, 8)).shape
        torch.Size([5, 7, 16])
    """

    sources: Tensor
    paths: Tensor

    def __init__(
        self,
        degrees: Sequence[int],
        in_channels: int,
        out_channels: int,
        *,
        halves: int = 1,
        exchanged: Sequence[bool] | None = None,
        factors: Sequence[float] = (1.0,),
        fan_in: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.halves = halves
        weight = torch.randn(len(degrees), halves, in_channels, out_channels)
        gains = torch.tensor(factors) / math.sqrt(fan_in or in_channels)
        self.weight = nn.Parameter(weight * gains[:, None, None, None])
        constants = torch.zeros(list(degrees).count(0), out_channels)
        self.bias = nn.Parameter(constants) if bias else None
        # Rows of the result with their halves, and where each comes from.
        rows = [
            (component * halves + (half ^ other), path * halves + half)
            for path, (degree, other) in enumerate(
                zip(degrees, exchanged or [False] * len(degrees), strict=True)
            )
            for component in range(degree**2, (degree + 1) ** 2)
            for half in range(halves)
        ]
        sources, paths = torch.tensor(rows).T
        self.keeps_order = torch.equal(sources, torch.arange(halves * (max(degrees) + 1) ** 2))
        self.register_buffer("sources", sources, persistent=False)
        self.register_buffer("paths", paths, persistent=False)

    def forward(
        self, x: Float[Tensor, "*batch lm in_channel"]
    ) -> Float[Tensor, "*batch row out_channel"]:
        """Mix the channels of coefficients [..., (lmax+1)², halves · in_channels]."""
        rows = x.unflatten(-1, (self.halves, -1)).flatten(-3, -2)
        if not self.keeps_order:
            rows = rows.index_select(-2, self.sources)
        weight = self.weight.flatten(0, 1).index_select(0, self.paths)
        mixed = contract("...ri,rio->...ro", rows, weight)
        mixed = mixed.unflatten(-2, (-1, self.halves)).flatten(-2)
        if self.bias is not None:
            mixed[..., : self.bias.shape[0], : self.bias.shape[1]] += self.bias
        return mixed

    def channel_matrices(self) -> list[nn.Parameter]:
        """Return the parameters whose last two dimensions map channels to channels."""
        return [self.weight]


def has_pseudo_half(product: SteerableProduct) -> bool:
    """Tell whether features of a product have a pseudo half of channels.

    Args:
        product: Name of the product.

    Example:
        >>> has_pseudo_half("cg"), has_pseudo_half("gaunt")
        (True, False)
    """
    return product != "gaunt"
