"""Measure the limits of this machine: bytes a second and multiply-adds a second."""

import functools
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from equinet.bench.timing import race, synchronizer

MEANING = {
    "bandwidth": "a = b + 3 c by torch.add, three numbers moved each, on vectors that together are "
    "as large as operands and result (rounded up to a power of two of bytes, at least 64 kB)",
    "multiply_add_rate": "a square torch.matmul whose three matrices are as large together, of at "
    "least 256 rows, at most 1024 on a CPU and 4096 on a GPU, without reduced precision",
}
"""Description of each measurement, of which the best sample is taken."""

_SMALLEST = 2**16
_ROWS = {"cpu": (256, 1024), "cuda": (256, 4096)}


@dataclass(frozen=True)
class Limits:
    """Limits of the machine for one size of the working set.

    Attributes:
        bandwidth: Highest rate at which memory is moved, bytes a second.
        multiply_add_rate: Highest rate of arithmetic, multiply-adds a second.
    """

    bandwidth: float
    multiply_add_rate: float

    def milliseconds(self, moved: int, multiply_adds: int | None) -> float:
        """Return the shortest time that both limits allow, milliseconds.

        Args:
            moved: Number of bytes that must be moved.
            multiply_adds: Number of multiply-adds; None if unknown.
        """
        arithmetic = (multiply_adds or 0) / self.multiply_add_rate
        return 1000 * max(moved / self.bandwidth, arithmetic)


def measure_limits(working_set: int, dtype: torch.dtype, device: str, seconds: float) -> Limits:
    """Measure both limits, once in a process for each size up to a factor of two.

    Args:
        working_set: Size of operands and result, bytes.
        dtype: Type of the numbers that are moved and multiplied.
        device: Type of the device, "cpu" or "cuda".
        seconds: Time to spend on each measurement.
    """
    size = max(_SMALLEST, 2 ** math.ceil(math.log2(working_set)))
    return _measure(size, dtype, device, seconds)


@functools.cache
def _measure(size: int, dtype: torch.dtype, device: str, seconds: float) -> Limits:
    elements = size // (3 * dtype.itemsize)
    a, b, c = torch.ones(3, elements, dtype=dtype, device=device)
    low, high = _ROWS[device]
    rows = min(max(math.isqrt(elements), low), high)
    left, right, product = torch.ones(3, rows, rows, dtype=dtype, device=device)
    timings = race(
        {
            "triad": lambda: torch.add(b, c, alpha=3, out=a),
            "matmul": lambda: torch.matmul(left, right, out=product),
        },
        synchronize=synchronizer(device),
        seconds=seconds,
    )
    return Limits(
        3 * elements * dtype.itemsize / timings["triad"].best, rows**3 / timings["matmul"].best
    )


def free_memory(device: str) -> int:
    """Return the free memory, bytes; all memory where the system does not report it.

    Args:
        device: Type of the device, "cpu" or "cuda".
    """
    if device == "cuda":
        # Memory that torch has reserved and does not use is free too.
        free: int = torch.cuda.mem_get_info()[0]
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
