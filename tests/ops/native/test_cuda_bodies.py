"""What the threads of the CUDA kernels do, done by loops on the CPU, against the reference."""

import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from equinet.ops import bracket_product, gaunt_product
from equinet.ops.native.forms import differentiate, parse

SOURCE = Path(__file__).with_name("cuda_bodies.cpp")
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}
ELEMENTS = {torch.float16: 5, torch.float32: 6, torch.float64: 7, torch.bfloat16: 15}
# Compiled by way of samples: layers of one degree, whole products and their derivatives.
SAMPLED = [(5, 5, 5), (6, 6, 6), (2, 2, 4), (2, 4, 2), (3, 3, 6), (6, 3, 3)]
SAMPLED_IN_FLOAT32 = [(7, 7, 7), (8, 8, 8), (4, 4, 8), (4, 8, 4)]
INTERPRETED = [(4, 3, 4), (9, 2, 7), (3, 10, 9), (0, 5, 5), (12, 11, 0)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None:
        pytest.skip("no C++ compiler was found on PATH")
    path = tmp_path_factory.mktemp("cuda_bodies") / "cuda_bodies.so"
    include = Path(torch.__file__).parent / "include"
    flags = ["-std=c++17", "-O0", "-w", "-shared", "-fPIC", "-isystem", str(include)]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


@pytest.fixture
def evaluate(library):
    """Evaluate forms; return the results and the number of launches, 0 for interpretation."""

    def call(functions, forms, lmax_out, *, interpret=False):
        batch, _, channels = functions[0].shape
        results = [
            functions[0].new_empty(batch, (degree + 1) ** 2, channels) for degree in lmax_out
        ]
        for z in results:
            z.fill_(torch.nan)
        strides = [ctypes.c_int64(stride) for x in functions for stride in x.stride()]
        lmax = [int(x.shape[1] ** 0.5) - 1 for x in functions]
        launches = library.evaluate(
            forms.encode(),
            len(functions),
            (ctypes.c_void_p * len(functions))(*(x.data_ptr() for x in functions)),
            (ctypes.c_int64 * len(strides))(*strides),
            (ctypes.c_int * len(lmax))(*lmax),
            len(results),
            (ctypes.c_int * len(lmax_out))(*lmax_out),
            (ctypes.c_void_p * len(results))(*(z.data_ptr() for z in results)),
            ELEMENTS[functions[0].dtype],
            ctypes.c_int64(batch),
            ctypes.c_int64(channels),
            int(interpret),
        )
        return results, launches

    return call


def draw(lmax: int, *, batch: int = 2, channels: int = 3, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(batch, (lmax + 1) ** 2, channels, dtype=dtype)


def reference(functions, forms, lmax_out):
    """Evaluate forms in float64, with no product truncated before it is whole."""
    results = []
    for terms, lmax in zip(parse(forms), lmax_out, strict=True):
        total = functions[0].new_zeros(1, dtype=torch.float64)
        for term in terms:
            multiply = bracket_product if term.is_bracket else gaunt_product
            first, *others = (functions[f].double() for f in term.functions)
            for k, other in enumerate(others):
                degree = lmax if k == len(others) - 1 else None
                first = multiply(first, other, degree, backend="reference")
            total = total + term.coefficient * first
        results.append(total)
    return results


def assert_close(found, expected, dtype):
    for z, true in zip(found, expected, strict=True):
        scale = true.abs().max().clamp_min(1e-30)
        assert ((z.double() - true).abs().max() / scale).item() < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("forms", ["ab", "[ab]"])
def test_sparse_products(evaluate, forms, dtype):
    degrees = [*itertools.product(range(4), repeat=3), (4, 4, 4)]
    for l1, l2, l3 in degrees:
        functions = [draw(l1, dtype=dtype), draw(l2, dtype=dtype)]
        found, launches = evaluate(functions, forms, [l3])
        # The one that does not fit into the registers is interpreted.
        is_left_out = forms == "[ab]" and l3 == 4 and dtype == torch.float64
        assert launches == (0 if is_left_out else 1)
        assert_close(found, reference(functions, forms, [l3]), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("degrees", SAMPLED + SAMPLED_IN_FLOAT32)
def test_sampled_products(evaluate, degrees, dtype):
    l1, l2, l3 = degrees
    functions = [draw(l1, dtype=dtype), draw(l2, dtype=dtype)]
    found, launches = evaluate(functions, "ab", [l3])
    assert launches == (0 if dtype == torch.float64 and degrees in SAMPLED_IN_FLOAT32 else 1)
    assert_close(found, reference(functions, "ab", [l3]), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("degrees", SAMPLED + INTERPRETED)
def test_interpreted_products(evaluate, degrees, dtype):
    l1, l2, l3 = degrees
    functions = [draw(l1, dtype=dtype), draw(l2, dtype=dtype)]
    for forms in ("ab", "[ab]") if all(degrees) else ("ab",):
        found, launches = evaluate(functions, forms, [l3], interpret=True)
        assert launches == 0
        assert_close(found, reference(functions, forms, [l3]), dtype)


@pytest.mark.parametrize(
    ("forms", "lmax", "lmax_out", "launches"),
    [
        ("aa,aaa", [3], [3, 2], 0),
        ("aa+-2[bc],3abc+b", [3, 2, 4], [5, 2], 0),
        ("ab+-2[ba],3bb", [2, 3], [3, 2], 3),
        ("ab+ba", [6, 6], [6], 2),
        ("aab,[ba]", [9, 2], [4, 3], 0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_and_powers(evaluate, forms, lmax, lmax_out, launches, dtype):
    functions = [draw(degree, dtype=dtype) for degree in lmax]
    found, counted = evaluate(functions, forms, lmax_out)
    assert counted == launches
    assert_close(found, reference(functions, forms, lmax_out), dtype)


@pytest.mark.parametrize(
    ("forms", "lmax", "lmax_out"),
    [
        ("ab", [3, 2], [2]),
        ("ab", [6, 6], [6]),
        ("ab", [3, 3], [6]),
        ("[ab]", [3, 3], [2]),
        ("[ab]", [5, 4], [3]),
        ("aa,aaa", [2], [2, 3]),
    ],
)
def test_first_and_second_derivatives(evaluate, forms, lmax, lmax_out):
    functions = [draw(degree) for degree in lmax]
    gradients = [draw(degree) for degree in lmax_out]
    for _ in range(2):
        wanted, outputs = tuple(range(len(functions))), tuple(range(len(lmax_out)))
        gradient = differentiate(forms, len(functions), wanted, outputs)
        known = [*functions, *gradients]
        operands = [known[i] for i in gradient.operands]
        degrees = [int(functions[i].shape[1] ** 0.5) - 1 for i in gradient.wanted]
        found, _ = evaluate(operands, gradient.forms, degrees)
        assert_close(found, reference(operands, gradient.forms, degrees), torch.float64)
        forms, functions, lmax_out = gradient.forms, operands, degrees
        gradients = [draw(degree) for degree in lmax_out]


@pytest.mark.parametrize("channels", [1, 33])
@pytest.mark.parametrize("lmax", [2, 5, 9])
def test_any_number_of_channels(evaluate, lmax, channels):
    functions = [draw(lmax, batch=5, channels=channels, dtype=torch.float32) for _ in "ab"]
    found, _ = evaluate(functions, "ab", [lmax])
    assert_close(found, reference(functions, "ab", [lmax]), torch.float32)


@pytest.mark.parametrize("lmax", [2, 5, 9])
def test_strides_are_free(evaluate, lmax):
    x, y = draw(lmax, batch=4, channels=9), draw(lmax, batch=1, channels=1)
    shared = y.expand(4, -1, 9)
    permuted = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    sliced = shared.repeat_interleave(2, dim=2)[..., ::2]
    expected, _ = evaluate([x, shared.contiguous()], "ab", [lmax])
    for functions in ([x, shared], [permuted, sliced], [permuted, shared]):
        found, _ = evaluate(functions, "ab", [lmax])
        assert torch.equal(found[0], expected[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("forms", "lmax", "launches"), [("ab", 3, 1), ("ab", 6, 1), ("[ab]", 5, 0), ("ab+ba", 2, 0)]
)
def test_half_precision_is_rounded_once(evaluate, forms, lmax, launches, dtype):
    functions = [draw(lmax, batch=5, channels=7, dtype=dtype) for _ in "ab"]
    (found,), counted = evaluate(functions, forms, [lmax])
    assert counted == launches
    (exact,), _ = evaluate([x.float() for x in functions], forms, [lmax], interpret=launches == 0)
    assert torch.equal(found, exact.to(dtype))
