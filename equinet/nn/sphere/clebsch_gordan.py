"""The full Clebsch-Gordan product, with a learned weight for every path."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.sphere.couplings import path_coupling
from equinet.nn.sphere.selfmix import SelfMix
from equinet.o3 import constant_table, matmul
from equinet.ops import working_dtype


class ClebschGordanProduct(nn.Module):
    r"""Channel-wise product of two features with one weight per path (l1, l2, l3) and channel.

    :math:`z_{l_3} = \frac{1}{\sqrt{n_{l_3}}} \sum_{l_1 l_2} w_{l_1 l_2 l_3}
    \sqrt{2 l_3 + 1}\, C^{l_3}_{l_1 l_2}(x_{l_1}, y_{l_2})`, with all paths of even and of odd
    l1 + l2 + l3, ``n`` of them to each degree: unit-variance inputs give outputs of unit variance.
    Its cost grows as the fifth power of the degree and more; :class:`GauntProduct` is the fast
    relative, whose weights are factorized. A reflection changes the sign of the odd paths.

    Args:
        lmax1: Highest degree of x.
        lmax2: Highest degree of y.
        lmax_out: Highest degree kept of the product.
        channels: Number of channels.

    Source: Thomas et al., Tensor field networks (2018); the couplings are exact, from
    :func:`equinet.o3.gaunt_tensor` and :func:`equinet.o3.bracket_tensor` without their gains.

    Example:
        >>> ClebschGordanProduct(2, 2, 2, channels=8)(
        ...     torch.randn(5, 9, 8), torch.randn(5, 9, 8)
        ... ).shape
        torch.Size([5, 9, 8])
    """

    def __init__(self, lmax1: int, lmax2: int, lmax_out: int, channels: int) -> None:
        super().__init__()
        self.degrees = (lmax1, lmax2, lmax_out)
        self.weight = nn.Parameter(torch.ones(len(_paths(lmax1, lmax2, lmax_out)), channels))

    def forward(
        self, x: Float[Tensor, "*batch lm1 channel"], y: Float[Tensor, "*batch lm2 channel"]
    ) -> Float[Tensor, "*batch lm_out channel"]:
        """Multiply x and y and keep degrees 0 … lmax_out."""
        lmax1, lmax2, lmax_out = self.degrees
        dtype = working_dtype(torch.promote_types(x.dtype, y.dtype))
        x, y, weight = x.to(dtype), y.to(dtype), self.weight.to(dtype)
        parts: list[list[Tensor]] = [[] for _ in range(lmax_out + 1)]
        path = 0
        for l1 in range(lmax1 + 1):
            for l2 in range(lmax2 + 1):
                outputs = _outputs(l1, l2, lmax_out)
                if not outputs:
                    continue
                left = x[..., l1**2 : (l1 + 1) ** 2, :].unsqueeze(-2)
                right = y[..., l2**2 : (l2 + 1) ** 2, :].unsqueeze(-3)
                # All pairs of components first: one small matrix then serves all degrees.
                pairs = (left * right).flatten(-3, -2)
                couplings = _couplings(l1, l2, lmax_out, dtype=dtype, device=x.device)
                coupled = matmul(couplings, pairs)
                sizes = [2 * l3 + 1 for l3 in outputs]
                for l3, part in zip(outputs, coupled.split(sizes, dim=-2), strict=True):
                    parts[l3].append(part * weight[path])
                    path += 1
        return torch.cat(
            [torch.stack(each).sum(0) / math.sqrt(len(each)) for each in parts], dim=-2
        )


class ClebschGordanSelfMix(SelfMix):
    """A feature that interacts with itself by the full product; see :class:`SelfMix`.

    Args:
        lmax: Highest degree of the feature.
        channels: Number of channels.
        hidden: Number of channels inside the product, ``channels`` by default.
        unit_weights: Whether the weights of the channel mixing are of order one, see
            :class:`DegreeLinear`.

    Example:
        >>> x = torch.randn(5, 9, 8)
        >>> torch.equal(ClebschGordanSelfMix(2, channels=8)(x), x)
        True
    """

    def __init__(
        self, lmax: int, channels: int, hidden: int | None = None, *, unit_weights: bool = True
    ) -> None:
        product = ClebschGordanProduct(lmax, lmax, lmax, hidden or channels)
        super().__init__(product, lmax, channels, hidden, unit_weights=unit_weights)


def _outputs(l1: int, l2: int, lmax_out: int) -> list[int]:
    """Return the degrees that l1 and l2 couple to."""
    return list(range(abs(l1 - l2), min(l1 + l2, lmax_out) + 1))


def _paths(lmax1: int, lmax2: int, lmax_out: int) -> list[tuple[int, int, int]]:
    return [
        (l1, l2, l3)
        for l1 in range(lmax1 + 1)
        for l2 in range(lmax2 + 1)
        for l3 in _outputs(l1, l2, lmax_out)
    ]


@constant_table
def _couplings(l1: int, l2: int, lmax_out: int) -> np.ndarray:
    """Component-normalized couplings of all degrees [m3 of each l3, m1 m2]."""
    couplings = (path_coupling(l1, l2, l3) for l3 in _outputs(l1, l2, lmax_out))
    return np.concatenate(
        [coupling.transpose(2, 0, 1).reshape(coupling.shape[2], -1) for coupling in couplings]
    )
