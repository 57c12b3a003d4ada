"""The Clebsch-Gordan convolution is the sum that its formula says."""

import math

import pytest
import torch

from equinet.nn import ClebschGordanConv
from equinet.nn.sphere.couplings import path_coupling
from equinet.nn.sphere.path_convolution import natural_paths
from equinet.o3 import rotate, spherical_harmonics


def arguments(lmax: int, layer: ClebschGordanConv) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    x = torch.randn(4, (lmax + 1) ** 2, 3, dtype=torch.float64)
    vectors = torch.randn(6, 3, dtype=torch.float64)
    radial = torch.randn(6, layer.paths, 3, dtype=torch.float64)
    edge_index = torch.tensor([[1, 2, 0, 3, 0, 1], [0, 0, 1, 2, 2, 2]])
    return x, vectors, radial, edge_index


@pytest.mark.parametrize("lmax", [0, 1, 2])
def test_messages_are_sums_over_paths(lmax: int) -> None:
    layer = ClebschGordanConv(lmax, 2, 3, average_neighbors=2.5).double()
    x, vectors, radial, edge_index = arguments(lmax, layer)
    harmonics = spherical_harmonics(2, vectors)
    found = layer(x, vectors, harmonics, radial, edge_index)
    expected = torch.zeros(4, 9, 3, dtype=torch.float64)
    used = [0, 0, 0]
    paths = natural_paths(lmax, 2, 2)
    for number, (l1, l2, l3) in enumerate(paths):
        count = sum(path.out == l3 for path in paths)
        matrix = layer.mixing[l3][used[l3] * 3 : (used[l3] + 1) * 3] / math.sqrt(3 * count)
        used[l3] += 1
        couplings = torch.tensor(path_coupling(l1, l2, l3))
        for edge, (sender, receiver) in enumerate(edge_index.T.tolist()):
            message = torch.einsum(
                "ic,j,ijk,c->kc",
                x[sender, l1**2 : (l1 + 1) ** 2],
                math.sqrt(4 * math.pi) * harmonics[edge, l2**2 : (l2 + 1) ** 2],
                couplings,
                radial[edge, number],
            )
            expected[receiver, l3**2 : (l3 + 1) ** 2] += message @ matrix / 2.5
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("improper", [False, True])
def test_the_layer_is_equivariant(improper: bool, random_rotation: torch.Tensor) -> None:
    layer = ClebschGordanConv(2, 3, 3, average_neighbors=2.0).double()
    x, vectors, radial, edge_index = arguments(2, layer)
    rotation = -random_rotation if improper else random_rotation
    parity = 1 if improper else None

    def convolve(x: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        return layer(x, vectors, spherical_harmonics(3, vectors), radial, edge_index)

    before = rotate(convolve(x, vectors), rotation, parity)
    after = convolve(rotate(x, rotation, parity), vectors @ rotation.T)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-11)


def test_without_edges_the_result_is_zero() -> None:
    layer = ClebschGordanConv(1, 2, 3, average_neighbors=2.0)
    nothing = torch.zeros(0, 3)
    z = layer(
        torch.randn(2, 4, 3),
        nothing,
        torch.zeros(0, 9),
        torch.zeros(0, layer.paths, 3),
        torch.zeros(2, 0, dtype=torch.long),
    )
    assert torch.equal(z, torch.zeros(2, 9, 3))
