"""Count the work of dense and separable group convolutions and time both, in one run.

python experiments/affnist/separable.py

The published network at its widths (40 channels, 10 samples, 5 × 5 taps) with dense and with
separable kernels, and GroupResNet. Images per second of processor time on one thread, which other
processes slow down little; the best of some rounds that take turns. Prints a Markdown table.
"""

import argparse
import time

import torch
from torch import nn

from equinet.models import DenseGroupResNet, GroupResNet
from equinet.training import multiply_adds


def forward_seconds(network: nn.Module, images: torch.Tensor) -> float:
    """Processor time of one pass of the frozen network."""
    with torch.inference_mode():
        start = time.process_time()
        network(images)
        return time.process_time() - start


def training_seconds(network: nn.Module, images: torch.Tensor) -> float:
    """Processor time of one pass and its gradients, the making of kernels included."""
    labels = torch.zeros(len(images), dtype=torch.int64)
    start = time.process_time()
    nn.functional.cross_entropy(network(images), labels).backward()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks = {
        "published widths, dense": DenseGroupResNet(),
        "published widths, separable": DenseGroupResNet(separable=True),
        "GroupResNet": GroupResNet(random_frames=True),
    }
    images = torch.zeros(arguments.batch, 1, 40, 40)
    images[..., 8:32, 8:32] = torch.rand(arguments.batch, 1, 24, 24)
    frozen = {name: network.eval().freeze() for name, network in networks.items()}
    forward: dict[str, list[float]] = {name: [] for name in networks}
    training: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(arguments.rounds):
        for name, network in networks.items():
            forward[name].append(forward_seconds(frozen[name], images))
            training[name].append(training_seconds(network.train(), images))
    print("| network | parameters | million multiply-adds | forward, img/s | training, img/s |")
    print("|---|---|---|---|---|")
    for name, network in networks.items():
        parameters = sum(p.numel() for p in network.parameters())
        work = multiply_adds(network, images[0]) / 1e6
        rates = (arguments.batch / min(each[name]) for each in (forward, training))
        cells = " | ".join(f"{rate:.3g}" for rate in rates)
        print(f"| {name} | {parameters:,} | {work:,.1f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
