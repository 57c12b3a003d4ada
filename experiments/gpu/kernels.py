"""Time the compiled products on a GPU, one launch of each: picoseconds a function and channel.

python experiments/gpu/kernels.py [--batch 32768] [--channels 128]

Medians of events around a call of the op, launch included; first the speed of the memory.
For the counters: ``ncu -k regex:multiply python experiments/gpu/kernels.py --batch 16384``.
"""

import argparse
import statistics
from collections.abc import Callable

import torch

from equinet.bench.limits import measure_limits
from equinet.ops import native
from equinet.ops.native.sphere_forms import sphere_forms

ROUNDS = 7
DEGREES = [
    *((lmax, lmax, lmax) for lmax in range(1, 9)),
    *((lmax, lmax, 2 * lmax) for lmax in (2, 3, 4)),
    *((2 * lmax, lmax, lmax) for lmax in (2, 4)),
    (10, 10, 10),
]


def milliseconds(call: Callable[[], object]) -> float:
    """Median over rounds, after one to warm up."""
    call()
    times = []
    for _ in range(ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32768)
    parser.add_argument("--channels", type=int, default=128)
    arguments = parser.parse_args()
    missing = native.unavailable("sphere_forms", "cuda")
    if missing:
        raise SystemExit(f"kernels.py: {missing}")
    limits = measure_limits(2**31, torch.float32, "cuda", 0.2)
    print(f"{torch.cuda.get_device_name()}: {limits.bandwidth / 1e12:.2f} TB/s")
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for degrees in DEGREES:
            x, y = (
                torch.randn(
                    arguments.batch,
                    (lmax + 1) ** 2,
                    arguments.channels,
                    dtype=dtype,
                    device="cuda",
                )
                for lmax in degrees[:2]
            )
            taken = milliseconds(lambda: sphere_forms([x, y], "ab", [degrees[2]]))  # noqa: B023
            components = sum((lmax + 1) ** 2 for lmax in degrees)
            functions = arguments.batch * arguments.channels
            moved = components * x.element_size() * functions / taken / 1e9
            name = str(dtype).removeprefix("torch.")
            print(f"{name:9} {degrees!s:12} {1e9 * taken / functions:8.1f} ps {moved:6.2f} TB/s")


if __name__ == "__main__":
    main()
