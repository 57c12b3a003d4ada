"""Products of functions on the sphere as contractions with the exact float64 tensors."""

import numpy as np
import torch
from torch import Tensor

from equinet.o3 import bracket_tensor, constant_table, contract, degree_of, gaunt_tensor
from equinet.ops.operands import with_degrees


def gaunt_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Contract with the integrals of three harmonics."""
    degrees = degree_of(x), degree_of(y), lmax_out
    couplings = _gaunt(*degrees, dtype=x.dtype, device=x.device)
    return contract("ijk,...ic,...jc->...kc", couplings, *_same_channels(x, y))


def bracket_product(x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
    """Contract with the integrals of ``n . (grad Y x grad Y) Y``."""
    degrees = degree_of(x), degree_of(y), lmax_out
    couplings = _bracket(*degrees, dtype=x.dtype, device=x.device)
    return contract("ijk,...ic,...jc->...kc", couplings, *_same_channels(x, y))


def gaunt_powers(x: Tensor, order: int, lmax_out: int) -> Tensor:
    """Return the powers 2 to ``order``, stacked in front: each exact before it is truncated."""
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
