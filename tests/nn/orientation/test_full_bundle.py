"""Convolutions of bundle fields with kernels that do not factorize."""

import pytest
import torch
from orientation_layers import bundle, draw, unit_signal

from equinet.nn import (
    FullBundleConv,
)
from equinet.o3 import orientation_grid


@pytest.mark.parametrize("grid", ["octahedron6", "fibonacci5", "circle5"])
def test_full_kernel_written_out_as_a_loop(grid):
    grid = orientation_grid(grid)
    count, channels = len(grid.points), 3
    layer = FullBundleConv(grid, channels, 4).double()
    with torch.no_grad():
        layer.bias.normal_()
    x, basis, own_basis = draw(4, count, channels), draw(7, count, count, 4), draw(count, count, 4)
    edge_index = torch.tensor([[0, 1, 2, 2, 0, 1, 1], [1, 0, 1, 1, 2, 2, 1]])
    expected = layer.bias.expand(4, count, channels).clone()
    for o in range(count):
        for p in range(count):
            weight = grid.weights[p]
            for node in range(4):
                own = layer.own.weight @ own_basis[o, p]
                expected[node, o] += weight * own * x[node, p]
            for edge, (sender, receiver) in enumerate(edge_index.T.tolist()):
                kernel = layer.kernel.weight @ basis[edge, o, p]
                expected[receiver, o] += weight * kernel * x[sender, p]
    found = layer(x, basis, own_basis, edge_index)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_full_kernel_that_factorizes_is_the_separable_one():
    separable, (x, vectors, basis, edge_index) = bundle("mlp")
    with torch.no_grad():
        separable.own.normal_()
    weights = orientation_grid("icosahedron12").weights.unsqueeze(-1)
    fiber = torch.stack(
        [separable._over_fibers(unit_signal(12, o, 4))[0] for o in range(12)], dim=1
    )
    full = FullBundleConv(orientation_grid("icosahedron12"), 4, 4).double()
    with torch.no_grad():
        full.kernel.weight.copy_(torch.eye(4))
        full.own.weight.copy_(torch.eye(4))
    fiber = fiber / weights
    product = torch.einsum("opc,epc->eopc", fiber, separable.spatial(basis))
    found = full(x, product, fiber * separable.own, edge_index)
    expected = separable(x, vectors, basis, edge_index)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
