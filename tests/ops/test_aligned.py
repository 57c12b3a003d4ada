import pytest
import torch

from equinet.ops import aligned_convolution, gaunt_convolution


@pytest.mark.parametrize("degrees", [(0, 0, 0), (1, 2, 3), (3, 1, 1), (2, 4, 6), (4, 3, 2)])
def test_equals_the_convolution_in_the_common_frame(degrees: tuple[int, int, int]) -> None:
    lmax1, lmax_filter, lmax_out = degrees
    edge_index = torch.randint(0, 5, (2, 20))
    x = torch.randn(5, (lmax1 + 1) ** 2, 3, dtype=torch.float64)
    directions = torch.randn(20, 3, dtype=torch.float64)
    radial = torch.randn(20, lmax_filter + 1, 3, dtype=torch.float64)
    aligned = aligned_convolution(x, directions, radial, edge_index, lmax_out)
    for backend in ("reference", "grid"):
        other = gaunt_convolution(x, directions, radial, edge_index, lmax_out, backend=backend)
        torch.testing.assert_close(aligned, other, rtol=0, atol=1e-12)
