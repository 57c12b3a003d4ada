"""Every layer commutes with rotations; layers of natural parity commute with reflections too."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from equinet.nn import (
    DegreeLinear,
    DegreeNorm,
    Gate,
    GauntConv,
    GauntManyBody,
    GauntProduct,
    GauntSelfMix,
)
from equinet.o3 import rotate

CHANNELS, NODES = 5, 7
KINDS = torch.arange(NODES) % 3
EDGES = torch.randint(0, NODES, (2, 30), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _double() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def unary(layer: torch.nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, _: layer(x)


def off_its_start(layer: torch.nn.Module) -> torch.nn.Module:
    """Move all parameters: biases start at zero, gains at one, which hides where they act."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    return layer


def cases() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    mix = off_its_start(GauntSelfMix(2, CHANNELS))
    odd_mix = off_its_start(GauntSelfMix(2, CHANNELS, hidden=4, odd=True))
    product = GauntProduct(2, 2, 3, CHANNELS)
    odd_product = GauntProduct(2, 2, 3, CHANNELS, odd=True)
    many = GauntManyBody(2, 2, CHANNELS, correlation=3, kinds=3)
    odd_many = GauntManyBody(2, 3, CHANNELS, correlation=2, kinds=3, odd=True)
    radial = torch.randn(EDGES.shape[1], 3, CHANNELS)
    convolutions = {
        name: GauntConv(2, 2, 2, CHANNELS, average_neighbors=4.0, **options)
        for name, options in (
            ("convolution", {}),
            ("aligned convolution", {"form": "aligned"}),
            ("odd convolution", {"odd": True}),
        )
    }
    kind_linear = DegreeLinear(2, CHANNELS, 3, kinds=3)
    return {
        "linear": unary(off_its_start(DegreeLinear(2, CHANNELS, 3, bias=True))),
        "kind linear": lambda x, _: kind_linear(x, KINDS),
        "norm": unary(off_its_start(DegreeNorm(2, CHANNELS))),
        "gate": unary(off_its_start(Gate(2, CHANNELS))),
        "product": lambda x, _: product(x, x.flip(-1)),
        "odd product": lambda x, _: odd_product(x, x.flip(-1)),
        "mix": unary(mix),
        "odd mix": unary(odd_mix),
        "many body": lambda x, _: many(x, KINDS),
        "odd many body": lambda x, _: odd_many(x, KINDS),
    } | {
        name: (lambda x, d, layer=layer: layer(x, d, radial, EDGES))
        for name, layer in convolutions.items()
    }


@pytest.mark.parametrize("name", list(cases()))
@pytest.mark.parametrize("improper", [False, True])
def test_layers_commute_with_orthogonal_maps(
    name: str, improper: bool, random_rotation: Tensor
) -> None:
    layer = cases()[name]
    x = torch.randn(NODES, 9, CHANNELS)
    directions = torch.randn(EDGES.shape[1], 3)
    rotation = -random_rotation if improper else random_rotation
    before = rotate(layer(x, directions), rotation, parity=1)
    after = layer(rotate(x, rotation, parity=1), directions @ rotation.T)
    error = (before - after).abs().max() / after.abs().max()
    if improper and "odd" in name:
        # The bracket changes sign under reflections, as documented; here it must be seen to.
        assert error > 1e-3
    else:
        assert error < 1e-12
