import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from equinet.o3 import orientation_grid
from equinet.ops import available_backends, orientation_convolution

GRIDS = ["icosahedron12", "fibonacci7", "circle6", "circle5"]
USABLE = [name for name, why in available_backends("orientation_convolution").items() if not why]


def points_of(name):
    grid = orientation_grid(name)
    return grid.points[: len(grid.points) // 2] if grid.antipodal else grid.points


def problem(name, lmax=2, nodes=5, edges=12, channels=3):
    """Signals, vectors and weights; the last node is isolated, edges are unsorted and repeat."""
    count, dimension = orientation_grid(name).points.shape
    zonal = lmax + 1 if dimension == 3 else 2 * lmax + 1
    shapes = [(nodes, count, channels), (edges, dimension), (edges, zonal, channels)]
    operands = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    return (*operands, torch.randint(0, nodes - 1, (2, edges)))


def derivatives(function, operands):
    """The value, and its first three derivatives along fixed nonlinear functionals."""
    options = {"create_graph": True, "allow_unused": True, "materialize_grads": True}
    y = function(*operands)
    first = torch.autograd.grad((y**3).sum(), operands, **options)
    second = torch.autograd.grad(sum((each**3).sum() for each in first), operands, **options)
    third = torch.autograd.grad(sum((each**2).sum() for each in second), operands, **options)
    return [y, *first, *second, *third]


@pytest.mark.parametrize("lmax", [0, 1, 3])
@pytest.mark.parametrize("name", GRIDS)
def test_backends_agree_with_the_reference_to_third_derivatives(name, lmax):
    *operands, edge_index = problem(name, lmax)
    points = points_of(name)

    def run(backend):
        return derivatives(
            lambda *each: orientation_convolution(*each, edge_index, points, backend=backend),
            operands,
        )

    expected = run("reference")
    for backend in USABLE:
        for ours, truth in zip(run(backend), expected, strict=True):
            scale = max(1.0, truth.abs().max().item())
            torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("backend", USABLE)
@pytest.mark.parametrize("name", GRIDS)
def test_is_the_sum_as_written(name, backend):
    x, vectors, radial, edge_index = problem(name, 2)
    points = orientation_grid(name).points
    expected = torch.zeros_like(x)
    for edge, (sender, receiver) in enumerate(edge_index.T.tolist()):
        v = vectors[edge]
        along = points @ v
        if len(v) == 3:
            zonal = [torch.ones_like(along), along, (3 * along**2 - v @ v) / 2]
        else:
            across = points[:, 0] * v[1] - points[:, 1] * v[0]
            zonal = [
                torch.ones_like(along),
                along,
                across,
                along**2 - across**2,
                2 * along * across,
            ]
        kernel = torch.stack(zonal, dim=1) @ radial[edge]
        expected[receiver] += kernel * x[sender]
    found = orientation_convolution(
        x, vectors, radial, edge_index, points_of(name), backend=backend
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert (found[-1] == 0).all()


@pytest.mark.parametrize("name", ["octahedron6", "circle3"])
def test_gradients(name):
    *operands, edge_index = problem(name, 1, nodes=3, edges=4, channels=1)

    def convolve(*operands):
        return orientation_convolution(*operands, edge_index, points_of(name))

    assert gradcheck(convolve, operands)
    assert gradgradcheck(convolve, operands, fast_mode=True)


@pytest.mark.parametrize("name", ["icosahedron12", "circle6"])
def test_points_may_be_given_with_their_opposites_or_without(name):
    x, vectors, radial, edge_index = problem(name)
    whole = orientation_convolution(x, vectors, radial, edge_index, orientation_grid(name).points)
    half = orientation_convolution(x, vectors, radial, edge_index, points_of(name))
    torch.testing.assert_close(whole, half, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["octahedron6", "icosahedron12", "circle6"])
def test_symmetries_of_the_grid_permute_the_result(name):
    grid = orientation_grid(name)
    x, vectors, radial, edge_index = problem(name)
    y = orientation_convolution(x, vectors, radial, edge_index, points_of(name))
    for matrix in grid.symmetry:
        if len(matrix) == 2 and torch.linalg.det(matrix) < 0:
            continue
        place = (grid.points @ matrix.T @ grid.points.T).argmax(0)
        turned = orientation_convolution(
            x[:, place], vectors @ matrix.T, radial, edge_index, points_of(name)
        )
        torch.testing.assert_close(turned, y[:, place], rtol=0, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(GRIDS),
    lmax=st.integers(0, 3),
    nodes=st.integers(2, 5),
    edges=st.integers(0, 9),
    channels=st.sampled_from([1, 2, 33]),
)
def test_any_graph(name, lmax, nodes, edges, channels):
    x, vectors, radial, edge_index = problem(name, lmax, nodes, edges, channels)
    points = points_of(name)
    expected = orientation_convolution(x, vectors, radial, edge_index, points, backend="reference")
    order = torch.randperm(edges)
    found = orientation_convolution(x, vectors[order], radial[order], edge_index[:, order], points)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", USABLE)
def test_coincident_points_have_finite_derivatives(backend):
    x, vectors, radial, edge_index = problem("icosahedron12")
    with torch.no_grad():
        vectors[3] = 0

    def convolve(*operands):
        points = points_of("icosahedron12")
        return orientation_convolution(*operands, edge_index, points, backend=backend)

    for each in derivatives(convolve, [x, vectors, radial]):
        assert each.isfinite().all()


def test_layout_and_precision():
    x, vectors, radial, edge_index = problem("icosahedron12")
    points = points_of("icosahedron12")
    expected = orientation_convolution(x, vectors, radial, edge_index, points)
    strided = [torch.stack([each, each], -1)[..., 0] for each in (x, vectors, radial)]
    found = orientation_convolution(*strided, edge_index.int(), points)
    torch.testing.assert_close(found, expected)
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 3e-2)):
        operands = [each.to(dtype) for each in (x, vectors, radial)]
        found = orientation_convolution(*operands, edge_index, points.to(dtype))
        assert found.dtype == dtype
        assert (found - expected).norm() < tolerance * expected.norm()


