import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from equinet.o3 import rotate, spherical_harmonics
from equinet.ops import available_backends, gaunt_convolution

DEGREES = [(0, 3, 3), (0, 2, 4), (0, 3, 1), (1, 0, 2), (2, 3, 3), (3, 2, 0), (1, 1, 5)]


def graph(lmax, lmax_filter, nodes=5, edges=12, channels=3):
    """Random features, directions and weights; the last node is isolated, edges are unsorted."""
    x = torch.randn(nodes, (lmax + 1) ** 2, channels, dtype=torch.float64, requires_grad=True)
    directions = torch.randn(edges, 3, dtype=torch.float64, requires_grad=True)
    radial = torch.randn(edges, lmax_filter + 1, channels, dtype=torch.float64, requires_grad=True)
    return x, directions, radial, torch.randint(0, nodes - 1, (2, edges))


def derivatives(function, operands):
    """The value, and its first three derivatives along fixed nonlinear functionals."""
    options = {"create_graph": True, "allow_unused": True, "materialize_grads": True}
    weights = torch.randn(
        function(*operands).shape,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(1),
    )
    z = function(*operands)
    first = torch.autograd.grad((z.square() * weights).sum(), operands, **options)
    second = torch.autograd.grad(sum((each**3).sum() for each in first), operands, **options)
    third = torch.autograd.grad(sum((each**2).sum() for each in second), operands, **options)
    return [z, *first, *second, *third]


@pytest.mark.parametrize("degrees", DEGREES)
def test_backends_agree_to_third_derivatives(degrees):
    lmax, lmax_filter, lmax_out = degrees
    *operands, edge_index = graph(lmax, lmax_filter)
    expected = None
    usable = available_backends("gaunt_convolution")
    for backend in (name for name, reason in usable.items() if not reason):
        found = derivatives(
            lambda x, d, r, b=backend: gaunt_convolution(x, d, r, edge_index, lmax_out, backend=b),
            operands,
        )
        assert found[0].shape == (5, (lmax_out + 1) ** 2, 3)
        assert (found[0][-1] == 0).all()
        expected = expected or found
        for ours, truth in zip(found, expected, strict=True):
            scale = max(1.0, truth.abs().max().item())
            torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("degrees", DEGREES)
def test_convolutions_may_share_harmonics(degrees, backend):
    lmax, lmax_filter, lmax_out = degrees
    *operands, edge_index = graph(lmax, lmax_filter)

    def convolve(x, directions, radial, *, shares):
        harmonics = spherical_harmonics(lmax_filter, directions) if shares else None
        # What is evaluated already is not asked for again.
        vectors = torch.full_like(directions, math.nan) if shares else directions
        return gaunt_convolution(
            x, vectors, radial, edge_index, lmax_out, harmonics=harmonics, backend=backend
        )

    expected = derivatives(partial(convolve, shares=False), operands)
    for ours, truth in zip(
        derivatives(partial(convolve, shares=True), operands), expected, strict=True
    ):
        scale = max(1.0, truth.abs().max().item())
        torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12 * scale)


def test_is_the_sum_of_products_of_functions(backend):
    x, directions, radial, edge_index = graph(2, 1)
    z = gaunt_convolution(x, directions, radial, edge_index, 3, backend=backend)
    points = torch.randn(20, 3, dtype=torch.float64)
    harmonics = spherical_harmonics(3, points)
    summed = torch.zeros(5, 20, 3, dtype=torch.float64)
    cosine = torch.nn.functional.normalize(directions) @ torch.nn.functional.normalize(points).T
    for edge, (sender, receiver) in enumerate(edge_index.T.tolist()):
        zonal = radial[edge, 0] / (4 * math.pi)
        zonal = zonal + radial[edge, 1] * 3 / (4 * math.pi) * cosine[edge, :, None]
        summed[receiver] += zonal * (harmonics[:, :9] @ x[sender])
    torch.testing.assert_close(harmonics @ z, summed)


@pytest.mark.parametrize("lmax", [0, 1])
def test_gradients(lmax):
    *operands, edge_index = graph(lmax, 1, nodes=3, edges=4, channels=1)

    def convolve(x, directions, radial):
        return gaunt_convolution(x, directions, radial, edge_index, 2)

    assert gradcheck(convolve, operands)
    assert gradgradcheck(convolve, operands, fast_mode=True)


