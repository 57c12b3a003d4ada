"""Would a dense path pay on small fully connected graphs? A training step on N-body batches.

python experiments/orientation/dense_graphs.py

The model and batch of the N-body experiment (100 graphs of 5 particles, 64 channels, 4 layers, 12
orientations), forward and backward, with the fused convolution as it is, with products over padded
graphs in its place, and with none at all, which bounds what any path can gain. Processor time,
since other work on the machine does not change it; the three take turns.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import equinet.nn.orientation.bundle as layers
from equinet.data import NBody
from equinet.models import Ponita
from equinet.o3 import zonal_polynomials

ROUNDS = 15


def dense(x: Tensor, vectors: Tensor, radial: Tensor, edge_index: Tensor, points: Tensor) -> Tensor:
    """Multiply all pairs of a graph at once; edges are sorted by receiver, four a particle."""
    points = points if points.shape[0] == x.shape[1] else torch.cat([points, -points])
    neighbors = x[edge_index[0]].unflatten(0, (-1, 4))
    zonal = zonal_polynomials(radial.shape[1] - 1, vectors.unsqueeze(1), points)
    kernels = torch.bmm(zonal, radial).unflatten(0, (-1, 4))
    return (kernels * neighbors).sum(1)


def none(x: Tensor, vectors: Tensor, radial: Tensor, edge_index: Tensor, points: Tensor) -> Tensor:
    """No convolution, but gradients for its operands."""
    del vectors, edge_index, points
    return x * radial.mean()


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = NBody(train_size=100, val_size=1, test_size=1)
    batch = next(iter(data.train_loader()))
    model = Ponita(channels=64, layers=4, kernel="zonal", **data.model_arguments())
    model.calibrate(batch)
    paths: dict[str, Callable[..., Tensor]] = {
        "fused": layers.orientation_convolution,
        "dense": dense,
        "none": none,
    }
    samples: dict[str, list[float]] = {name: [] for name in paths}
    outputs: dict[str, Tensor] = {}
    for _ in range(ROUNDS):
        for name, path in paths.items():
            layers.orientation_convolution = path
            start = time.process_time()
            outputs[name] = model(batch)["vectors"]
            outputs[name].square().mean().backward()
            samples[name].append(time.process_time() - start)
    torch.testing.assert_close(outputs["dense"], outputs["fused"], rtol=1e-4, atol=1e-5)
    fused = statistics.median(samples["fused"])
    for name, times in samples.items():
        median = statistics.median(times)
        print(f"{name:<6} {1000 * median:7.1f} ms  {fused / median:5.2f} times as fast as fused")


if __name__ == "__main__":
    main()
