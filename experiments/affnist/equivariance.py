"""Measure how far networks on matrix groups are from invariant, by samples, motion and sampler.

python experiments/affnist/equivariance.py [--picture experiments/affnist/equivariance.png]

Networks with random weights on images of smooth spots, which are moved exactly, by their formula.
An error is the root mean square change of the logits when images move, over the root mean square
deviation of logits between images. The published sampler draws its samples anew in every pass, in
evaluation, too (or once, for comparison); its network is the published one, eight channels wide.
Prints a Markdown table.
"""

import argparse
import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from equinet.lie import SL, GroupQuadrature, Window
from equinet.models import DenseGroupResNet, GroupResNet
from equinet.models.images import dense_group_resnet

IMAGES, SPOTS, SIZE = 8, 5, 40
ANGLES = tuple(range(0, 91, 5))


def motions() -> dict[str, Tensor]:
    """The columns of the table."""

    def turn(degrees: float) -> Tensor:
        angle = math.radians(degrees)
        cosine, sine = math.cos(angle), math.sin(angle)
        return torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)

    stretch = torch.diag(torch.tensor([1.15, 1 / 1.15], dtype=torch.float64))
    return {
        "rotation 20°": turn(20),
        "rotation 69°": turn(69),
        "rotation 90°": turn(90),
        "stretch 1.15": turn(30) @ stretch @ turn(-30),
        "scaling 1.15": 1.15 * turn(0),
        **{f"{angle}": turn(angle) for angle in ANGLES},
    }


def spots(motion: Tensor, generator: torch.Generator) -> Tensor:
    """Images [B, 1, 40, 40] of Gaussian spots within ten pixels of the center, moved."""
    centers = torch.randn(IMAGES, SPOTS, 2, dtype=torch.float64, generator=generator) * 4.5
    centers = centers * (10 / centers.norm(dim=-1, keepdim=True)).clamp(max=1)
    strengths = 0.5 + torch.rand(IMAGES, SPOTS, dtype=torch.float64, generator=generator)
    line = torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([columns, rows], -1) @ torch.linalg.inv(motion).T
    squares = (points - centers[:, :, None, None]).square().sum(-1)
    values = strengths[:, :, None, None] * (-squares / (2 * 1.8**2)).exp()
    return values.sum(1, keepdim=True).float()


def published_samples(count: int, generator: torch.Generator) -> GroupQuadrature:
    """Equispaced angles with both ends, each with a log-normal stretch of its own; no weights."""
    group = SL(2)
    angles = torch.linspace(-math.pi, math.pi, count, dtype=torch.float64)
    draws = torch.randn(count, 2, dtype=torch.float64, generator=generator)
    coordinates = torch.cat([math.sqrt(0.1) / 2 * draws, angles.unsqueeze(-1)], dim=-1)
    elements = group.decompose("cartan").compose(coordinates)
    ones = torch.ones(count, dtype=torch.float64)
    inverses = group.inverse(elements)
    return GroupQuadrature(group, Window(stretch=0.3), elements, inverses, coordinates, ones)


def published(count: int, seed: int, *, redraw: bool) -> Callable[[Tensor], Tensor]:
    """The published network, with new samples in every call, or those of the first."""
    generator = torch.Generator().manual_seed(seed)

    def build() -> nn.Module:
        samples = published_samples(count, generator)
        with mock.patch.object(dense_group_resnet, "group_quadrature", return_value=samples):
            return DenseGroupResNet(channels=8, rotations=count).eval()

    torch.manual_seed(seed)
    first = build()
    if not redraw:
        return first
    state = first.state_dict()

    def call(images: Tensor) -> Tensor:
        network = build()
        network.load_state_dict(state)
        return network(images)

    return call


def closed(rotations: int, seed: int, **options: Any) -> nn.Module:
    """The same network on a rule that its rotations permute."""
    torch.manual_seed(seed)
    return DenseGroupResNet(channels=8, rotations=rotations, rule="product", **options).eval()


def ours(rotations: int, stretches: int, seed: int) -> nn.Module:
    """The network of this package."""
    torch.manual_seed(seed)
    return GroupResNet(group="sl2", rotations=rotations, stretches=stretches, blocks=2).eval()


SMOOTH: dict[str, Any] = {"frequency": 4.0, "pool": "mean"}
NETWORKS: dict[str, tuple[int, Callable[[int], Callable[[Tensor], Tensor]]]] = {
    "published sampler": (8, lambda seed: published(8, seed, redraw=True)),
    "published sampler, drawn once": (8, lambda seed: published(8, seed, redraw=False)),
    "published sampler ": (16, lambda seed: published(16, seed, redraw=True)),
    "published sampler, drawn once ": (16, lambda seed: published(16, seed, redraw=False)),
    "product rule": (8, lambda seed: closed(8, seed)),
    "product rule ": (16, lambda seed: closed(16, seed)),
    "product rule, frequency 4, mean": (8, lambda seed: closed(8, seed, **SMOOTH)),
    "product rule, frequency 4, mean ": (16, lambda seed: closed(16, seed, **SMOOTH)),
    "GroupResNet, 4 rotations": (4, lambda seed: ours(4, 1, seed)),
    "GroupResNet, 8 rotations": (8, lambda seed: ours(8, 1, seed)),
    "GroupResNet, 16 rotations": (16, lambda seed: ours(16, 1, seed)),
    "GroupResNet, 8 × 5 stretches": (40, lambda seed: ours(8, 5, seed)),
}


@torch.no_grad()
def errors(network: Callable[[Tensor], Tensor], seed: int) -> dict[str, float]:
    """Squared relative change of the logits by motion."""

    def logits(motion: Tensor) -> Tensor:
        return network(spots(motion, torch.Generator().manual_seed(seed))).double()

    still = logits(torch.eye(2, dtype=torch.float64))
    spread = (still - still.mean(0)).square().mean()
    return {
        name: float((logits(motion) - still).square().mean() / spread)
        for name, motion in motions().items()
    }


def draw(curves: dict[str, list[float]], path: str) -> None:
    """Errors against the angle of rotation."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set_prop_cycle(color=colormaps["tab20"].colors)
    for name, values in curves.items():
        axis.plot(ANGLES, [max(value, 1e-7) for value in values], label=name, marker=".")
    axis.set(xlabel="rotation (degrees)", ylabel="relative change of the logits", yscale="log")
    axis.set_ylim(1e-4, 10)
    axis.grid(visible=True, alpha=0.2)
    axis.legend(frameon=False, fontsize=7)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", default="experiments/affnist/equivariance.png")
    arguments = parser.parse_args()
    shown = [name for name in motions() if not name.isdigit()]
    print(f"| network | samples | {' | '.join(shown)} |")
    print("|---" * (len(shown) + 2) + "|")
    curves = {}
    for name, (samples, make) in NETWORKS.items():
        squares = [errors(make(seed), seed) for seed in range(arguments.seeds)]
        found = {
            key: math.sqrt(sum(each[key] for each in squares) / len(squares)) for key in squares[0]
        }
        curves[f"{name.strip()} ({samples})"] = [found[f"{angle}"] for angle in ANGLES]
        cells = " | ".join(f"{found[key]:.2g}" for key in shown)
        print(f"| {name.strip()} | {samples} | {cells} |", flush=True)
    draw(curves, arguments.picture)


if __name__ == "__main__":
    main()
