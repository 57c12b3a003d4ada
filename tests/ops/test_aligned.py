import pytest
import torch

from equinet.ops import aligned_convolution, gaunt_convolution
from equinet.ops.aligned import rotation_to_pole


@pytest.mark.parametrize("degrees", [(0, 0, 0), (1, 2, 3), (3, 1, 1), (2, 4, 6), (4, 3, 2)])
def test_equals_the_convolution_in_the_common_frame(degrees: tuple[int, int, int]) -> None:
    lmax1, lmax_filter, lmax_out = degrees
    edge_index = torch.randint(0, 5, (2, 20))
    x = torch.randn(5, (lmax1 + 1) ** 2, 3, dtype=torch.float64)
    directions = torch.randn(20, 3, dtype=torch.float64)
    radial = torch.randn(20, lmax_filter + 1, 3, dtype=torch.float64)
    aligned = aligned_convolution(x, directions, radial, edge_index, lmax_out)
    for backend in ("reference", "grid"):
        other = gaunt_convolution(x, directions, radial, edge_index, lmax_out, backend=backend)
        torch.testing.assert_close(aligned, other, rtol=0, atol=1e-12)


def test_rotation_takes_every_direction_to_the_pole() -> None:
    special = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    directions = torch.cat([special, torch.randn(50, 3, dtype=torch.float64)])
    rotation = rotation_to_pole(directions)
    unit = directions / directions.norm(dim=-1, keepdim=True)
    pole = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand_as(unit)
    torch.testing.assert_close(torch.einsum("eij,ej->ei", rotation, unit), pole)
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(56, dtype=torch.float64))
