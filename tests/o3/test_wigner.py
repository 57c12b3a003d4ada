import pytest
import torch
from e3nn import o3 as e3nn_o3
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.o3 import rotate, spherical_harmonics, wigner_d, wigner_d_blocks
from equinet.testing import evaluate, random_coefficients, random_rotations


def turn_about(axis: int, angle: float | torch.Tensor) -> torch.Tensor:
    generator = torch.zeros(3, 3, dtype=torch.float64)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    generator[i, j], generator[j, i] = -1, 1
    return torch.linalg.matrix_exp(angle * generator)


def special_rotations() -> torch.Tensor:
    """Where Euler angles are singular: about y, half turns that flip y, and very near them."""
    about_y = [turn_about(1, angle) for angle in (0.0, 1.0, torch.pi)]
    flips = [turn_about(0, torch.pi), turn_about(2, torch.pi)]
    near = [turn_about(1, 0.3) @ turn_about(0, small) for small in (1e-15, 1e-9, 1e-4)]
    quarter = [turn_about(axis, torch.pi / 2) for axis in range(3)]
    return torch.stack([*about_y, *flips, *near, *quarter, quarter[0] @ quarter[1]])


@given(lmax=st.integers(0, 20), seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_turns_harmonics(lmax, seed):
    generator = torch.Generator().manual_seed(seed)
    rotations = torch.cat([random_rotations(3, generator=generator), special_rotations()])
    points = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    turned = spherical_harmonics(lmax, torch.einsum("rij,pj->rpi", rotations, points))
    expected = torch.einsum(
        "rij,pj->rpi", wigner_d(lmax, rotations), spherical_harmonics(lmax, points)
    )
    torch.testing.assert_close(turned, expected, rtol=0, atol=5e-13)


@pytest.mark.parametrize("lmax", [0, 1, 4, 12])
def test_representation_is_orthogonal_and_multiplicative(lmax):
    first, second = random_rotations(4), random_rotations(4)
    d_first, d_second = wigner_d(lmax, first), wigner_d(lmax, second)
    identity = torch.eye((lmax + 1) ** 2, dtype=torch.float64)
    torch.testing.assert_close(wigner_d(lmax, first @ second), d_first @ d_second)
    torch.testing.assert_close(d_first @ d_first.mT, identity.expand_as(d_first))
    torch.testing.assert_close(wigner_d(lmax, first.mT), d_first.mT)
    torch.testing.assert_close(wigner_d(lmax, torch.eye(3, dtype=torch.float64)), identity)


@pytest.fixture
def _double_precision():
    # e3nn computes its generators in the default type.
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_double_precision")
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 6, 10])
def test_equals_e3nn(degree):
    angles = e3nn_o3.rand_angles(6)
    rotations = e3nn_o3.angles_to_matrix(*angles)
    expected = e3nn_o3.wigner_D(degree, *angles)
    torch.testing.assert_close(
        wigner_d_blocks(degree, rotations)[degree], expected, rtol=0, atol=1e-12
    )


def test_blocks_are_the_diagonal():
    rotations = random_rotations(2)
    dense = wigner_d(3, rotations)
    for degree, block in enumerate(wigner_d_blocks(3, rotations)):
        kept = slice(degree**2, (degree + 1) ** 2)
        assert torch.equal(dense[:, kept, kept], block)
        dense[:, kept, kept] = 0
    assert (dense == 0).all()


def test_gradient_is_exact_at_every_rotation():
    """Along the rotation group, by central differences; at the poles of the Euler angles too."""
    weight = torch.randn(16, 16, dtype=torch.float64)
    for rotation in torch.cat([random_rotations(2), special_rotations()]):
        for axis in range(3):
            angle = torch.zeros((), dtype=torch.float64, requires_grad=True)
            value = (weight * wigner_d(3, turn_about(axis, angle) @ rotation)).sum()
            (slope,) = torch.autograd.grad(value, angle)
            plus, minus = (
                (weight * wigner_d(3, turn_about(axis, step) @ rotation)).sum()
                for step in (1e-5, -1e-5)
            )
            torch.testing.assert_close(slope, (plus - minus) / 2e-5, rtol=1e-6, atol=1e-6)


def test_second_gradient():
    def function(angles):
        x, y, z = (turn_about(axis, angle) for axis, angle in enumerate(angles))
        return wigner_d(2, x @ y @ z)

    angles = torch.tensor([0.3, -0.8, 1.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(function, angles)


def test_single_precision_and_batch_shapes():
    rotations = random_rotations(6, dtype=torch.float32).reshape(2, 3, 3, 3)
    d = wigner_d(4, rotations)
    assert d.dtype == torch.float32
    assert d.shape == (2, 3, 25, 25)
    torch.testing.assert_close(d.double(), wigner_d(4, rotations.double()), rtol=0, atol=3e-6)
    assert wigner_d(2, rotations[:0]).shape == (0, 3, 9, 9)
    assert wigner_d(0, rotations[0, 0]).shape == (1, 1)


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("parity", [1, -1])
def test_rotate_moves_functions(improper, parity):
    x = random_coefficients(5, lmax=4, channels=2)
    rotations = random_rotations(5, improper=improper)
    points = torch.randn(5, 7, 3, dtype=torch.float64)
    sign = parity if improper else 1
    moved = rotate(x, rotations, parity)
    for i in range(5):
        # (g f)(n) = f(g^-1 n), and points @ R is R^-1 n
        expected = sign * evaluate(x[i], points[i] @ rotations[i])
        torch.testing.assert_close(evaluate(moved[i], points[i]), expected)


def test_rotate_broadcasts_and_keeps_the_dtype():
    x = random_coefficients(2, 5, lmax=2, channels=3, dtype=torch.float32)
    rotation = random_rotations(1)[0]
    moved = rotate(x, rotation)
    assert moved.dtype == torch.float32
    assert moved.shape == x.shape
    torch.testing.assert_close(rotate(moved, rotation.T), x)
    each = rotate(x, random_rotations(5))
    assert each.shape == x.shape
    assert rotate(x[0, 0], random_rotations(4)).shape == (4, 9, 3)


def test_autocast_costs_no_digits():
    x = random_coefficients(4, lmax=3, dtype=torch.float32)
    rotations = random_rotations(4, dtype=torch.float32)
    expected = wigner_d(3, rotations), rotate(x, rotations)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = wigner_d(3, rotations), rotate(x, rotations)
    for value, truth in zip(found, expected, strict=True):
        assert torch.equal(value, truth)


def test_bad_arguments_are_named():
    mirror = torch.diag(torch.tensor([1.0, -1, 1]))
    x = random_coefficients(lmax=1)
    with pytest.raises(ValueError, match="rotation must be proper"):
        wigner_d(2, mirror)
    with pytest.raises(ValueError, match="give parity"):
        rotate(x, mirror)
    with pytest.raises(ValueError, match="rotation must be orthogonal"):
        wigner_d(2, 1.01 * torch.eye(3))
    with pytest.raises(ValueError, match="rotation must be orthogonal"):
        wigner_d(2, torch.full((3, 3), float("nan")))
    with pytest.raises(ValueError, match="lmax must be at least 0, found -1"):
        wigner_d(-1, torch.eye(3))
    with pytest.raises(ValueError, match="parity must be"):
        rotate(x, mirror, parity=2)
    with pytest.raises(ValueError, match=r"x must have \(lmax \+ 1\)\^2 coefficients"):
        rotate(x[:3], torch.eye(3))
