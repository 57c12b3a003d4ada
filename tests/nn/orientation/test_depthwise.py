"""Calibration of the depth-wise convolutions, and those without a grid."""

import pytest
import torch
from orientation_layers import EDGES, bundle, draw

from equinet.nn import (
    FullBundleConv,
    LiftedConv,
    PositionConv,
)
from equinet.o3 import orientation_grid


@pytest.mark.parametrize("layer", [PositionConv(4, 5), LiftedConv(4, 5)])
def test_kernels_without_a_grid_sum_over_neighbors(layer):
    layer = layer.double()
    x, basis = draw(6, 4), draw(20, 5)
    kernel = layer.kernel(basis) if isinstance(layer, LiftedConv) else layer.radial(basis)[:, 0]
    expected = torch.zeros(6, 4, dtype=torch.float64)
    for edge, (sender, receiver) in enumerate(EDGES.T.tolist()):
        expected[receiver] += kernel[edge] * x[sender]
    if isinstance(layer, PositionConv):
        expected = expected + layer.own * x
    torch.testing.assert_close(layer(x, basis, EDGES), expected)


@pytest.mark.parametrize("kernel", ["mlp", "zonal"])
def test_calibration_balances_a_node_and_its_neighbors(kernel):
    layer, (x, *geometry) = bundle(kernel)
    layer.calibrate(x, *geometry)
    neighbors = layer._over_edges(x, *geometry)
    sizes = torch.stack([(layer.own * x).std(), neighbors.std()])
    torch.testing.assert_close(sizes[0], sizes[1])
    torch.testing.assert_close(layer(x, *geometry).std(), x.std())


def test_calibration_balances_full_kernels_too():
    layer = FullBundleConv(orientation_grid("icosahedron12"), 4, 5).double()
    x, *geometry = draw(6, 12, 4), draw(20, 12, 12, 5), draw(12, 12, 5), EDGES
    layer.calibrate(x, *geometry)
    basis, own_basis, _ = geometry
    own, neighbors = layer._over_own_fiber(x, own_basis), layer._over_edges(x, basis, EDGES)
    torch.testing.assert_close(own.std(), neighbors.std())
    torch.testing.assert_close(layer(x, *geometry).std(), x.std())


def test_calibration_leaves_no_state_behind():
    layer, arguments = bundle("zonal")
    names = set(layer.state_dict())
    layer.calibrate(*arguments)
    assert set(layer.state_dict()) == names
