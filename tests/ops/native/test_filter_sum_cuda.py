"""What only a GPU can show of the native convolution, against the float64 reference on the CPU."""

import pytest
import torch

from equinet.ops import gaunt_convolution, native

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}
DEGREES = [(0, 3, 3), (0, 0, 0), (1, 0, 1), (2, 3, 3), (3, 5, 4), (8, 8, 8)]
NODES = 40


@pytest.fixture(autouse=True)
def _need_the_kernels():
    # On a machine with a GPU, kernels that do not load are a failure, not a reason to skip.
    assert native.unavailable("filter_sum", "cuda") == ""


def graph(lmax: int, lmax_filter: int, *, channels: int, dtype: torch.dtype):
    """Unsorted edges between nodes of which the last one is isolated."""
    # The reference multiplies edge by edge: at degree 8, 700 edges would take it minutes.
    edges = 700 if lmax < 5 else 30
    return (
        torch.randn(NODES, (lmax + 1) ** 2, channels, dtype=dtype, device="cuda"),
        torch.randn(edges, 3, dtype=dtype, device="cuda"),
        torch.randn(edges, lmax_filter + 1, channels, dtype=dtype, device="cuda"),
        torch.randint(NODES - 1, (2, edges), device="cuda"),
    )


def results(operands, edge_index, lmax_out, backend):
    """The convolution, its gradients, and the gradients of a function of those."""
    operands = [each.detach().requires_grad_() for each in operands]
    z = gaunt_convolution(*operands, edge_index, lmax_out, backend=backend)
    # At degree 0 nothing depends on the directions.
    total = z.square().sum()
    first = torch.autograd.grad(total, operands, create_graph=True, materialize_grads=True)
    total = sum(each.square().sum() for each in first)
    second = torch.autograd.grad(total, operands, materialize_grads=True)
    return [z, *first, *second]


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("channels", [1, 33, 128])
@pytest.mark.parametrize("degrees", DEGREES)
def test_equals_the_reference(degrees, channels, dtype):
    lmax, lmax_filter, lmax_out = degrees
    *operands, edge_index = graph(lmax, lmax_filter, channels=channels, dtype=dtype)
    found = results(operands, edge_index, lmax_out, "native")
    exact = [each.double().cpu() for each in operands]
    expected = results(exact, edge_index.cpu(), lmax_out, "reference")
    for ours, truth in zip(found, expected, strict=True):
        error = (ours.double().cpu() - truth).abs().max() / truth.abs().max().clamp_min(1e-30)
        # Gradients of gradients of squares are sums of many more terms than the convolution.
        assert error < (1 if ours is found[0] else 20) * TOLERANCE[dtype]


def test_same_bits_on_repetition():
    *operands, edge_index = graph(2, 3, channels=64, dtype=torch.float32)
    first, second = (results(operands, edge_index, 3, "native") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first[:4], second[:4], strict=True))


def test_on_another_stream():
    *operands, edge_index = graph(2, 3, channels=16, dtype=torch.float32)
    expected = gaunt_convolution(*operands, edge_index, 3, backend="native")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = gaunt_convolution(*operands, edge_index.int(), 3, backend="native")
    torch.cuda.current_stream().wait_stream(stream)
    assert torch.equal(found, expected)


def test_nothing_in_nothing_out():
    x, directions, radial, edge_index = graph(2, 1, channels=5, dtype=torch.float32)
    z = gaunt_convolution(x, directions[:0], radial[:0], edge_index[:, :0], 2, backend="native")
    assert torch.equal(z, torch.zeros_like(z))
