"""How fast cost grows with degree: the exponent of a power law."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from equinet.bench.contest import Result

_LOWEST, _HIGHEST = 4, 10
_FEWEST = 3


@dataclass(frozen=True)
class Growth:
    """A fit of ``time = constant * lmax ** exponent``.

    Attributes:
        series: As of :class:`equinet.bench.contest.Result`.
        op: Name of the op.
        implementation: A backend or a rival.
        stage: What was timed.
        exponent: By least squares in the logarithms of the medians.
        degrees: Degrees (lmax) of the times that were fitted.
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
