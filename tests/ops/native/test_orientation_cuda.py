"""What only a GPU can show of the orientation convolution, against the float64 reference."""

import pytest
import torch

from equinet.o3 import orientation_grid
from equinet.ops import native, orientation_convolution

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}
GRIDS = ("icosahedron12", "repulsion7", "union32", "circle8", "circle5")
NODES, EDGES = 40, 700


@pytest.fixture(autouse=True)
def _need_the_kernels():
    # On a machine with a GPU, kernels that do not load are a failure, not a reason to skip.
    assert native.unavailable("filter_sum", "cuda") == ""


def graph(grid: str, lmax: int, *, channels: int, dtype: torch.dtype):
    """Unsorted edges between nodes of which the last one is isolated."""
    orientations = orientation_grid(grid)
    count, dimension = orientations.points.shape
    zonal = lmax + 1 if dimension == 3 else 2 * lmax + 1
    points = orientations.points[: count // 2] if orientations.antipodal else orientations.points
    return (
        torch.randn(NODES, count, channels, dtype=dtype, device="cuda"),
        torch.randn(EDGES, dimension, dtype=dtype, device="cuda"),
        torch.randn(EDGES, zonal, channels, dtype=dtype, device="cuda"),
        torch.randint(NODES - 1, (2, EDGES), device="cuda"),
        points.to("cuda", dtype),
    )


def results(operands, edge_index, points, backend):
    """The convolution, its gradients, and the gradients of a function of those."""
    operands = [each.detach().requires_grad_() for each in operands]
    y = orientation_convolution(*operands, edge_index, points, backend=backend)
    # At degree 0 nothing depends on the directions.
    total = y.square().sum()
    first = torch.autograd.grad(total, operands, create_graph=True, materialize_grads=True)
    total = sum(each.square().sum() for each in first)
    second = torch.autograd.grad(total, operands, materialize_grads=True)
    return [y, *first, *second]


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("channels", [1, 33, 128])
@pytest.mark.parametrize("lmax", [0, 2, 4])
@pytest.mark.parametrize("grid", GRIDS)
def test_equals_the_reference(grid, lmax, channels, dtype):
    *operands, edge_index, points = graph(grid, lmax, channels=channels, dtype=dtype)
    found = results(operands, edge_index, points, "native")
    exact = [each.double().cpu() for each in operands]
    expected = results(exact, edge_index.cpu(), points.double().cpu(), "reference")
    for ours, truth in zip(found, expected, strict=True):
        error = (ours.double().cpu() - truth).abs().max() / truth.abs().max().clamp_min(1e-30)
        # Gradients of gradients of squares are sums of many more terms than the convolution.
        assert error < (1 if ours is found[0] else 20) * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_rounds_the_result_alone(dtype):
    *operands, edge_index, points = graph("icosahedron12", 2, channels=64, dtype=dtype)
    found = orientation_convolution(*operands, edge_index, points, backend="native")
    assert found.dtype == dtype
    exact = [each.double().cpu() for each in (*operands, points)]
    *exact, exact_points = exact
    expected = orientation_convolution(*exact, edge_index.cpu(), exact_points, backend="reference")
    error = (found.double().cpu() - expected).abs() / expected.abs().max()
    assert error.max() < torch.finfo(dtype).eps


def test_same_bits_on_repetition():
    *operands, edge_index, points = graph("icosahedron12", 2, channels=64, dtype=torch.float32)
    first, second = (results(operands, edge_index, points, "native") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first[:4], second[:4], strict=True))


def test_nothing_in_nothing_out():
    x, vectors, radial, edge_index, points = graph("circle8", 1, channels=5, dtype=torch.float32)
    none = vectors[:0], radial[:0], edge_index[:, :0]
    y = orientation_convolution(x, *none, points, backend="native")
    assert torch.equal(y, torch.zeros_like(y))
