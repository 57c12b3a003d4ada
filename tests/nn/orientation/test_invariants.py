import itertools
import math

import pytest
import torch

from equinet.nn import (
    angle_invariants,
    axial_invariants,
    edge_lengths,
    pair_invariants,
    pose_invariants,
)
from equinet.testing import random_rotations

ALL = {"fourth": True, "chirality": True}


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def turned(angle):
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)


def test_pairs_in_space_are_invariant():
    vectors, first, second = torch.randn(9, 3, dtype=torch.float64), unit(9, 3), unit(9, 3)
    before = pair_invariants(vectors, first, second, **ALL)
    for improper in (False, True):
        for matrix in random_rotations(3, improper=improper):
            after = pair_invariants(*(each @ matrix.T for each in (vectors, first, second)), **ALL)
            expected = torch.cat([before[:, :4], torch.linalg.det(matrix) * before[:, 4:]], dim=1)
            torch.testing.assert_close(after, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, math.pi / 4, math.pi / 2, 1.0])
def test_pairs_in_the_plane_are_invariant_and_signed(angle):
    vector, first, second = torch.tensor([[0.5, 0.5], [1, 0], [0.6, 0.8]], dtype=torch.float64)
    before = pair_invariants(vector, first, second)
    after = pair_invariants(*(turned(angle) @ each for each in (vector, first, second)))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-15)
    mirror = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    reflected = pair_invariants(*(mirror @ each for each in (vector, first, second)))
    signs = torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
    torch.testing.assert_close(reflected, signs * before, rtol=0, atol=1e-15)


def test_three_invariants_of_space_miss_an_angle_that_the_fourth_sees():
    """Turn the sender's orientation about the receiver's axis, all else fixed."""
    azimuths, tilt = torch.tensor([0.0, 1.0, 2.5, -1.0], dtype=torch.float64), 0.7
    second = torch.stack(
        [
            math.sin(tilt) * azimuths.cos(),
            math.sin(tilt) * azimuths.sin(),
            torch.full((4,), math.cos(tilt), dtype=torch.float64),
        ],
        dim=-1,
    )
    first = torch.tensor([0, 0, 1], dtype=torch.float64).expand(4, 3)
    vectors = torch.tensor([1, 0, 0.5], dtype=torch.float64).expand(4, 3)
    found = pair_invariants(vectors, first, second, **ALL)
    three, fourth, chirality = found.split([3, 1, 1], dim=-1)
    torch.testing.assert_close(three, three[:1].expand(4, 3), rtol=0, atol=1e-15)
    # Azimuths 1 and -1 are mirror images: only the pseudoscalar tells them apart.
    assert fourth[1] == pytest.approx(fourth[3])
    assert chirality[1] == pytest.approx(-chirality[3])
    assert (torch.pdist(fourth[:3]) > 0.1).all()


def test_complete_invariants_determine_the_pair():
    """Rebuild vector and sender's orientation, in the receiver's frame, up to a turn about it."""
    vectors, first, second = torch.randn(20, 3, dtype=torch.float64), unit(20, 3), unit(20, 3)
    along, square, cosine, fourth, chirality = pair_invariants(
        vectors, first, second, **ALL
    ).unbind(-1)
    radius = square.sqrt()
    across = torch.stack([(fourth - along * cosine) / radius, chirality / radius], dim=-1)
    zero = torch.zeros_like(along)
    axis = torch.stack([zero, zero, zero + 1], dim=-1)
    rebuilt = torch.stack([radius, zero, along], dim=-1)
    orientation = torch.cat([across, cosine.unsqueeze(-1)], dim=-1)
    for (a, b), (c, d) in zip(
        itertools.combinations((first, vectors, second), 2),
        itertools.combinations((axis, rebuilt, orientation), 2),
        strict=True,
    ):
        torch.testing.assert_close((a * b).sum(-1), (c * d).sum(-1), rtol=0, atol=1e-12)
    volume = torch.linalg.det(torch.stack([first, vectors, second], dim=1))
    again = torch.linalg.det(torch.stack([axis, rebuilt, orientation], dim=1))
    torch.testing.assert_close(volume, again, rtol=0, atol=1e-12)


def test_opposite_orientation_turns_the_first_invariant_alone():
    vectors, axes = torch.randn(5, 3, dtype=torch.float64), unit(5, 3)
    along, square = axial_invariants(vectors, axes).unbind(-1)
    opposite = axial_invariants(vectors, -axes)
    torch.testing.assert_close(opposite, torch.stack([-along, square], dim=-1))
    torch.testing.assert_close(along.square() + square, vectors.square().sum(-1))


@pytest.mark.parametrize("dimension", [2, 3])
def test_poses_are_invariant_and_are_the_relative_pose(dimension):
    if dimension == 3:
        first, second, motion = random_rotations(3)
    else:
        first, second, motion = turned(0.3), turned(1.9), turned(-2.0)
    vector = torch.randn(dimension, dtype=torch.float64)
    before = pose_invariants(vector, first, second)
    after = pose_invariants(motion @ vector, motion @ first, motion @ second)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-14)
    position, frame = before.split([dimension, dimension**2])
    torch.testing.assert_close(first @ position, vector)
    torch.testing.assert_close(first @ frame.reshape(dimension, dimension), second)


def test_lengths_have_finite_derivatives_at_zero():
    vectors = torch.tensor([[0.0, 0, 0], [3, 4, 0]], dtype=torch.float64, requires_grad=True)
    lengths = edge_lengths(vectors)
    (first,) = torch.autograd.grad(lengths.sum(), vectors, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum() + first.sum(), vectors)
    assert lengths.tolist() == [0, 5]
    assert (first[0] == 0).all()
    assert (second[0] == 0).all()
    assert second.isfinite().all()


def test_wrong_dimensions_are_named():
    with pytest.raises(ValueError, match=r"both have 2 or both 3 components, found shapes \[4\]"):
        axial_invariants(torch.zeros(4), torch.zeros(4))
    with pytest.raises(ValueError, match=r"found shapes \[2\] and \[3\]"):
        angle_invariants(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="fourth and chirality are invariants of space"):
        pair_invariants(*torch.zeros(3, 2), fourth=True)
