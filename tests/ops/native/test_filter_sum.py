import subprocess
import sys

import pytest
import torch

from equinet.o3 import antipodal_quadrature, spherical_harmonics
from equinet.ops import gaunt_convolution, native
from equinet.ops.native.filter_sum import filter_sum

pytestmark = pytest.mark.skipif(
    bool(native.unavailable("filter_sum")), reason=native.unavailable("filter_sum")
)


def graph(lmax: int, lmax_filter: int, *, nodes=7, edges=40, channels=5, dtype=torch.float64):
    edge_index = torch.randint(nodes - 1, (2, edges))
    edge_index = edge_index[:, edge_index[1].argsort(stable=True)]
    return (
        torch.randn(nodes, (lmax + 1) ** 2, channels, dtype=dtype),
        torch.randn(edges, 3, dtype=dtype),
        torch.randn(edges, lmax_filter + 1, channels, dtype=dtype),
        edge_index,
    )


@pytest.mark.parametrize("channels", [1, 5, 16, 33, 64])
@pytest.mark.parametrize("degrees", [(0, 3, 2), (2, 3, 3), (1, 0, 1), (8, 8, 8)])
def test_float32_equals_the_reference(degrees, channels):
    lmax, lmax_filter, lmax_out = degrees
    operands = graph(lmax, lmax_filter, channels=channels, dtype=torch.float32)
    exact = (*(each.double() for each in operands[:3]), operands[3])
    z = gaunt_convolution(*operands, lmax_out, backend="native").double()
    expected = gaunt_convolution(*exact, lmax_out, backend="reference")
    assert (z - expected).abs().max() <= 2e-6 * expected.abs().max()


@pytest.mark.parametrize("lmax", [0, 2])
def test_same_bits_whatever_the_threads_and_the_order_of_receivers(lmax):
    x, directions, radial, edge_index = graph(lmax, 3, nodes=60, edges=600, channels=33)

    def convolve(order):
        return gaunt_convolution(
            x, directions[order], radial[order], edge_index[:, order], 3, backend="native"
        )

    threads = torch.get_num_threads()
    first = convolve(torch.arange(600))
    # Shuffle, then sort by receiver with the sender's old place as second key.
    shuffled = torch.randperm(600)
    shuffled = shuffled[edge_index[1, shuffled].argsort()]
    restored = shuffled[torch.argsort(edge_index[1, shuffled] * 600 + shuffled)]
    try:
        torch.set_num_threads(2)
        assert torch.equal(convolve(torch.arange(600)), first)
        assert torch.equal(convolve(restored), first)
    finally:
        torch.set_num_threads(threads)


def test_nothing_in_nothing_out():
    x, directions, radial, edge_index = graph(2, 1)
    none = gaunt_convolution(x, directions[:0], radial[:0], edge_index[:, :0], 2, backend="native")
    assert torch.equal(none, torch.zeros(7, 9, 5, dtype=torch.float64))
    no_channel = gaunt_convolution(
        x[..., :0], directions, radial[..., :0], edge_index, 2, backend="native"
    )
    assert no_channel.shape == (7, 9, 0)


@pytest.mark.parametrize("has_table", [True, False])
def test_are_well_behaved_operators(has_table):
    _, directions, radial, edge_index = graph(0, 1, channels=3)
    harmonics = spherical_harmonics(1, directions)
    points, _ = antipodal_quadrature(3)
    table = spherical_harmonics(1, points[: len(points) // 2]) if has_table else None
    u, v = (torch.randn(7, len(points) if has_table else size, 3).double() for size in (1, 4))
    sender, receiver = edge_index
    for tensor in (harmonics, radial, u, v):
        tensor.requires_grad_()
    ops = torch.ops.equinet
    torch.library.opcheck(
        ops.filter_sum.default, (harmonics, radial, None, None, u, table, sender, receiver, 7)
    )
    torch.library.opcheck(
        ops.filter_correlation.default, (harmonics, radial, u, v, table, sender, receiver)
    )


def test_indices_out_of_range_are_named():
    _, directions, radial, edge_index = graph(0, 1)
    harmonics, x = spherical_harmonics(1, directions), torch.randn(7, 1, 5).double()
    sender, receiver = edge_index
    with pytest.raises(IndexError, match=r"source\[3\] is 7, but there are 7 nodes"):
        filter_sum(harmonics, radial, x, None, changed(sender, 3, 7), receiver, 7)
    with pytest.raises(IndexError, match=r"target\[0\] is -1, but there are 7 nodes"):
        filter_sum(harmonics, radial, x, None, sender, changed(receiver, 0, -1), 7)


@pytest.mark.parametrize("end", ["source", "target"])
def test_both_indices_are_checked_by_the_ops_themselves(end):
    _, directions, radial, edge_index = graph(0, 1)
    harmonics, one = spherical_harmonics(1, directions), torch.randn(7, 1, 5).double()
    four = torch.randn(7, 4, 5).double()
    ops, place = torch.ops.equinet, ["source", "target"].index(end)
    for wrong, message in (
        (torch.Tensor.short, f"{end} must be int32 or int64"),
        (torch.Tensor.double, f"{end} must be int32 or int64"),
        (lambda index: index[:-1], rf"{end} must have shape \[40\], found \[39\]"),
        (lambda index: index[:, None], rf"{end} must have shape \[40\], found \[40, 1\]"),
    ):
        ends = list(edge_index)
        ends[place] = wrong(ends[place])
        with pytest.raises(ValueError, match=message):
            ops.filter_sum.default(harmonics, radial, None, None, one, None, *ends, 7)
        if place == 1:  # the correlation counts its edges by the source
            with pytest.raises(ValueError, match=message):
                ops.filter_correlation.default(harmonics, radial, one, four, None, *ends)


def changed(index: torch.Tensor, place: int, value: int) -> torch.Tensor:
    index = index.clone()
    index[place] = value
    return index


@pytest.mark.parametrize("capability", ["baseline", "avx2"])
def test_every_instruction_set(capability):
    code = (
        "import torch\n"
        "from equinet.ops import gaunt_convolution, native\n"
        "assert native.load() == ''\n"
        "e = torch.randint(5, (2, 30))\n"
        "for lmax in (0, 2, 4):\n"
        "    x, r = torch.randn(5, (lmax + 1) ** 2, 11), torch.randn(30, 4, 11)\n"
        "    d = torch.randn(30, 3)\n"
        "    z = gaunt_convolution(x, d, r, e, 3, backend='native').double()\n"
        "    true = gaunt_convolution(\n"
        "        x.double(), d.double(), r.double(), e, 3, backend='reference')\n"
        "    assert (z - true).abs().max() < 2e-6 * true.abs().max(), lmax\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"EQUINET_CPU_CAPABILITY": capability, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
