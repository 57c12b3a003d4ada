"""What only a GPU can show: the native ops on it, against the float64 reference on the CPU."""

import pytest
import torch

from equinet.ops import bracket_product, gaunt_powers, gaunt_product, native
from equinet.ops.native.sphere_forms import sphere_forms

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13, torch.float16: 1e-3, torch.bfloat16: 8e-3}
# Sparse, by way of samples (float32; some in float64), whole products, and interpreted.
DEGREES = [
    *((lmax, lmax, lmax) for lmax in range(1, 11)),
    *((lmax, lmax, 2 * lmax) for lmax in range(1, 6)),
    *((lmax, 2 * lmax, lmax) for lmax in range(1, 6)),
    *((2, 3, 1), (4, 3, 4), (9, 2, 7), (0, 5, 5), (12, 11, 0)),
]


@pytest.fixture(autouse=True)
def _need_the_kernels():
    # On a machine with a GPU, kernels that do not load are a failure, not a reason to skip.
    assert native.unavailable("sphere_forms", "cuda") == ""


def draw(lmax: int, *, batch: int = 3, channels: int = 33, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(batch, (lmax + 1) ** 2, channels, dtype=dtype, device="cuda")


def on_cpu(product, *functions: torch.Tensor, lmax: int) -> torch.Tensor:
    return product(*(x.double().cpu() for x in functions), lmax, backend="reference").cuda()


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("product", [gaunt_product, bracket_product])
def test_equals_the_reference(product, degrees, dtype):
    lmax1, lmax2, lmax_out = degrees
    if product is bracket_product and 0 in degrees:
        pytest.skip("the bracket with a constant is zero")
    x, y = draw(lmax1, dtype=dtype), draw(lmax2, dtype=dtype)
    z = product(x, y, lmax_out, backend="native")
    assert z.dtype == dtype
    assert relative_error(z, on_cpu(product, x, y, lmax=lmax_out)) < TOLERANCE[dtype]
    assert torch.equal(product(x, y, lmax_out, backend="native"), z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scratch_beyond_shared_memory(dtype):
    x, y = draw(28, dtype=dtype), draw(28, dtype=dtype)
    z = gaunt_product(x, y, 1, backend="native")
    assert relative_error(z, on_cpu(gaunt_product, x, y, lmax=1)) < 5 * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize(("lmax", "lmax_out"), [(2, 2), (3, 2), (6, 6), (10, 4)])
def test_powers(lmax, lmax_out, dtype):
    x = draw(lmax, dtype=dtype)
    found = gaunt_powers(x, 3, lmax_out, backend="native")
    expected = gaunt_powers(x.double().cpu(), 3, lmax_out, backend="reference").cuda()
    for power, true in zip(found, expected, strict=True):
        assert relative_error(power, true) < TOLERANCE[dtype]


@pytest.mark.parametrize("lmax", [3, 6, 7])
def test_sums_of_several_terms(lmax):
    x, y = draw(lmax), draw(lmax)
    both, square = sphere_forms([x, y], "ab+-2[ab]+3b,aa", [lmax, 2])
    bracket = on_cpu(bracket_product, x, y, lmax=lmax)
    expected = on_cpu(gaunt_product, x, y, lmax=lmax) - 2 * bracket + 3 * y
    assert relative_error(both, expected) < 1e-13
    assert relative_error(square, on_cpu(gaunt_product, x, x, lmax=2)) < 1e-13


@pytest.mark.parametrize("channels", [1, 2, 33, 128])
@pytest.mark.parametrize("batch", [1, 1000])
@pytest.mark.parametrize("lmax", [3, 6, 9])
def test_any_number_of_columns(lmax, batch, channels):
    x, y = (draw(lmax, batch=batch, channels=channels, dtype=torch.float32) for _ in "xy")
    z = gaunt_product(x, y, lmax, backend="native")
    assert relative_error(z, on_cpu(gaunt_product, x, y, lmax=lmax)) < 2e-6


@pytest.mark.parametrize("lmax", [2, 6, 9])
def test_strides_are_free(lmax):
    x, y = draw(lmax, batch=4), draw(lmax, batch=1, channels=1).expand(4, -1, 33)
    expected = gaunt_product(x, y.contiguous(), lmax, backend="native")
    permuted = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    sliced = y.repeat_interleave(2, dim=2)[..., ::2]
    for first, second in ((x, y), (permuted, y), (permuted, sliced)):
        assert torch.equal(gaunt_product(first, second, lmax, backend="native"), expected)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_nothing_in_nothing_out(dtype):
    for shape in ((0, 9, 4), (3, 9, 0)):
        x = torch.randn(shape, dtype=dtype, device="cuda", requires_grad=True)
        z = gaunt_product(x, x, 3, backend="native")
        assert z.shape == (shape[0], 16, shape[2])
        assert torch.autograd.grad(z.sum(), x)[0].shape == shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("lmax", [2, 4, 6, 8])
def test_gradients_keep_the_type(lmax, dtype):
    x, y = draw(lmax, dtype=dtype).requires_grad_(), draw(lmax, dtype=dtype).requires_grad_()
    probe = draw(lmax, dtype=dtype)
    found = torch.autograd.grad(gaunt_product(x, y, lmax, backend="native"), (x, y), probe)
    for gradient, other in zip(found, (y, x), strict=True):
        assert gradient.dtype == dtype
        expected = on_cpu(gaunt_product, probe, other.detach(), lmax=lmax)
        assert relative_error(gradient, expected) < TOLERANCE[dtype]


def test_third_derivatives():
    x, y = draw(2, batch=1, channels=2), draw(1, batch=1, channels=2)
    x.requires_grad_()
    y.requires_grad_()

    def gradient(x, y):
        powers = gaunt_powers(x, 3, 2, backend="native").sum(0)
        square = gaunt_product(powers, y, 2, backend="native").square().sum()
        (first,) = torch.autograd.grad(square, x, create_graph=True)
        return first

    assert torch.autograd.gradgradcheck(gradient, (x, y))


@pytest.mark.parametrize("lmax", [3, 6, 9])
def test_runs_on_the_current_stream(lmax):
    stream = torch.cuda.Stream()
    x, y = draw(lmax, dtype=torch.float32), draw(lmax, dtype=torch.float32)
    expected = gaunt_product(2 * x, y, lmax, backend="native")
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        # On any other stream the product would not wait for what it multiplies.
        torch.cuda._sleep(50_000_000)
        z = gaunt_product(2 * x, y, lmax, backend="native")
    stream.synchronize()
    assert torch.equal(z, expected)


@pytest.mark.parametrize(("warm", "lmax"), [(3, 3), (6, 6), (12, 11)])
def test_is_recorded_in_a_graph(warm, lmax):
    # The kernel is loaded before; the plan of the last degree is new, and its tables are not to
    # become part of the graph.
    gaunt_product(*(draw(warm, dtype=torch.float32) for _ in "xy"), warm, backend="native")
    x, y = (draw(lmax, dtype=torch.float32) for _ in "xy")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        z = gaunt_product(x, y, lmax, backend="native")
    before = gaunt_product(x, y, lmax, backend="native")
    x.copy_(draw(lmax, dtype=torch.float32))
    graph.replay()
    expected = on_cpu(gaunt_product, x, y, lmax=lmax)
    assert relative_error(z, expected) < 5e-6
    assert relative_error(before, expected) > 0.1


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one device only")
def test_functions_must_be_on_one_device():
    x = draw(2)
    with pytest.raises(ValueError, match="functions must be on one device"):
        sphere_forms([x, x.to("cuda:1")], "ab", [2])


@pytest.mark.parametrize("forms", ["ab", "[ab]", "aa,aab", "ab+-2[ba]"])
@pytest.mark.parametrize("lmax", [2, 5])
def test_is_a_well_behaved_operator(lmax, forms):
    x, y = (draw(lmax, channels=2).requires_grad_() for _ in "xy")
    lmax_out = [lmax] * len(forms.split(","))
    torch.library.opcheck(torch.ops.equinet.sphere_forms.default, ([x, y], forms, lmax_out))


@pytest.mark.slow
@pytest.mark.parametrize(("lmax", "lmax_out"), [(1, 1), (5, 5), (4, 0)])
def test_more_elements_than_32_bits_count(lmax, lmax_out):
    # Components too far apart for 32 bits, or a batch; in both, the last columns tell.
    for shape in ((1, 2**31 // (lmax + 1) ** 2 + 5), (2**31 // 32 // (lmax + 1) ** 2 + 5, 32)):
        batch, channels = shape
        elements = batch * channels * (2 * (lmax + 1) ** 2 + (lmax_out + 1) ** 2)
        if torch.cuda.mem_get_info()[0] < 4.2 * elements:
            pytest.skip(f"needs {4.2 * elements / 2**30:.0f} GiB of free memory")
        x, y = (draw(lmax, batch=batch, channels=channels, dtype=torch.float32) for _ in "xy")
        z = gaunt_product(x, y, lmax_out, backend="native")
        last = [each[-1:, :, -7:] for each in (x, y)]
        assert relative_error(z[-1:, :, -7:], on_cpu(gaunt_product, *last, lmax=lmax_out)) < 2e-6
        del x, y, z, last
        torch.cuda.empty_cache()
