"""Layers and inputs that the tests of the layers on orientations have in common."""

import torch

from equinet.nn import FiberBundleConv
from equinet.o3 import orientation_grid

EDGES = torch.randint(0, 6, (2, 20), generator=torch.Generator().manual_seed(2))


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def bundle(kernel, grid="icosahedron12", channels=4):
    """A layer with the arguments of a call."""
    grid = orientation_grid(grid)
    layer = FiberBundleConv(grid, channels, 5, kernel=kernel).double()
    count, dimension = grid.points.shape
    basis = draw(20, count, 5) if kernel == "mlp" else draw(20, 5)
    return layer, (draw(6, count, channels), draw(20, dimension), basis, EDGES)


def unit_signal(count, place, channels):
    signal = torch.zeros(1, count, channels, dtype=torch.float64)
    signal[:, place] = 1
    return signal
