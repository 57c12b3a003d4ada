"""Products of functions on the sphere as contractions with the exact float64 tensors."""

import numpy as np
import torch
from torch import Tensor

from equinet.o3 import bracket_tensor, constant_table, contract, degree_of, gaunt_tensor
from equinet.ops.operands import with_degrees


def gaunt_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Compute the product of two functions with the integrals of three harmonics.

    Example:
        >>> gaunt_product(torch.ones(4, 2), torch.ones(4, 1), lmax_out=2).shape
        torch.Size([9, 2])
    """
    degrees = degree_of(x), degree_of(y), lmax_out
    couplings = _gaunt(*degrees, dtype=x.dtype, device=x.device)
    return contract("ijk,...ic,...jc->...kc", couplings, *_same_channels(x, y))


def bracket_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Compute the bracket of two functions with the integrals of ``n . (grad Y x grad Y) Y``.

    Example:
        >>> x = torch.randn(4, 2)
        >>> bool(bracket_product(x, x, lmax_out=1).abs().max() < 1e-6)
        True
    """
    degrees = degree_of(x), degree_of(y), lmax_out
    couplings = _bracket(*degrees, dtype=x.dtype, device=x.device)
    return contract("ijk,...ic,...jc->...kc", couplings, *_same_channels(x, y))


def gaunt_powers(x: Tensor, order: int, lmax_out: int) -> Tensor:
    """Return the powers 2 to ``order`` along a new first axis; each is exact before truncation.

    Example:
        >>> gaunt_powers(torch.ones(4, 2), order=3, lmax_out=1).shape
        torch.Size([2, 4, 2])
    """
    size = (lmax_out + 1) ** 2
    power, powers = x, []
    for _ in range(order - 1):
        power = gaunt_product(power, x, degree_of(power) + degree_of(x))
        powers.append(with_degrees(power[..., :size, :], lmax_out))
    return torch.stack(powers)


def _same_channels(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x, y.expand(*y.shape[:-1], x.shape[-1])


@constant_table
def _gaunt(lmax1: int, lmax2: int, lmax_out: int) -> np.ndarray:
    return gaunt_tensor(lmax1, lmax2, lmax_out).numpy()


@constant_table
def _bracket(lmax1: int, lmax2: int, lmax_out: int) -> np.ndarray:
    return bracket_tensor(lmax1, lmax2, lmax_out).numpy()