def test_nothing_of_the_size_of_the_products_is_kept():
    x, vectors, radial, edge_index = problem("union32", nodes=6, edges=50, channels=40)
    kept = []

    def record(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        y = orientation_convolution(x, vectors, radial, edge_index, points_of("union32"))
        torch.autograd.grad(y.square().sum(), [x, vectors, radial], create_graph=True)
    assert max(kept) < 50 * 32 * 40


def test_wrong_arguments_are_named():
    x, vectors, radial, edge_index = problem("icosahedron12")
    points = points_of("icosahedron12")
    with pytest.raises(
        ValueError, match=r"x must have 6 orientations, .* found shape \[5, 11, 3\]"
    ):
        orientation_convolution(x[:, 1:], vectors, radial, edge_index, points)
    with pytest.raises(ValueError, match=r"points must have shape .* found \[6, 1\]"):
        orientation_convolution(x, vectors, radial, edge_index, points[:, :1])
    with pytest.raises(ValueError, match=r"vectors must have shape \[12, 3\], found \[12, 2\]"):
        orientation_convolution(x, vectors[:, :2], radial, edge_index, points)
    with pytest.raises(ValueError, match=r"radial must have shape .* found \[12, 3, 2\]"):
        orientation_convolution(x, vectors, radial[..., :2], edge_index, points)
    with pytest.raises(ValueError, match=r"radial must hold lmax \+ 1 .* found shape \[12, 0, 3\]"):
        orientation_convolution(x, vectors, radial[:, :0], edge_index, points)
    with pytest.raises(ValueError, match=r"edge_index must be .* found .* \[1, 12\]"):
        orientation_convolution(x, vectors, radial, edge_index[:1], points)
    with pytest.raises(ValueError, match="radial must have the dtype of x"):
        orientation_convolution(x, vectors, radial.float(), edge_index, points)
    x, vectors, radial, edge_index = problem("circle6")
    with pytest.raises(ValueError, match=r"2 lmax \+ 1 in the plane, found shape \[12, 4, 3\]"):
        orientation_convolution(x, vectors, radial[:, :4], edge_index, points_of("circle6"))