@pytest.mark.parametrize("reflect", [1, -1])
@pytest.mark.parametrize("lmax", [0, 2])
def test_equivariant(lmax, reflect, random_rotation):
    x, directions, radial, edge_index = graph(lmax, 3)
    turn = reflect * random_rotation
    before = gaunt_convolution(rotate(x, turn, 1), directions @ turn.T, radial, edge_index, 3)
    after = rotate(gaunt_convolution(x, directions, radial, edge_index, 3), turn, 1)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(
    degrees=st.tuples(*3 * [st.integers(0, 3)]),
    nodes=st.integers(2, 5),
    edges=st.integers(0, 9),
    channels=st.sampled_from([1, 2, 33]),
)
def test_any_graph(degrees, nodes, edges, channels):
    lmax, lmax_filter, lmax_out = degrees
    x, directions, radial, edge_index = graph(lmax, lmax_filter, nodes, edges, channels)
    z = gaunt_convolution(x, directions, radial, edge_index, lmax_out)
    expected = gaunt_convolution(x, directions, radial, edge_index, lmax_out, backend="reference")
    torch.testing.assert_close(z, expected, rtol=0, atol=1e-12)
    # The order of the edges and the length of the directions do not matter.
    order = torch.randperm(edges)
    shuffled = gaunt_convolution(
        x, 3 * directions[order], radial[order], edge_index[:, order], lmax_out
    )
    torch.testing.assert_close(shuffled, expected, rtol=0, atol=1e-12)


def test_empty_graph():
    x, directions, radial, edge_index = graph(2, 1, nodes=2, edges=0)
    z = gaunt_convolution(x, directions, radial, edge_index, 2)
    assert torch.equal(z, torch.zeros(2, 9, 3, dtype=torch.float64))
    assert gaunt_convolution(x[:0], directions, radial, edge_index, 2).shape == (0, 9, 3)


def test_zero_vectors_are_finite(backend):
    x, directions, radial, edge_index = graph(1, 2)
    with torch.no_grad():
        directions[3] = 0
    z = gaunt_convolution(x, directions, radial, edge_index, 2, backend=backend)
    gradients = torch.autograd.grad(z.square().sum(), [x, directions, radial])
    assert all(each.isfinite().all() for each in (z, *gradients))


@pytest.mark.parametrize("lmax", [0, 2])
def test_layout_and_precision(lmax):
    x, directions, radial, edge_index = graph(lmax, 2)
    expected = gaunt_convolution(x, directions, radial, edge_index, 2)
    strided = [torch.stack([each, each], -1)[..., 0] for each in (x, directions, radial)]
    torch.testing.assert_close(gaunt_convolution(*strided, edge_index.int(), 2), expected)
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 3e-2)):
        z = gaunt_convolution(*(each.to(dtype) for each in (x, directions, radial)), edge_index, 2)
        assert z.dtype == dtype
        assert (z - expected).norm() < tolerance * expected.norm()


def test_is_reproducible():
    operands = [each.detach().float() for each in graph(2, 3, 40, 600, 16)[:3]]
    edge_index = torch.randint(0, 40, (2, 600))
    first, second = (gaunt_convolution(*operands, edge_index, 2) for _ in range(2))
    assert torch.equal(first, second)


def test_wrong_arguments_are_named():
    x, directions, radial, edge_index = graph(2, 3)
    with pytest.raises(ValueError, match=r"x must have shape .* found \[5, 8, 3\]"):
        gaunt_convolution(x[:, :8], directions, radial, edge_index, 2)
    with pytest.raises(ValueError, match=r"directions must have shape \[12, 3\], found \[11, 3\]"):
        gaunt_convolution(x, directions[1:], radial, edge_index, 2)
    with pytest.raises(ValueError, match=r"radial must have shape .* found \[12, 4, 2\]"):
        gaunt_convolution(x, directions, radial[..., :2], edge_index, 2)
    with pytest.raises(ValueError, match="radial must hold at least degree 0"):
        gaunt_convolution(x, directions, radial[:, :0], edge_index, 2)
    with pytest.raises(ValueError, match=r"edge_index must be .* found .* \[1, 12\]"):
        gaunt_convolution(x, directions, radial, edge_index[:1], 2)
    with pytest.raises(ValueError, match="radial must have the dtype of x"):
        gaunt_convolution(x, directions, radial.float(), edge_index, 2)
    with pytest.raises(ValueError, match="lmax_out must be at least 0"):
        gaunt_convolution(x, directions, radial, edge_index, -1)
    harmonics = spherical_harmonics(2, directions)
    with pytest.raises(ValueError, match=r"harmonics must have shape \[12, 16\].* found \[12, 9\]"):
        gaunt_convolution(x, directions, radial, edge_index, 2, harmonics=harmonics)
    harmonics = spherical_harmonics(3, directions).float()
    with pytest.raises(ValueError, match=r"harmonics must have the dtype of x, torch.float64"):
        gaunt_convolution(x, directions, radial, edge_index, 2, harmonics=harmonics)
