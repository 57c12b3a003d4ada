"""Time several implementations side by side."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

_SHORTEST = 0.002  # seconds; a sample repeats the call until it takes that long
_MOST_ROUNDS = 30


@dataclass(frozen=True)
class Timing:
    """Times of one call.

    Attributes:
        samples: Time of one call in each round, seconds.
    """

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the samples, seconds."""
        return statistics.median(self.samples)

    @property
    def best(self) -> float:
        """Smallest of the samples, seconds, which other programs disturb least."""
        return min(self.samples)

    @property
    def spread(self) -> float:
        """Distance between the quartiles, seconds."""
        low, _, high = statistics.quantiles(self.samples, n=4)
        return high - low


def synchronizer(device: str) -> Callable[[], Any]:
    """Return a function that waits until a device has finished.

    Args:
        device: Type of the device, "cpu" or "cuda".
    """
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def race(
    calls: Mapping[str, Callable[[], object]],
    *,
    synchronize: Callable[[], Any],
    seconds: float,
) -> dict[str, Timing]:
    """Time several calls by turns, so that other programs disturb all of them equally.

    Args:
        calls: Functions to time, by name.
        synchronize: Function that waits until the device has finished.
        seconds: Time to spend on each call, seconds; there are at least three rounds, or two where
            these take ten times as long.

    Returns:
        Timings by name, after one call to warm up and one to find the number of repetitions.
    """
    repeats = {}
    for name, call in calls.items():
        _sample(call, 1, synchronize)
        once = _sample(call, 1, synchronize)
        repeats[name] = max(1, round(_SHORTEST / max(once, 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    start, budget = time.perf_counter(), seconds * len(calls)
    for rounds in range(1, _MOST_ROUNDS + 1):
        for name, call in calls.items():
            samples[name].append(_sample(call, repeats[name], synchronize))
        spent = time.perf_counter() - start
        if (rounds >= 3 and spent > budget) or (rounds == 2 and spent > 10 * budget > 0):
            break
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def _sample(call: Callable[[], object], repeats: int, synchronize: Callable[[], Any]) -> float:
    synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    synchronize()
    return (time.perf_counter() - start) / repeats
