"""Convolutions of bundle fields with separable kernels."""

import pytest
import torch
from orientation_layers import bundle, unit_signal

from equinet.o3 import orientation_grid, zonal_polynomials
from equinet.ops import segment_sum


@pytest.mark.parametrize("grid", ["icosahedron12", "fibonacci7", "circle6", "circle5"])
@pytest.mark.parametrize("kernel", ["mlp", "zonal"])
def test_separable_kernel_is_the_product_of_its_factors(kernel, grid):
    layer, (x, vectors, basis, edge_index) = bundle(kernel, grid)
    points, weights, _ = orientation_grid(grid)
    if kernel == "mlp":
        spatial = layer.spatial(basis)
        count = len(points)
        fiber = torch.stack(
            [layer._over_fibers(unit_signal(count, o, 4))[0] for o in range(count)], dim=1
        )
    else:
        zonal = zonal_polynomials(2, vectors.unsqueeze(1), points)
        spatial = torch.einsum("eok,ekc->eoc", zonal, layer.radial(basis))
        fiber = zonal_polynomials(2, points, points.unsqueeze(1)) @ layer.fiber
        fiber = fiber * weights.unsqueeze(-1)
    # The kernel on pairs of positions and orientations, written out.
    kernels = torch.einsum("opc,epc->eopc", fiber, spatial)
    messages = torch.einsum("eopc,epc->eoc", kernels, x[edge_index[0]])
    own = torch.einsum("opc,npc->noc", fiber, layer.own * x)
    expected = own + segment_sum(messages, edge_index[1], 6)
    found = layer(x, vectors, basis, edge_index)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("count", [12, 20])
def test_means_over_orientations_divide_by_their_number(count):
    """A constant stays the same constant on any grid, whatever the number of channels."""
    grid = {12: "icosahedron12", 20: "dodecahedron20"}[count]
    layer, _ = bundle("zonal", grid)
    with torch.no_grad():
        layer.fiber[0] = 1
    constant = layer._over_fibers(torch.ones(1, count, 4, dtype=torch.float64))
    torch.testing.assert_close(constant, torch.ones_like(constant), rtol=0, atol=1e-14)


def test_kernels_on_the_circle_know_left_from_right():
    layer, _ = bundle("mlp", "circle6")
    kernel = torch.stack([layer._over_fibers(unit_signal(6, o, 4))[0] for o in range(6)], dim=1)
    # Circulant, but not symmetric.
    for shift in range(6):
        torch.testing.assert_close(kernel.roll((shift, shift), (0, 1)), kernel)
    assert (kernel - kernel.transpose(0, 1)).abs().max() > 1e-3


@pytest.mark.parametrize("kernel", ["mlp", "zonal"])
def test_an_edge_that_is_there_twice_counts_twice(kernel):
    layer, (x, vectors, basis, edge_index) = bundle(kernel)
    once = layer._over_edges(x, vectors, basis, edge_index)
    twice = layer._over_edges(
        x, vectors.repeat(2, 1), torch.cat([basis, basis]), edge_index.repeat(1, 2)
    )
    torch.testing.assert_close(twice, 2 * once)
