"""Calls of the native ops give back what they take, also what torch's stable ABI would keep."""

import ctypes
import gc

import pytest
import torch

from equinet.ops import bracket_product, gaunt_convolution, gaunt_powers, gaunt_product, native

CALLS = 2000


class _MallocState(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def bytes_in_use() -> int:
    """What was asked of the allocator and not given back."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        pytest.skip("needs mallinfo2 of glibc 2.33")
    mallinfo.restype = _MallocState
    gc.collect()
    state = mallinfo()
    return state.uordblks + state.hblkhd


def product(x):
    return gaunt_product(x, x, 2, backend="native")


def bracket(x):
    return bracket_product(x, x, 2, backend="native")


def powers(x):
    return gaunt_powers(x, 3, 2, backend="native")


def convolution(x):
    directions, radial = torch.ones(4, 3, dtype=x.dtype), torch.ones(4, 3, 8, dtype=x.dtype)
    edge_index = torch.tensor([[1, 2, 0, 0], [0, 0, 1, 2]])
    return gaunt_convolution(x, directions, radial, edge_index, 2, backend="native")


@pytest.mark.parametrize("op", [product, bracket, powers, convolution])
def test_calls_keep_no_memory(op):
    name = "filter_sum" if op is convolution else "sphere_forms"
    if reason := native.unavailable(name):
        pytest.skip(reason)
    x = torch.randn(3, 9, 8, requires_grad=True)

    def call(times: int) -> None:
        for _ in range(times):
            op(x).sum().backward()
            x.grad = None

    call(CALLS)  # caches of torch and of the allocator fill
    before = bytes_in_use()
    call(CALLS)
    # A word a call, in forward or backward, would be more.
    assert bytes_in_use() - before < 8 * CALLS
