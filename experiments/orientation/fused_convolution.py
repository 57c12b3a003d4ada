"""Time and peak memory of the fused convolution against one that makes the kernel of every edge.

    python experiments/orientation/fused_convolution.py

Small molecules, fully connected, as in QM9: 24 graphs of 18 nodes, 12 orientations, 128 channels,
zonal kernels of degree 2, float32. The plain form holds the kernel [E, O, C] and the messages.
Value and gradient by features, edge vectors and radial weights; medians of calls in turns of two
processes, so that each has a peak memory of its own: that of the resident set above what the inputs
take. Linux only.
"""

import multiprocessing
import resource
import statistics
import time
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from equinet.o3 import orientation_grid, zonal_polynomials
from equinet.ops import orientation_convolution, segment_sum

GRAPHS, NODES, CHANNELS, LMAX, ROUNDS = 24, 18, 128, 2, 15


def plain(x: Tensor, vectors: Tensor, radial: Tensor, edge_index: Tensor, points: Tensor) -> Tensor:
    """Make the kernel [E, O, C], multiply the senders by it, sum."""
    sender, receiver = edge_index
    kernel = zonal_polynomials(LMAX, vectors.unsqueeze(1), points) @ radial
    return segment_sum(kernel * x.index_select(0, sender), receiver, x.shape[0])


def fused(x: Tensor, vectors: Tensor, radial: Tensor, edge_index: Tensor, points: Tensor) -> Tensor:
    """Do the same by the package; the second half of the points is opposite to the first."""
    return orientation_convolution(x, vectors, radial, edge_index, points[: len(points) // 2])


FORMS = {"plain": plain, "fused": fused}


def serve(name: str, connection: Connection) -> None:
    """Answer each request with the seconds of one call and the peak memory so far, MB."""
    torch.manual_seed(0)
    points = orientation_grid("icosahedron12").points.float()
    node = torch.arange(GRAPHS * NODES)
    linked = (node[:, None] // NODES == node // NODES) & (node[:, None] != node)
    edge_index = linked.nonzero().T.flip(0).contiguous()
    edges = edge_index.shape[1]
    x = torch.randn(len(node), len(points), CHANNELS, requires_grad=True)
    vectors = torch.randn(edges, 3, requires_grad=True)
    radial = torch.randn(edges, LMAX + 1, CHANNELS, requires_grad=True)
    cotangent = torch.randn(len(node), len(points), CHANNELS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while connection.recv():
        start = time.perf_counter()
        y = FORMS[name](x, vectors, radial, edge_index, points)
        torch.autograd.grad(y, (x, vectors, radial), cotangent)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        connection.send((seconds, peak / 1024))


def main() -> None:
    """Print one line for each form and the ratios."""
    context = multiprocessing.get_context("spawn")
    connections = {}
    for name in FORMS:
        connections[name], theirs = context.Pipe()
        context.Process(target=serve, args=(name, theirs)).start()
    answers: dict[str, list[tuple[float, float]]] = {name: [] for name in FORMS}
    for _ in range(ROUNDS):
        for name, connection in connections.items():
            connection.send(True)
            answers[name].append(connection.recv())
    for connection in connections.values():
        connection.send(False)
    figures = {}
    for name, pairs in answers.items():
        milliseconds = 1000 * statistics.median(seconds for seconds, _ in pairs[2:])
        figures[name] = milliseconds, pairs[-1][1]
        print(f"{name}: {figures[name][0]:.1f} ms, {figures[name][1]:.0f} MB")
    time_ratio, memory_ratio = (a / b for a, b in zip(*figures.values(), strict=True))
    print(f"fused: {time_ratio:.1f} times faster, in 1/{memory_ratio:.1f} of the memory")


if __name__ == "__main__":
    main()
