import pytest
import torch

from equinet.nn import ClebschGordanProduct, ClebschGordanSelfMix
from equinet.o3 import bracket_gain, bracket_tensor, gaunt_gain, gaunt_tensor, rotate
from equinet.testing import random_rotations


def reference(product: ClebschGordanProduct, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Path by path, from the whole tensors."""
    lmax1, lmax2, lmax_out = product.degrees
    even, odd = (tensor(lmax1, lmax2, lmax_out) for tensor in (gaunt_tensor, bracket_tensor))
    z = torch.zeros(*x.shape[:-2], (lmax_out + 1) ** 2, x.shape[-1], dtype=x.dtype)
    paths = [
        (l1, l2, l3)
        for l1 in range(lmax1 + 1)
        for l2 in range(lmax2 + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, lmax_out) + 1)
    ]
    for weight, (l1, l2, l3) in zip(product.weight, paths, strict=True):
        tensor = odd if sum((l1, l2, l3)) % 2 else even
        gain = (bracket_gain if sum((l1, l2, l3)) % 2 else gaunt_gain)(l1, l2, l3)
        i, j, k = (slice(degree**2, (degree + 1) ** 2) for degree in (l1, l2, l3))
        count = sum(path[2] == l3 for path in paths)
        coupling = tensor[i, j, k] * ((2 * l3 + 1) / count) ** 0.5 / gain
        z[..., k, :] += weight * torch.einsum(
            "ijk,...ic,...jc->...kc", coupling, x[..., i, :], y[..., j, :]
        )
    return z


@pytest.mark.parametrize("degrees", [(0, 0, 0), (1, 1, 1), (2, 1, 3), (3, 2, 1), (2, 2, 4)])
def test_equals_the_sum_over_paths(degrees: tuple[int, int, int]) -> None:
    product = ClebschGordanProduct(*degrees, 3).double()
    torch.nn.init.normal_(product.weight)
    x, y = (torch.randn(2, 4, (each + 1) ** 2, 3, dtype=torch.float64) for each in degrees[:2])
    torch.testing.assert_close(product(x, y), reference(product, x, y), rtol=0, atol=1e-12)


def test_is_equivariant_under_rotations() -> None:
    mix = ClebschGordanSelfMix(3, 4, hidden=6).double()
    torch.nn.init.normal_(mix.out.weight)
    x = torch.randn(5, 16, 4, dtype=torch.float64)
    rotation = random_rotations(1, generator=torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(
        mix(rotate(x, rotation)), rotate(mix(x), rotation), rtol=0, atol=1e-11
    )


def test_unit_variance_is_kept() -> None:
    x, y = torch.randn(2, 20000, 16, 1, dtype=torch.float64)
    variance = ClebschGordanProduct(3, 3, 3, 1).double()(x, y).square().mean((0, 2))
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0, atol=0.1)


def test_holds_the_cross_product() -> None:
    product = ClebschGordanProduct(1, 1, 1, 1).double()
    x, y = torch.zeros(2, 1, 4, 1, dtype=torch.float64)
    x[0, 1], y[0, 2] = 1.0, 1.0
    z = product(x, y).flatten()
    assert z[3].abs() > 0.1
    assert z[[0, 1, 2]].abs().max() < 1e-12
