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


def test_an_edge_of_length_zero_has_degree_zero_alone() -> None:
    edge_index = torch.tensor([[0, 1, 2], [1, 0, 0]])
    x, radial = torch.randn(3, 9, 2).double(), torch.randn(3, 3, 2).double()
    directions = torch.randn(3, 3).double()
    directions[1] = 0
    directions.requires_grad_()
    found = [
        aligned_convolution(x, directions, radial, edge_index, 2),
        gaunt_convolution(x, directions, radial, edge_index, 2),
    ]
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)
    slopes = [torch.autograd.grad(each.square().sum(), directions)[0] for each in found]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-11)


def test_half_precision_is_accumulated_in_float32() -> None:
    edge_index = torch.randint(0, 5, (2, 20))
    x, radial = torch.randn(5, 9, 3).half(), torch.randn(20, 3, 3).half()
    directions = torch.randn(20, 3).half()
    found = aligned_convolution(x, directions, radial, edge_index, 2)
    assert found.dtype == torch.float16
    exact = aligned_convolution(x.double(), directions.double(), radial.double(), edge_index, 2)
    assert (found - exact).abs().max() < 6e-4 * exact.abs().max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.randn(5, 8, 3)}, r"x must have shape .* found \[5, 8, 3\]"),
        ({"directions": torch.randn(6, 2)}, r"directions must have shape \[6, 3\]"),
        ({"radial": torch.randn(6, 3, 1)}, r"radial must have shape \[6, .* found \[6, 3, 1\]"),
        ({"radial": torch.randn(6, 3, 3).double()}, "radial must have the dtype of x"),
        ({"edge_index": torch.zeros(2, 6, dtype=torch.int16)}, "edge_index must be int32 or int64"),
        ({"lmax_out": -1}, "lmax_out must be at least 0"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str) -> None:
    arguments = {
        "x": torch.randn(5, 9, 3),
        "directions": torch.randn(6, 3),
        "radial": torch.randn(6, 3, 3),
        "edge_index": torch.zeros(2, 6, dtype=torch.int64),
        "lmax_out": 2,
    }
    with pytest.raises(ValueError, match=message):
        aligned_convolution(**arguments | change)
