import pytest
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


@pytest.mark.parametrize(
    ("dtype", "lengths"),
    [
        (torch.float64, (1e-300, 1e-160, 1e160, 1e300)),
        (torch.float32, (1e-37, 1e-20, 1e20, 1e37)),
        (torch.bfloat16, (1e-37, 1e37)),
        (torch.float16, (1e-3, 3e4)),
    ],
)
def test_the_length_of_a_direction_does_not_matter(dtype, lengths) -> None:
    unit = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=-1)
    for length in lengths:
        directions = (length * unit).to(dtype).requires_grad_()
        rotation = rotation_to_pole(directions)
        plain = rotation_to_pole(directions.detach().double() / length)
        # Small numbers of half precision have fewer digits, and so has the direction.
        close = 8 * torch.finfo(dtype).eps
        torch.testing.assert_close(rotation.double(), plain, rtol=0, atol=close)
        if dtype.itemsize > 2 and length > 1e-30:
            (gradient,) = torch.autograd.grad(rotation.square().sum(), directions)
            assert gradient.isfinite().all()
