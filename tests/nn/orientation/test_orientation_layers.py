"""Convolutions over positions and orientations, and what they are made of."""

import pytest
import torch

from equinet.nn import (
    ConvNeXtBlock,
    FiberBundleConv,
    FullBundleConv,
    KernelBasis,
    LiftedConv,
    LogarithmicBasis,
    PositionConv,
    lift_graph,
)
from equinet.o3 import orientation_grid, zonal_polynomials
from equinet.ops import segment_sum

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


def unit_signal(count, place, channels):
    signal = torch.zeros(1, count, channels, dtype=torch.float64)
    signal[:, place] = 1
    return signal


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


def test_block_adds_its_input():
    layer = PositionConv(4, 5).double()
    block = ConvNeXtBlock(layer, 4).double()
    x, basis = draw(6, 4), draw(20, 5)
    for parameter in block.mixing[-1].parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(block(x, basis, EDGES), x)


def test_lift_points_to_the_sender_and_joins_all_pairs():
    pos = draw(4, 3)
    # Node 3 has no neighbors; node 2 has a loop, which has no direction.
    edge_index = torch.tensor([[1, 0, 2, 2], [0, 1, 0, 2]])
    sender, receiver = edge_index
    lifted = lift_graph(pos[sender] - pos[receiver], edge_index, 4)
    assert lifted.node.tolist() == [0, 0, 1]
    expected = torch.nn.functional.normalize(pos[[1, 2, 0]] - pos[[0, 0, 1]], dim=-1)
    torch.testing.assert_close(lifted.orientations, expected)
    pairs = set(map(tuple, torch.cat([lifted.edge_index, lifted.base_edge[None]]).T.tolist()))
    # Edge 0 from node 1 to 0, edge 1 back, then nodes 0 and 1 with themselves (4 + 0, 4 + 1).
    assert pairs == {
        *((2, 0, 0), (2, 1, 0)),
        *((0, 2, 1), (1, 2, 1)),
        *((0, 0, 4), (0, 1, 4), (1, 0, 4), (1, 1, 4), (2, 2, 5)),
    }


@pytest.mark.parametrize(("invariants", "degree", "count"), [(2, 3, 9), (1, 3, 3), (3, 3, 19)])
def test_each_monomial_occurs_once(invariants, degree, count):
    basis = KernelBasis(invariants, 4, degree)
    values = torch.tensor([2.0, 3.0, 5.0])[:invariants]
    monomials = basis.monomials(values).tolist()
    # Products of different primes are different.
    assert len(set(monomials)) == len(monomials) == count
    assert max(monomials) == values.max() ** degree


def test_logarithmic_basis_is_even_and_covers_all_scales():
    distances = torch.logspace(-2, 1.3, 200, dtype=torch.float64)
    basis = LogarithmicBasis()
    values = basis(distances)
    torch.testing.assert_close(basis(-distances), values)
    assert values.sum(-1).min() > 0.5
