"""Assert that a model's forces are the derivatives of its energy."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from equinet.testing.tolerances import FINITE_DIFFERENCE, NETWORK, Tolerance, check_close


def assert_conservative(
    model: nn.Module,
    graph: Any,
    *,
    step: float = 2e-3,
    components: int = 12,
    tolerance: Tolerance = FINITE_DIFFERENCE,
    seed: int = 0,
) -> None:
    """Assert that forces are minus the energy's gradient and sum to zero in each structure.

    A copy of the model is evaluated in float64 and evaluation mode; the model is left alone.

    Args:
        model: Model that is called as ``model(graph)`` and returns a dict with ``energy`` [G] in eV
            and ``forces`` [N, 3] in eV/Å.
        graph: Data or Batch of PyG; its edges are kept while atoms are displaced.
        step: Displacement in Å of the four-point difference, whose error grows as its fourth power.
        components: Number of force components, drawn at random, that are compared; at most all.
        tolerance: Error allowed, relative to the largest force compared.
        seed: Seed of the draw.

    Raises:
        AssertionError: If forces differ from the derivatives or do not sum to zero; the message
            names the quantity and the error.

    Example:
        >>> from torch_geometric.data import Data
        >>> class Spring(nn.Module):
        ...     def forward(self, graph):
        ...         stretch = graph.pos[1] - graph.pos[0]
        ...         energy = stretch.square().sum().view(1) / 2
        ...         return {"energy": energy, "forces": torch.stack([stretch, -stretch])}
        >>> assert_conservative(Spring(), Data(pos=torch.randn(2, 3)))
    """
    model = copy.deepcopy(model).double().eval()
    graph = graph.clone()
    graph.pos = graph.pos.detach().double()
    forces = model(graph)["forces"].detach()
    if forces.shape != graph.pos.shape:
        raise AssertionError(
            f"forces: shape {list(forces.shape)} where {list(graph.pos.shape)} is expected"
        )
    batch = getattr(graph, "batch", None)
    if batch is None:
        batch = torch.zeros(len(forces), dtype=torch.long, device=forces.device)
    net = forces.new_zeros(int(batch.max()) + 1, 3).index_add(0, batch, forces)
    largest = max(float(forces.abs().max()), 1.0)
    check_close("net force (eV/Å)", net / largest, torch.zeros_like(net), NETWORK.of(torch.float64))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(forces.numel(), generator=generator)[:components].to(forces.device)
    differences = torch.stack([_slope(model, graph, int(each), step) for each in chosen])
    check_close(
        "forces against energy differences (eV/Å)",
        forces.flatten()[chosen],
        -differences,
        tolerance.of(torch.float64),
    )


def _slope(model: nn.Module, graph: Any, component: int, step: float) -> Tensor:
    """Return the energy's slope along one coordinate by the four-point difference."""
    slope = torch.zeros((), dtype=torch.float64, device=graph.pos.device)
    for displacement, weight in ((step, 2 / 3), (2 * step, -1 / 12)):
        for sign in (1, -1):
            moved = graph.clone()
            moved.pos.view(-1)[component] += sign * displacement
            slope = slope + sign * weight / step * model(moved)["energy"].detach().double().sum()
    return slope
