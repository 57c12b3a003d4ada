"""Couplings of features with attributes: the bilinear half of a steerable linear layer.

Features may have a second half of channels behind the first, whose parity is that of pseudovectors:
``(-1)^(l+1)`` instead of ``(-1)^l``. Couplings of even l1 + l2 + l3 keep the half, couplings of odd
l1 + l2 + l3 exchange the halves, so that all of them commute with rotations and with reflections.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.sphere.degrees import scale_degrees
from equinet.o3 import (
    bracket_gain,
    bracket_tensor,
    constant_table,
    gaunt_gain,
    gaunt_tensor,
    matmul,
    path_factors,
)
from equinet.ops import bracket_product, gaunt_product


class ClebschGordanCoupling(nn.Module):
    r"""Sum over all paths (l1, l2, l3), each with channels of its own; it has no weights.

    :math:`z_{l_3} = \frac{1}{\sqrt{n_{l_3}}} \sum_{l_1 l_2} \sqrt{2 l_3 + 1}\,
    C^{l_3}_{l_1 l_2}(x_{l_1 l_2 l_3}, y_{l_2})` with ``n`` paths to each degree. The input holds
    2 l1 + 1 rows for each path, see :attr:`paths`; the couplings of a node or edge with its
    attributes are one small matrix, which serves all channels.

    Args:
        lmax: Highest degree of the features.
        lmax_attributes: Highest degree of the attributes.
        lmax_out: Highest degree kept.
        pseudo: Whether the features have a pseudo half; otherwise there are no paths of odd sum.

    Attributes:
        paths: Degrees (l1, l2, l3) of each path, those of even sum first.

    Source: Thomas et al., Tensor field networks (2018); the couplings are exact, from
    :func:`equinet.o3.gaunt_tensor` and :func:`equinet.o3.bracket_tensor` without their gains.

    Example:
        >>> coupling = ClebschGordanCoupling(1, 1, 1)
        >>> coupling.paths
        [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
        >>> coupling(torch.randn(5, 8, 16), torch.randn(5, 4)).shape
        torch.Size([5, 4, 16])
    """

    def __init__(
        self, lmax: int, lmax_attributes: int, lmax_out: int, *, pseudo: bool = False
    ) -> None:
        super().__init__()
        self.sizes = (lmax, lmax_attributes, lmax_out, int(pseudo))
        self.paths = _paths(*self.sizes)

    def forward(
        self,
        x: Float[Tensor, "*batch row channel"],
        attributes: Float[Tensor, "*batch lm_attribute"],
    ) -> Float[Tensor, "*batch lm_out channel"]:
        """Couple.

        Args:
            x: Rows of all paths [..., rows, channels]. Rows of odd paths hold natural features in
                the pseudo half of the channels and the other way round.
            attributes: Coefficients [..., (lmax_attributes + 1)²] of natural parity.
        """
        table = _couplings(*self.sizes, dtype=attributes.dtype, device=attributes.device)
        matrix = matmul(attributes, table).unflatten(-1, ((self.sizes[2] + 1) ** 2, -1))
        return matmul(matrix, x)


class GauntCoupling(nn.Module):
    r"""Gaunt product with the attributes, with one weight per degree and channel of these.

    Together with a matrix of channels per degree before and behind it, the weight of a path is a
    sum of products :math:`w_{l_1} w_{l_2} w_{l_3}`. With a pseudo half the Poisson bracket is
    added, which exchanges the halves: then all paths of the Clebsch-Gordan product are there.

    Operands of unit variance give a result of about unit variance, if those of each degree have
    been multiplied by :attr:`factors_in` and the result is multiplied by :attr:`factors_out`.

    Args:
        lmax: Highest degree of the features.
        lmax_attributes: Highest degree of the attributes.
        lmax_out: Highest degree kept.
        channels: Number of channels of each half.
        pseudo: Whether the features have a pseudo half.

    Attributes:
        factors_in: Factor of each degree of the features.
        factors_out: Factor of each degree of the result.

    Source: Luo, Chen, Krishnapriyan, Enabling efficient equivariant operations in the Fourier
    basis via Gaunt tensor products (ICLR 2024), §3.3.

    Example:
        >>> GauntCoupling(1, 1, 1, channels=16)(torch.randn(5, 4, 16), torch.randn(5, 4)).shape
        torch.Size([5, 4, 16])
    """

    even_factors: Tensor
    odd_factors: Tensor

    def __init__(
        self, lmax: int, lmax_attributes: int, lmax_out: int, channels: int, *, pseudo: bool = False
    ) -> None:
        super().__init__()
        sizes = (lmax, lmax_attributes, lmax_out)
        paths = _paths(*sizes, int(pseudo))
        self.lmax_out = lmax_out
        a, b, c = path_factors(*sizes)
        number = torch.tensor([sum(path[2] == l3 for path in paths) for l3 in range(lmax_out + 1)])
        self.factors_in, self.factors_out = a.tolist(), (c / number.sqrt()).tolist()
        shape = (lmax_attributes + 1, channels * (1 + pseudo))
        # In float64 until they are used, so that a model of any precision has exact ones.
        self.register_buffer("even_factors", b.unsqueeze(-1), persistent=False)
        self.even_weight = nn.Parameter(torch.ones(shape))
        self.odd_weight = nn.Parameter(torch.ones(shape)) if pseudo else None
        odd = _factors_of_brackets(paths, a.tolist(), c.tolist(), lmax_attributes)
        self.register_buffer("odd_factors", odd.unsqueeze(-1), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "*batch lm channel"],
        attributes: Float[Tensor, "*batch lm_attribute"],
    ) -> Float[Tensor, "*batch lm_out channel"]:
        """Couple.

        Args:
            x: Coefficients [..., (lmax+1)², channels]; with a pseudo half [..., 2 channels].
            attributes: Coefficients [..., (lmax_attributes + 1)²] of natural parity.
        """
        y = attributes.unsqueeze(-1).expand(*attributes.shape, self.even_weight.shape[1])
        weights = self.even_weight * self.even_factors.to(self.even_weight.dtype)
        z = gaunt_product(x, scale_degrees(y, weights), self.lmax_out)
        if self.odd_weight is None:
            return z
        weights = self.odd_weight * self.odd_factors.to(self.odd_weight.dtype)
        return z + exchange_halves(bracket_product(x, scale_degrees(y, weights), self.lmax_out))


def exchange_halves(
    x: Float[Tensor, "*batch lm channel"],
) -> Float[Tensor, "*batch lm channel"]:
    """Exchange the natural and the pseudo half of the channels.

    Args:
        x: Coefficients [..., (lmax+1)², 2 channels].

    Example:
        >>> exchange_halves(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        tensor([[3., 4., 1., 2.]])
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat([second, first], dim=-1)


def coupled_paths(
    lmax: int, lmax_attributes: int, lmax_out: int, *, odd: bool
) -> list[tuple[int, int, int]]:
    """List the paths (l1, l2, l3) of even or of odd sum.

    Args:
        lmax: Highest degree of the features.
        lmax_attributes: Highest degree of the attributes.
        lmax_out: Highest degree kept.
        odd: Whether the sums are odd.

    Example:
        >>> coupled_paths(1, 1, 1, odd=False)
        [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    """
    return [
        (l1, l2, l3)
        for l1 in range(lmax + 1)
        for l2 in range(lmax_attributes + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, lmax_out) + 1)
        if (l1 + l2 + l3) % 2 == odd
    ]


def path_coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """Return the component-normalized coupling [2 l1 + 1, 2 l2 + 1, 2 l3 + 1] of a path.

    Operands of unit variance give a result of unit variance.

    Args:
        l1: Degree of the first operand.
        l2: Degree of the second operand.
        l3: Degree of the result, from |l1 - l2| to l1 + l2.

    Example:
        >>> path_coupling(0, 1, 1)[0].round(6)
        array([[1., 0., 0.],
               [0., 1., 0.],
               [0., 0., 1.]])
    """
    odd = (l1 + l2 + l3) % 2 == 1
    tensor, gain = (bracket_tensor, bracket_gain) if odd else (gaunt_tensor, gaunt_gain)
    block = tensor(l1, l2, l3).numpy()[l1**2 :, l2**2 :, l3**2 :]
    return block * (math.sqrt(2 * l3 + 1) / gain(l1, l2, l3))


def _factors_of_brackets(
    paths: list[tuple[int, int, int]], a: list[float], c: list[float], lmax_attributes: int
) -> Float[Tensor, " degree"]:
    """Return the factors of the attributes that bring paths of odd sum nearest to unit strength."""
    overlaps, squares = (torch.zeros(lmax_attributes + 1, dtype=torch.float64) for _ in range(2))
    for l1, l2, l3 in paths:
        strength = a[l1] * c[l3] * bracket_gain(l1, l2, l3)
        overlaps[l2] += strength * math.sqrt(2 * l3 + 1)
        squares[l2] += strength**2
    return overlaps / torch.where(squares > 0, squares, 1.0)


def _paths(
    lmax: int, lmax_attributes: int, lmax_out: int, pseudo: int
) -> list[tuple[int, int, int]]:
    paths = coupled_paths(lmax, lmax_attributes, lmax_out, odd=False)
    return paths + pseudo * coupled_paths(lmax, lmax_attributes, lmax_out, odd=True)


@constant_table
def _couplings(lmax: int, lmax_attributes: int, lmax_out: int, pseudo: int) -> np.ndarray:
    """Return component-normalized couplings [(lmax_attributes+1)², (lmax_out+1)² rows]."""
    paths = _paths(lmax, lmax_attributes, lmax_out, pseudo)
    blocks = []
    for l1, l2, l3 in paths:
        number = sum(path[2] == l3 for path in paths)
        block = np.zeros(((lmax_attributes + 1) ** 2, (lmax_out + 1) ** 2, 2 * l1 + 1))
        coupling = path_coupling(l1, l2, l3).transpose(1, 2, 0) / math.sqrt(number)
        block[l2**2 : (l2 + 1) ** 2, l3**2 : (l3 + 1) ** 2] = coupling
        blocks.append(block)
    return np.concatenate(blocks, axis=2).reshape((lmax_attributes + 1) ** 2, -1)
