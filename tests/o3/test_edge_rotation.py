import torch

from equinet.o3 import rotation_to_pole


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
