"""Where a training step of MACEGaunt spends its time on a GPU: launches, kernels, waiting.

python experiments/gpu/launches.py --data PATH_OF_3BPA

The step is that of experiments/3bpa/against_mace.py.
"""

import argparse
import collections
import sys
import time
import warnings
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "3bpa"))
import against_mace

STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("launches.py: torch sees no CUDA device; run it on a machine with one")
    atoms, energies = against_mace.read(arguments.data, 5)
    step = against_mace.equinet_work(atoms, energies, 64, "cuda")[0]["training"]
    for _ in range(against_mace.WARM_UP):
        step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    print(f"{1000 * (time.perf_counter() - start) / STEPS:.1f} ms a step")
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        step()
        torch.cuda.set_sync_debug_mode("default")
    places = collections.Counter(f"{Path(w.filename).name}:{w.lineno}" for w in waits)
    print("waits for the GPU in", ", ".join(f"{place} ({n})" for place, n in places.items()))
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
    kernels = [
        each for each in record.events() if each.device_type == torch.autograd.DeviceType.CUDA
    ]
    busy = sum(each.device_time for each in kernels) / 1000 / STEPS
    print(f"{len(kernels) / STEPS:.0f} kernels a step, {busy:.2f} ms of work")
    print(record.key_averages().table(sort_by="self_cuda_time_total", row_limit=20))


if __name__ == "__main__":
    main()
