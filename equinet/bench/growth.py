"""Fit the growth of time with the degree by power laws."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from equinet.bench.contest import Result

_LOWEST, _HIGHEST = 4, 10
_FEWEST = 3


@dataclass(frozen=True)
class Growth:
    """Fit of ``time = constant * lmax ** exponent``.

    Attributes:
        series: Publication that the problem sizes are from; "" for sizes of the command line.
        op: Name of the op.
        implementation: Name of a backend or a library.
        stage: Computation that was timed, one of :data:`equinet.bench.STAGES`.
        exponent: Exponent, by least squares in the logarithms of the median times.
        degrees: Degrees (lmax) of the times that were fitted.

    Example:
        >>> Growth("", "gaunt_product", "grid", "forward", 3.1, (4, 6, 8)).exponent
        3.1
    """

    series: str
    op: str
    implementation: str
    stage: str
    exponent: float
    degrees: tuple[int, ...]


def fit_growth(results: Sequence[Result]) -> list[Growth]:
    """Fit every implementation that was timed at three or more degrees from 4 to 10.

    Args:
        results: Times of any number of series and stages.

    Returns:
        One fit for each implementation and stage of each series.

    Example:
        >>> fit_growth([])
        []
    """
    times: dict[tuple[str, str, str, str], dict[int, float]] = {}
    for each in results:
        if _LOWEST <= each.lmax <= _HIGHEST:
            key = each.series, each.op, each.implementation, each.stage
            times.setdefault(key, {})[each.lmax] = each.median_ms
    fits = []
    for key, by_degree in times.items():
        if len(by_degree) >= _FEWEST:
            degrees = tuple(by_degree)
            x = [math.log(degree) for degree in degrees]
            y = [math.log(ms) for ms in by_degree.values()]
            fits.append(Growth(*key, statistics.linear_regression(x, y).slope, degrees))
    return fits
