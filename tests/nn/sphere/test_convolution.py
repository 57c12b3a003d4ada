from functools import partial

import pytest
import torch

from equinet.nn import GauntConv, RadialNetwork
from equinet.o3 import spherical_harmonics

EDGES = torch.randint(0, 6, (2, 40), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("lmax", [0, 1, 3])
@pytest.mark.parametrize("lmax_out", [0, 2, 4])
def test_the_two_forms_agree_with_their_gradients(lmax: int, lmax_out: int) -> None:
    forms = []
    for form in ("generic", "aligned"):
        torch.manual_seed(0)
        layer = GauntConv(lmax, 2, lmax_out, 3, average_neighbors=6.0, form=form).double()
        x = torch.randn(6, (lmax + 1) ** 2, 3, dtype=torch.float64, requires_grad=True)
        directions = torch.randn(40, 3, dtype=torch.float64)
        # Edges along the axes are common in crystals, and both poles are special when aligning.
        directions[:6] = torch.cat([torch.eye(3), -torch.eye(3)])
        directions.requires_grad_()
        radial = torch.randn(40, 3, 3, dtype=torch.float64)
        z = layer(x, directions, radial, EDGES)
        options = {"allow_unused": True, "materialize_grads": True}
        loss = z.square().sum()
        gradients = torch.autograd.grad(loss, [x, directions], create_graph=True, **options)
        mixed = gradients[0].square().sum() + gradients[1].square().sum()
        second = torch.autograd.grad(mixed, [x, directions], **options)
        forms.append((z, *gradients, *second))
    for generic, aligned in zip(*forms, strict=True):
        torch.testing.assert_close(generic, aligned, rtol=1e-10, atol=1e-10)


def test_output_has_about_unit_variance() -> None:
    torch.manual_seed(0)
    nodes, neighbors = 200, 15.0
    layer = GauntConv(2, 3, 3, 16, average_neighbors=neighbors)
    receiver = torch.arange(nodes).repeat_interleave(int(neighbors))
    sender = torch.randint(0, nodes, receiver.shape)
    x, directions = torch.randn(nodes, 9, 16), torch.randn(len(receiver), 3)
    radial = torch.randn(len(receiver), 4, 16)
    z = layer(x, directions, radial, torch.stack([sender, receiver]))
    for degree in range(4):
        variance = z[:, degree**2 : (degree + 1) ** 2].square().mean()
        assert 0.7 < variance < 1.4


def test_the_bracket_has_about_unit_variance_of_its_own() -> None:
    nodes, neighbors = 200, 15.0
    torch.manual_seed(0)
    layer = GauntConv(2, 3, 3, 16, average_neighbors=neighbors, odd=True)
    receiver = torch.arange(nodes).repeat_interleave(int(neighbors))
    edge_index = torch.stack([torch.randint(0, nodes, receiver.shape), receiver])
    x, directions = torch.randn(nodes, 9, 16), torch.randn(len(receiver), 3)
    radial = torch.randn(len(receiver), 4, 16)
    z = layer(x, directions, radial, edge_index)
    layer.odd = None
    bracket = z - layer(x, directions, radial, edge_index)
    assert bracket[:, 0].abs().max() < 1e-5, "no two degrees couple to degree zero with odd sum"
    for degree in range(1, 4):
        variance = bracket[:, degree**2 : (degree + 1) ** 2].square().mean()
        assert 0.7 < variance < 1.4


@pytest.mark.parametrize("odd", [False, True])
def test_a_radial_network_takes_the_gain_in(odd: bool) -> None:
    torch.manual_seed(0)
    layer = GauntConv(1, 2, 2, 3, average_neighbors=6.0, odd=odd).double()
    for weights in layer.parameters():
        torch.nn.init.normal_(weights)
    network = RadialNetwork(4, 2, 3, hidden=(5,)).double()
    x, directions = torch.randn(6, 4, 3).double(), torch.randn(40, 3).double()
    basis = torch.randn(40, 4).double()
    outside = layer(x, directions, network(basis), EDGES)
    inside = layer(x, directions, partial(network, basis), EDGES)
    torch.testing.assert_close(inside, outside, rtol=1e-12, atol=1e-12)


def test_no_edges_gives_zeros() -> None:
    layer = GauntConv(1, 1, 1, 4, average_neighbors=1.0)
    empty = torch.zeros(2, 0, dtype=torch.long)
    z = layer(torch.randn(3, 4, 4), torch.zeros(0, 3), torch.zeros(0, 2, 4), empty)
    assert torch.equal(z, torch.zeros(3, 4, 4))


def test_odd_aligned_is_refused() -> None:
    with pytest.raises(ValueError, match="form='generic'"):
        GauntConv(1, 1, 1, 4, average_neighbors=1.0, form="aligned", odd=True)


@pytest.mark.parametrize("odd", [False, True])
def test_layers_may_share_harmonics(odd: bool) -> None:
    layer = GauntConv(1, 2, 2, 3, average_neighbors=6.0, odd=odd).double()
    x, directions = torch.randn(6, 4, 3).double(), torch.randn(40, 3).double()
    radial = torch.randn(40, 3, 3).double()
    unasked = torch.full_like(directions, torch.nan)
    shared = layer(x, unasked, radial, EDGES, spherical_harmonics(2, directions))
    torch.testing.assert_close(shared, layer(x, directions, radial, EDGES), rtol=0, atol=1e-13)
