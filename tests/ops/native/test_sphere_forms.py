import os
import subprocess
import sys

import pytest
import torch

from equinet.ops import bracket_product, gaunt_powers, gaunt_product, native
from equinet.ops.native.sphere_forms import sphere_forms

pytestmark = pytest.mark.skipif(
    bool(native.unavailable("sphere_forms")), reason=native.unavailable("sphere_forms")
)

# Unrolled, transformed with compiled degrees, and with degrees known at run time only.
DEGREES = [(2, 3, 1), (3, 3, 3), (4, 4, 4), (4, 3, 4), (8, 8, 8), (9, 2, 7), (0, 5, 5), (12, 11, 0)]
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}


def draw(lmax: int, *, batch: int = 3, channels: int = 5, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(batch, (lmax + 1) ** 2, channels, dtype=dtype)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("product", [gaunt_product, bracket_product])
def test_equals_the_reference(product, degrees, dtype):
    lmax1, lmax2, lmax_out = degrees
    if product is bracket_product and 0 in degrees:
        pytest.skip("the bracket with a constant is zero")
    x, y = draw(lmax1, dtype=dtype), draw(lmax2, dtype=dtype)
    z = product(x, y, lmax_out, backend="native")
    expected = product(x.double(), y.double(), lmax_out, backend="reference")
    assert relative_error(z, expected) < TOLERANCE[dtype]


def test_powers_and_sums_in_one_call():
    x, y, z = draw(3), draw(2), draw(4)
    power, mixed = sphere_forms([x, y, z], "aa+-2[bc],3abc+b", [5, 2])
    times, bracket = (
        lambda *f: gaunt_product(*f, backend="reference"),
        lambda *f: bracket_product(*f, backend="reference"),
    )
    expected = times(x, x)[:, :36] - 2 * bracket(y, z)[:, :36]
    torch.testing.assert_close(power, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mixed, 3 * times(times(x, y), z)[:, :9] + y)


@pytest.mark.parametrize("channels", [1, 2, 15, 16, 33])
@pytest.mark.parametrize("lmax", [3, 5])
def test_lanes_hold_any_number_of_channels(lmax, channels):
    x, y = (draw(lmax, batch=7, channels=channels, dtype=torch.float32) for _ in "xy")
    expected = gaunt_product(x.double(), y.double(), lmax, backend="reference")
    assert relative_error(gaunt_product(x, y, lmax, backend="native"), expected) < 2e-6


@pytest.mark.parametrize("lmax", [2, 6])
def test_strides_are_free(lmax):
    x, y = draw(lmax, batch=4, channels=33), draw(lmax, batch=4, channels=33)
    expected = gaunt_product(x, y, lmax, backend="native")
    permuted = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    sliced = torch.cat([y, y])[:4].repeat_interleave(2, dim=2)[..., ::2]
    assert torch.equal(gaunt_product(permuted, sliced, lmax, backend="native"), expected)
    same = y[:1].expand(4, -1, -1)
    one_by_one = torch.cat([gaunt_product(each[None], y[:1], lmax, backend="native") for each in x])
    assert torch.equal(gaunt_product(x, same, lmax, backend="native"), one_by_one)


@pytest.mark.parametrize("lmax", [3, 6])
@pytest.mark.parametrize("channels", [8, 33, 64])
def test_one_channel_is_shared_by_all(lmax, channels):
    x, y = draw(lmax, batch=6, channels=channels), draw(lmax, batch=6, channels=1)
    x.requires_grad_()
    y.requires_grad_()
    z, expected = (gaunt_product(x, y, lmax, backend=name) for name in ("native", "reference"))
    torch.testing.assert_close(z, expected)
    probe = torch.randn_like(z)
    for found, true in zip(
        torch.autograd.grad(z, (x, y), probe),
        torch.autograd.grad(expected, (x, y), probe),
        strict=True,
    ):
        torch.testing.assert_close(found, true)


def test_nothing_in_nothing_out():
    for shape in ((0, 9, 4), (3, 9, 0)):
        x = torch.randn(shape, requires_grad=True)
        z = gaunt_product(x, x, 3, backend="native")
        assert z.shape == (shape[0], 16, shape[2])
        assert torch.autograd.grad(z.sum(), x)[0].shape == shape


def test_same_bits_for_any_number_of_threads():
    x, y = draw(6, batch=64, channels=33), draw(6, batch=64, channels=33)
    threads = torch.get_num_threads()
    try:
        first = gaunt_product(x, y, 6, backend="native")
        torch.set_num_threads(2)
        assert torch.equal(gaunt_product(x, y, 6, backend="native"), first)
    finally:
        torch.set_num_threads(threads)


def test_third_derivatives():
    x, y = draw(2, batch=1, channels=2), draw(1, batch=1, channels=2)
    x.requires_grad_()
    y.requires_grad_()

    def gradient(x, y):
        square = gaunt_product(gaunt_powers(x, 3, 2, backend="native").sum(0), y, 2)
        (first,) = torch.autograd.grad(square.square().sum(), x, create_graph=True)
        return first

    assert torch.autograd.gradgradcheck(gradient, (x, y))


@pytest.mark.parametrize("forms", ["ab", "[ab]", "aa,aab", "ab+-2[ba]"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_a_well_behaved_operator(forms, dtype):
    x, y = (draw(2, dtype=dtype).requires_grad_() for _ in "xy")
    lmax_out = [3] * len(forms.split(","))
    torch.library.opcheck(torch.ops.equinet.sphere_forms.default, ([x, y], forms, lmax_out))


@pytest.mark.parametrize(
    ("shapes", "forms", "lmax_out", "message"),
    [
        ([(2, 9, 4), (2, 8, 4)], "ab", [2], r"functions must have shape"),
        ([(2, 9, 4), (3, 9, 4)], "ab", [2], r"functions must share dtype, batch and channels"),
        ([(2, 9, 4)], "ab", [2], r"forms \"ab\" at character 1: there is no such function"),
        ([(2, 9, 4)], "aa", [2, 2], r"has 1 outputs, but lmax_out has 2 entries"),
        ([(2, 9, 4)], "[a]", [2], r"a letter is missing"),
        ([(2, 9, 4)], "a" * 17, [2], r"are too long"),
    ],
)
def test_wrong_calls_are_refused(shapes, forms, lmax_out, message):
    with pytest.raises(ValueError, match=message):
        sphere_forms([torch.randn(shape) for shape in shapes], forms, lmax_out)


@pytest.mark.parametrize("capability", ["baseline", "avx2", "avx512"])
def test_every_instruction_set(capability):
    code = (
        "import torch\n"
        "from equinet.ops import gaunt_product, bracket_product, native\n"
        "assert native.load() == ''\n"
        "active = torch.ops.equinet.cpu_capability()\n"
        "for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-13)):\n"
        "    for lmax in (1, 3, 4, 5, 8, 9):\n"
        "        x, y = (torch.randn(3, (lmax + 1) ** 2, 11, dtype=dtype) for _ in 'xy')\n"
        "        for product in (gaunt_product, bracket_product):\n"
        "            z = product(x, y, lmax, backend='native').double()\n"
        "            true = product(x.double(), y.double(), lmax, backend='reference')\n"
        "            assert (z - true).abs().max() < tolerance * true.abs().max(), (dtype, lmax)\n"
        "print(active)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"EQUINET_CPU_CAPABILITY": capability, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if "does not" in done.stderr and "instruction" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {capability, "avx2", "baseline"}


@pytest.mark.slow
def test_more_elements_than_32_bits_count():
    channels = 2**31 // 4 + 3
    memory = 4 * channels * (4 + 1 + 1) * 1.2
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if free < memory:
        pytest.skip(f"needs {memory / 2**30:.0f} GiB of free memory")
    x = torch.zeros(1, 4, channels)
    x[..., -2:] = torch.randn(1, 4, 2)
    y = torch.randn(1, 1, 1).expand(1, 1, channels)
    z = gaunt_product(x, y, 0, backend="native")
    expected = gaunt_product(x[..., -2:], y[..., -2:], 0, backend="reference")
    torch.testing.assert_close(z[..., -2:], expected)
