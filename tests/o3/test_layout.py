import math

import torch

from equinet.o3 import degree_index, degree_of, degrees, orders, spherical_harmonics


def test_components_are_counted_degree_by_degree() -> None:
    pairs = [(degree, order) for degree in range(9) for order in range(-degree, degree + 1)]
    assert list(zip(degrees(8).tolist(), orders(8).tolist(), strict=True)) == pairs
    assert degree_index(8).tolist() == degrees(8).tolist()
    for lmax in range(9):
        assert degree_of(torch.zeros(3, len(degrees(lmax)), 2)) == lmax


def test_components_of_the_harmonics_have_these_degrees_and_orders() -> None:
    """A rotation by an angle about y mixes +m and -m alone, by the cosine of m times the angle."""
    angle = 0.3
    point = torch.tensor([0.3, 0.2, 0.7], dtype=torch.float64)
    x, y, z = point.tolist()
    moved = torch.tensor(
        [
            math.cos(angle) * x + math.sin(angle) * z,
            y,
            math.cos(angle) * z - math.sin(angle) * x,
        ],
        dtype=torch.float64,
    )
    lmax = 4
    before, after = (spherical_harmonics(lmax, each, normalize=False) for each in (point, moved))
    degree, order = torch.from_numpy(degrees(lmax)), torch.from_numpy(orders(lmax))
    partner = degree * degree + degree - order
    expected = (order * angle).cos() * before - (order * angle).sin() * before[partner]
    torch.testing.assert_close(after, expected)
    scaled = spherical_harmonics(lmax, 2 * point, normalize=False)
    torch.testing.assert_close(scaled, 2.0**degree * before)


def test_every_caller_gets_an_index_of_its_own() -> None:
    """A table that is a layer's buffer too makes torch.compile fail."""
    first, second = degree_index(2), degree_index(2)
    first.zero_()
    assert second.tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]
