"""What the threads of the convolution's CUDA kernels do, done by loops, against its definition."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

SOURCE = Path(__file__).with_name("filter_bodies.cpp")
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}
# Degrees of the filter plus one, pairs of points, channels: below, at and above a block's sizes.
SIZES = [(1, 1, 1), (2, 3, 33), (3, 20, 5), (4, 19, 64), (5, 21, 32), (7, 43, 3), (10, 4, 7)]
SOURCES, TARGETS, EDGES = 4, 5, 23


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None:
        pytest.skip("no C++ compiler was found on PATH")
    path = tmp_path_factory.mktemp("filter_bodies") / "filter_bodies.so"
    flags = ["-std=c++17", "-O0", "-w", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def pointers(tensors):
    return (ctypes.c_void_p * len(tensors))(
        *(None if each is None else each.data_ptr() for each in tensors)
    )


def numbers(*values):
    return (ctypes.c_int64 * len(values))(*values)


def kernel(harmonics, table, degrees):
    """k[e, p, l] by its definition; without table, points are components."""
    degree = torch.repeat_interleave(torch.arange(degrees), 2 * torch.arange(degrees) + 1)
    selection = (degree[:, None] == torch.arange(degrees)).double()
    if table is None:
        return harmonics.double()[:, :, None] * selection
    points = torch.cat([table, table * (-1.0) ** degree]).double()
    return torch.einsum("em,pm,ml->epl", harmonics.double(), points, selection)


def assert_close(found, expected):
    scale = expected.abs().max().clamp_min(1e-30)
    assert ((found.double() - expected).abs().max() / scale).item() < TOLERANCE[found.dtype]


def draw(degrees, channels, points, dtype):
    filters = [
        torch.randn(shape, dtype=dtype)
        for shape in 2 * [(EDGES, degrees**2), (EDGES, degrees, channels)]
    ]
    return filters, *(torch.randn(n, points, channels, dtype=dtype) for n in (SOURCES, TARGETS))


def graph():
    """Unsorted edges; the last target has none, the first one more than a block takes at once."""
    source = torch.randint(SOURCES, (EDGES,))
    target = torch.cat([torch.zeros(11, dtype=torch.long), torch.randint(TARGETS - 1, (12,))])
    return source, target[torch.randperm(EDGES)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("form", ["grid", "to components", "of components"])
@pytest.mark.parametrize("count", [1, 2])
def test_sums(library, sizes, form, count, dtype):
    degrees, half, channels = sizes
    points = 2 * half if form == "grid" else degrees**2
    filters, u, _ = draw(degrees, channels, points, dtype)
    table = torch.randn(half, degrees**2, dtype=dtype) if form == "grid" else None
    source, target = graph()
    if form == "to components":
        u = u[:, :1].clone()
    expected = torch.zeros(TARGETS, points, channels, dtype=torch.float64)
    for harmonics, radial in zip(filters[::2][:count], filters[1::2], strict=False):
        messages = kernel(harmonics, table, degrees) @ radial.double() * u[source].double()
        expected.index_add_(0, target, messages)
    if form == "of components":
        expected = expected.sum(1, keepdim=True)
    edges = target.argsort(stable=True)
    starts = torch.searchsorted(target[edges], torch.arange(TARGETS + 1))
    result = torch.full(expected.shape, torch.nan, dtype=dtype)
    library.filter_sum(
        pointers([*(filters[: 2 * count] + 4 * [None])[:4], u, table]),
        pointers([starts, edges, source]),
        ctypes.c_void_p(result.data_ptr()),
        numbers(half, degrees, channels, TARGETS),
        int(form == "to components"),
        int(dtype == torch.float64),
    )
    assert_close(result, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_correlations(library, sizes, has_table, wanted, dtype):
    degrees, half, channels = sizes
    points = 2 * half if has_table else degrees**2
    (harmonics, radial, *_), u, v = draw(degrees, channels, points, dtype)
    table = torch.randn(half, degrees**2, dtype=dtype) if has_table else None
    if not has_table:
        u = u[:, :1].clone()
    source, target = graph()
    products = u[source].double() * v[target].double()
    exact = [each.double().requires_grad_() for each in (harmonics, radial)]
    form = (kernel(exact[0], table, degrees) @ exact[1] * products).sum()
    expected = torch.autograd.grad(form, exact)
    results = [torch.full_like(each, torch.nan, dtype=dtype) for each in (harmonics, radial)]
    library.filter_correlation(
        pointers([harmonics if wanted[1] else None, radial if wanted[0] else None, u, v, table]),
        pointers([source, target]),
        *(ctypes.c_void_p(each.data_ptr()) for each in results),
        numbers(half, degrees, channels, EDGES),
        int(dtype == torch.float64),
    )
    for is_wanted, found, exactly in zip(wanted, results, expected, strict=True):
        if is_wanted:
            assert_close(found, exactly)
        else:
            assert found.isnan().all()
