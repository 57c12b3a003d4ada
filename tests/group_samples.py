"""Quadratures and images that the tests of the layers on groups have in common."""

import torch
from torch import nn

from equinet.lie import CSO, GL, SL, SO, Window, group_quadrature

NARROW = Window(stretch=0.3, scale=0.3)
RULES = {
    "se2": group_quadrature(SO(2), 8),
    "sim2": group_quadrature(CSO(2), 4, scales=2, window=NARROW),
    "sl2": group_quadrature(SL(2), 4, 5, window=NARROW),
    "gl2": group_quadrature(GL(2), 4, 5, scales=2, window=NARROW),
}


def images(size: int = 16, count: int = 2, dimension: int = 2) -> torch.Tensor:
    """Random ink in the middle of a black frame."""
    ink = torch.rand(count, 1, *[size - 8] * dimension)
    return nn.functional.pad(ink, [4, 4] * dimension)


def turned(x: torch.Tensor, quarters: int = 1, axes: tuple[int, int] = (-2, -1)) -> torch.Tensor:
    return x.rot90(quarters, axes)
