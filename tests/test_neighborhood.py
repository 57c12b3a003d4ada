"""One object says how edges are drawn, and refuses what cannot be."""

import math

import pytest

from equinet.neighborhood import Neighborhood


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((0.0,), "cutoff must be a finite number above 0"),
        ((-1.0,), "cutoff must be a finite number above 0"),
        ((math.nan,), "cutoff must be a finite number above 0"),
        ((math.inf,), "cutoff must be a finite number above 0"),
        ((5.0, 0), "max_neighbors must be at least 1, found 0"),
        ((5.0, None, 0.1), "tie_tolerance .* needs max_neighbors"),
        ((5.0, 3, -0.1), "tie_tolerance must not be negative"),
        ((5.0, 3, math.nan), "tie_tolerance must not be negative"),
    ],
)
def test_impossible_values_are_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        Neighborhood(*values)


def test_packing_and_unpacking():
    near = Neighborhood.of(5, 20, 0.01)
    assert near == Neighborhood(5.0, 20, 0.01)
    assert isinstance(near.cutoff, float)
    assert Neighborhood.of(near) is near
    assert Neighborhood(**near.arguments()) == near
    assert Neighborhood(5.0).arguments() == {"cutoff": 5.0}
    assert str(near) == "5 Å, at most 20 neighbors and ties within 0.01 Å²"
    with pytest.raises(ValueError, match="give them there only"):
        Neighborhood.of(near, 3)
