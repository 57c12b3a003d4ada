"""Time rival implementations side by side."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

_SHORTEST = 0.002  # seconds; a sample repeats the call until it lasts as long
_MOST_ROUNDS = 30


@dataclass(frozen=True)
class Timing:
    """Times of one call.

    Attributes:
        samples: Seconds a call, one number for each round.
    """

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """Middle of the samples, seconds."""
        return statistics.median(self.samples)

    @property
    def best(self) -> float:
        """Smallest of the samples, seconds: what the machine does when left alone."""
        return min(self.samples)

    @property
    def spread(self) -> float:
        """Distance between the quartiles, seconds."""
        low, _, high = statistics.quantiles(self.samples, n=4)
        return high - low


def synchronizer(device: str) -> Callable[[], Any]:
    """Return what waits until a device has finished.

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
    """Time several calls in turns, so that a busy moment of the machine hits all alike.

    Args:
        calls: What to time, by name.
        synchronize: Waits until the device has finished.
        seconds: To spend on each call; slow ones still get three rounds, the slowest two.

    Returns:
        Timings by name, after one call to warm up and one to find how often to repeat.
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
