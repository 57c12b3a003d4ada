"""Splines in place of radial networks, which at fixed weights are functions of the distance."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.arguments import Positive, check_arguments
from equinet.errors import BackendError
from equinet.ops.native import load
from equinet.ops.native import radial_spline as native

# Intervals to begin with, and those at which even double precision is reached.
_FEWEST, _MOST = 64, 4096
# The error that rounding in float64 leaves.
_LEAST_ERROR = 1e-13
# Rounding of values that nearly cancel may leave this much of the largest.
_LARGEST_ERROR = 1e-10
# Å, small against every length of a radial basis.
_NEAR_ZERO = 1e-3

Function = Callable[[Float[Tensor, " distance"]], Float[Tensor, "distance value"]]


class RadialSpline:
    r"""Piecewise polynomial of degree 5 through the values, slopes and curvatures of functions.

    It is twice continuously differentiable. Intervals are halved until values and slopes in the
    middle of every interval agree with the functions to the precision of ``dtype``.

    Args:
        functions: Map from distances [D], Å, float64, to values [D, K] of K functions, which
            autograd can differentiate three times.
        cutoff: Distance up to which there are intervals, Å. Beyond it the values are those at the
            cutoff.
        dtype: Floating-point type of distances and results.

    Raises:
        ValueError: The cutoff is not positive and finite.
        BackendError: The functions are not finite, or vary too fast for the finest spline.

    Source: Hermite interpolation of degree 5, whose error is :math:`h^6 \max|f^{(6)}| / 46080` for
    intervals of length h.

    Example:
        >>> spline = RadialSpline(lambda d: torch.stack([d.sin(), d.cos()], 1), 5.0)
        >>> spline.values(torch.tensor([1.0]))
        tensor([[0.8415, 0.5403]])
        >>> spline.slopes(torch.tensor([1.0]), torch.tensor([[1.0, 0.0]]))
        tensor([0.5403])
    """

    def __init__(
        self, functions: Function, cutoff: Positive, dtype: torch.dtype = torch.float32
    ) -> None:
        check_arguments(RadialSpline, {"cutoff": cutoff})
        load()
        intervals = _FEWEST
        rows, error = _interpolate(functions, cutoff, intervals)
        tolerance = max(4 * torch.finfo(dtype).eps, _LEAST_ERROR)
        while tolerance < error < math.inf and intervals < _MOST:
            # The error falls with the sixth power of the length of an interval.
            doublings = math.ceil(math.log2(error / tolerance) / 6)
            intervals = min(_MOST, intervals * 2**doublings)
            rows, error = _interpolate(functions, cutoff, intervals)
        if not error <= max(10 * tolerance, _LARGEST_ERROR):
            raise BackendError(
                f"radial functions vary too fast for a spline of {intervals} intervals, whose "
                f"error is {error:.1e} of the largest value"
            )
        self.rows = rows.to(dtype)
        """Value, slope and curvature at every knot, [3 (intervals + 1), K]."""
        self.spacing = cutoff / intervals
        """Length of the intervals, Å."""

    def values(self, distances: Float[Tensor, " edge"]) -> Float[Tensor, "edge value"]:
        """Evaluate all functions at distances [E], Å: [E, K]."""
        return native.values(distances, self.rows, self.spacing)

    def slopes(
        self, distances: Float[Tensor, " edge"], weights: Float[Tensor, "edge value"]
    ) -> Float[Tensor, " edge"]:
        """Sum the derivatives by the distance, 1/Å, with weights [E, K] of the functions: [E]."""
        return native.slopes(distances, self.rows, self.spacing, weights)


def _interpolate(functions: Function, cutoff: float, intervals: int) -> tuple[Tensor, float]:
    """Return the rows of a spline, float64, and its largest error in the middle of an interval.

    The error is that of values or slopes, relative to the largest of its kind. The first interval,
    in which no two atoms can be, does not count.
    """
    spacing = cutoff / intervals
    places = torch.linspace(0, cutoff, 2 * intervals + 1, dtype=torch.float64)
    value, slope, curvature = derivatives(functions, places, 2)
    # Radial bases define all their derivatives at zero as zero.
    near = functions(places.new_tensor([_NEAR_ZERO]))[0].detach()
    curvature[0] = 2 * (near - value[0] - _NEAR_ZERO * slope[0]) / _NEAR_ZERO**2
    rows = torch.stack([value, slope * spacing, curvature * spacing**2], 1)[::2]
    (a, da, dda), (b, db, ddb) = rows[:-1].unbind(1), rows[1:].unbind(1)
    middle = (a + b) / 2 + 5 * (da - db) / 32 + (dda + ddb) / 64
    tilt = (15 * (b - a) / 8 - 7 * (da + db) / 16 + (ddb - dda) / 32) / spacing
    error = max(
        float((found - exact[1::2])[1:].abs().max() / exact.abs().max().clamp(min=1e-300))
        for found, exact in ((middle, value), (tilt, slope))
    )
    return rows.flatten(0, 1).contiguous(), error


def derivatives(
    functions: Function, places: Float[Tensor, " place"], order: int
) -> list[Float[Tensor, "place value"]]:
    """Differentiate functions of one variable, as many as they are, up to an order.

    Args:
        functions: Map from places [D] to values [D, K], each row of which depends on its place.
        places: Places [D] at which to differentiate.
        order: Highest order of derivatives.

    Returns:
        Values and derivatives [D, K], of orders 0 to ``order``.
    """
    with torch.enable_grad():
        variable = places.detach().requires_grad_()
        found = [functions(variable)]
        for _ in range(order):
            # The gradient is linear in the weights of the functions; its derivative by them has one
            # entry for each function.
            weights = torch.ones_like(found[-1]).requires_grad_()
            (slope,) = torch.autograd.grad(found[-1], variable, weights, create_graph=True)
            (each,) = torch.autograd.grad(slope, weights, torch.ones_like(slope), create_graph=True)
            found.append(each)
    return [each.detach() for each in found]
