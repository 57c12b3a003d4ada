import math

import torch

from equinet.nn import SO2Conv
from equinet.nn.escn.frames import frame_components
from equinet.o3 import wigner_d


def turn(angle: float) -> torch.Tensor:
    """Rotation about the polar axis y."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)


def turn_matrix(lmax: int, mmax: int, angle: float) -> torch.Tensor:
    """How a turn about the edge acts on components in its frame."""
    kept = [degree * (degree + 1) + order for degree, order in frame_components(lmax, mmax)]
    return wigner_d(lmax, turn(angle))[kept][:, kept]


def layer(**options: int) -> SO2Conv:
    return SO2Conv(4, 2, 3, 5, **options).double()


def inputs(edges: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(edges, len(frame_components(4, 2)), 3, dtype=torch.float64)
    return x, torch.randn(edges, layer().radial_size, dtype=torch.float64)


def test_commutes_with_turns_about_the_edge() -> None:
    convolution, (x, radial) = layer(scalars=7), inputs()
    matrix = turn_matrix(4, 2, 0.7)
    y, scalars = convolution(x, radial)
    turned, same = convolution(matrix @ x, radial)
    torch.testing.assert_close(turned, matrix @ y, rtol=0, atol=1e-12)
    torch.testing.assert_close(same, scalars, rtol=0, atol=1e-12)
    assert scalars.shape == (6, 7)


def test_equals_complex_matrices_order_by_order() -> None:
    convolution, (x, radial) = layer(), inputs()
    y, _ = convolution(x, radial)
    components = frame_components(4, 2)
    start = 0
    for order, matrix in enumerate(convolution.orders, start=1):
        plus = [i for i, (_, m) in enumerate(components) if m == order]
        minus = [i for i, (_, m) in enumerate(components) if m == -order]
        start += 3 * (6 - order)
        weight = radial[:, start : start + 3 * len(plus)]
        z = torch.complex(x[:, plus].flatten(1) * weight, x[:, minus].flatten(1) * weight)
        expected = (z @ torch.complex(*matrix)).unflatten(1, (-1, 5))
        torch.testing.assert_close(y[:, plus], expected.real)
        torch.testing.assert_close(y[:, minus], expected.imag)


def test_unit_variance_is_kept() -> None:
    x = torch.randn(4000, 24, 3, dtype=torch.float64)
    x = x[:, : len(frame_components(4, 2))]
    convolution = SO2Conv(4, 2, 3, 16).double()
    variance = convolution(x)[0].square().mean((0, 2))
    assert 0.5 < variance.min() < variance.max() < 2.0


def test_no_edges_give_no_messages() -> None:
    x, radial = inputs(0)
    y, scalars = layer(scalars=2)(x, radial)
    assert y.shape == (0, x.shape[1], 5)
    assert scalars.shape == (0, 2)
