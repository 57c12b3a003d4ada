"""Mixing of orientations at a node: the native sum beside an einsum, and bad input."""

import pytest
import torch

from equinet.ops import fiber_convolution
from equinet.testing import assert_matches_reference


def einsum(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    return torch.einsum("opc,npc->noc", kernel, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("nodes", "receivers", "senders", "channels"),
    [(5, 3, 4, 1), (2, 12, 12, 19), (7, 6, 2, 64), (0, 3, 3, 4)],
)
def test_values_and_derivatives_are_those_of_an_einsum(
    nodes: int, receivers: int, senders: int, channels: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x = torch.randn(nodes, senders, channels, dtype=dtype)
    kernel = torch.randn(receivers, senders, channels, dtype=dtype)
    assert_matches_reference(fiber_convolution, einsum, (x, kernel), order=3)


def test_half_precision_sums_in_single() -> None:
    torch.manual_seed(0)
    x, kernel = torch.randn(4, 12, 8).bfloat16(), torch.randn(12, 12, 8).bfloat16()
    found = fiber_convolution(x, kernel)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, einsum(x.float(), kernel.float()).bfloat16())


@pytest.mark.parametrize("shape", [(3, 3, 8), (3, 4, 1)])
def test_a_kernel_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"kernel must have 4 orientations .* and 8 channels"):
        fiber_convolution(torch.zeros(2, 4, 8), torch.zeros(shape))
