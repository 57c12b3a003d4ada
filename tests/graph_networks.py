"""Networks on graphs and their inputs that the tests of Ponita and SEGNN have in common."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch_geometric.data import Data

from equinet.models import SEGNN, Ponita
from equinet.models.graphs.graph_model import GraphModel


def ponita(**options: Any) -> Ponita:
    """Make a network whose parameters are all away from where they start."""
    torch.manual_seed(1)
    vectors = 0 if options.get("mode") == "position" else 1
    arguments = {
        "in_scalars": 2,
        "in_vectors": vectors,
        "out_scalars": 3,
        "out_vectors": 2 * vectors,
        "channels": 8,
        "layers": 2,
    }
    model = Ponita(**arguments | options).double()
    for name, parameter in model.named_parameters():
        # As they start, MLPs hardly depend on their input, and symmetry costs them nothing.
        if name.endswith("bias") or "functions.network" in name or "fiber_basis" in name:
            torch.nn.init.normal_(parameter)
    return model


def segnn(**options: Any) -> SEGNN:
    """Make a network whose parameters are all away from where they start."""
    torch.manual_seed(1)
    arguments = {
        "in_scalars": 2,
        "in_vectors": 1,
        "in_edge_scalars": 1,
        "out_scalars": 3,
        "out_vectors": 2,
        "channels": 4,
        "layers": 2,
    }
    model = SEGNN(**arguments | options).double()
    for name, parameter in model.named_parameters():
        if parameter.numel() and ("bias" in name or "coupling" in name or "steering" in name):
            torch.nn.init.normal_(parameter)
    return model


MODES = [
    {"mode": "bundle", "kernel": "mlp"},
    {"mode": "bundle", "kernel": "zonal"},
    {"mode": "bundle", "kernel": "full"},
    {"mode": "bundle", "moving": True},
    {"mode": "lifted"},
    {"mode": "position"},
]
PRODUCTS = ["cg", "gaunt", "gaunt+odd"]
SIZES = [
    {},
    {"lmax": 2, "lmax_attributes": 2},
    {"lmax": 2, "lmax_attributes": 1, "moving": True},
    {"lmax": 1, "lmax_attributes": 2, "cutoff": 3.0},
]


def _named(kind: Callable[..., GraphModel], options: dict[str, Any]) -> str:
    return "-".join([kind.__name__, *(f"{name}={value}" for name, value in options.items())])


NETWORKS: dict[str, Callable[..., GraphModel]] = {
    _named(kind, options): partial(kind, **options)
    for kind, options in (
        *((ponita, options) for options in MODES),
        *((segnn, {"product": product} | size) for product in PRODUCTS for size in SIZES),
    )
}
"""Makers of a network of every mode of Ponita, and of every product and size of SEGNN."""


def all_pairs(nodes: int) -> torch.Tensor:
    return (1 - torch.eye(nodes)).nonzero().T.flip(0)


def cloud(nodes: int = 6, dimension: int = 3, seed: int = 0, vectors: int = 1) -> Data:
    """Draw nodes with two scalars and some vectors, all joined by edges with a scalar."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    edge_index = all_pairs(nodes)
    return Data(
        x=draw(nodes, 2),
        vec=draw(nodes, vectors, dimension),
        pos=draw(nodes, dimension),
        edge_index=edge_index,
        edge_scalars=draw(edge_index.shape[1], 1),
    )


def moved(data: Data, matrix: torch.Tensor) -> Data:
    """Apply an orthogonal map to positions and vectors."""
    result = copy.copy(data)
    result.pos, result.vec = data.pos @ matrix.T, data.vec @ matrix.T
    return result


def chiral_tetrahedron() -> Data:
    """A center with four neighbors that all differ, as the carbon of an enantiomer."""
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    pos = torch.cat([torch.zeros(1, 3, dtype=torch.float64), corners])
    x = torch.stack([torch.arange(5.0), torch.ones(5)], dim=1).double()
    return Data(
        x=x, vec=torch.zeros(5, 1, 3, dtype=torch.float64), pos=pos, edge_index=all_pairs(5)
    )
