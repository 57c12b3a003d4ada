import math
from typing import Any

import pytest
import torch
from torch import Tensor

from equinet.nn import EdgeGrid, Edges, GaussianBasis, GraphAttention, edge_frames
from equinet.nn.escn.frames import frames_of
from equinet.nn.radial import polynomial_envelope
from equinet.o3 import rotate, rotation_to_pole
from equinet.testing import random_rotations

LMAX, MMAX, CUTOFF = 3, 2, 4.0
BASIS = GaussianBasis(CUTOFF, 8)


def layer(**options: Any) -> GraphAttention:
    torch.manual_seed(0)
    sizes = {
        "channels": 4,
        "hidden": 6,
        "heads": 2,
        "alpha_channels": 5,
        "value_channels": 3,
        "out_channels": 4,
        "kinds": 3,
        "basis_size": 8,
        "edge_channels": 7,
    }
    grid = EdgeGrid(LMAX, MMAX)
    return GraphAttention(lmax=LMAX, mmax=MMAX, grid=grid, **sizes | options).double()


def edges(
    vectors: Tensor, ends: Tensor, *, envelope: bool = True, turn: Tensor | None = None
) -> Edges:
    frames = edge_frames(vectors, LMAX, MMAX)
    if turn is not None:
        frames = frames_of(turn @ rotation_to_pole(vectors), LMAX, MMAX)
    distances = vectors.norm(dim=-1)
    return Edges(
        ends=ends,
        sender_kind=ends[0] % 3,
        receiver_kind=ends[1] % 3,
        basis=BASIS(distances),
        envelope=polynomial_envelope(distances, CUTOFF).clamp(min=0) if envelope else None,
        frames=frames,
    )


def inputs(nodes: int = 5, count: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(nodes, (LMAX + 1) ** 2, 4, dtype=torch.float64)
    vectors = torch.randn(count, 3, dtype=torch.float64)
    return x, vectors, torch.randint(0, nodes, (2, count))


@pytest.mark.parametrize("envelope", [True, False])
def test_is_equivariant(envelope: bool) -> None:
    attention, (x, vectors, ends) = layer(), inputs()
    rotation = random_rotations(1, generator=torch.Generator().manual_seed(0))[0]
    y = attention(x, edges(vectors, ends, envelope=envelope))
    turned = attention(rotate(x, rotation), edges(vectors @ rotation.T, ends, envelope=envelope))
    expected = rotate(y, rotation)
    # Exact but for the azimuths of the activation.
    assert (turned - expected).abs().max() < 1e-4 * expected.square().mean().sqrt()


def test_the_free_angle_of_a_frame_does_not_matter() -> None:
    attention, (x, vectors, ends) = layer(), inputs()
    angle = torch.rand(len(vectors), dtype=torch.float64) * 2 * math.pi
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [[angle.cos(), zero, angle.sin()], [zero, one, zero], [-angle.sin(), zero, angle.cos()]]
    turn = torch.stack([torch.stack(row, -1) for row in rows], -2)
    y = attention(x, edges(vectors, ends))
    other = attention(x, edges(vectors, ends, turn=turn))
    assert (y - other).abs().max() < 1e-4 * y.square().mean().sqrt()
    # Without the activation nothing is left that could tell.
    attention.activation = _Linear()
    y, other = (attention(x, edges(vectors, ends, turn=each)) for each in (None, turn))
    torch.testing.assert_close(other, y, rtol=0, atol=1e-12)


class _Linear(torch.nn.Module):
    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        return torch.cat([scalars.unsqueeze(1), x[:, 1:]], dim=1)


def test_nothing_jumps_where_the_frame_does() -> None:
    """The frame flips where an edge crosses the plane y = 0; the layer must not notice."""
    attention, (x, vectors, ends) = layer(), inputs()
    above, below = vectors.clone(), vectors.clone()
    above[:, 1], below[:, 1] = 1e-9, -1e-9
    y, other = (attention(x, edges(each, ends)) for each in (above, below))
    assert (y - other).abs().max() < 1e-4 * y.square().mean().sqrt()


def test_weights_of_a_head_sum_to_one_without_envelope() -> None:
    attention, (_, vectors, ends) = layer(), inputs()
    logits = torch.randn(12, 2, 5, dtype=torch.float64)
    weights = attention._weights(logits, edges(vectors, ends, envelope=False), 5)
    summed = torch.zeros(5, 2, dtype=torch.float64).index_add(0, ends[1], weights)
    torch.testing.assert_close(
        summed[ends[1].unique()], summed.new_ones(1, 2).expand(len(ends[1].unique()), 2)
    )


@pytest.mark.parametrize("neighbors", [1, 3])
def test_a_neighbor_leaves_without_a_jump(neighbors: int) -> None:
    attention = layer()
    x = torch.randn(4, (LMAX + 1) ** 2, 4, dtype=torch.float64)
    ends = torch.stack([torch.arange(1, neighbors + 1), torch.zeros(neighbors, dtype=torch.int64)])
    vectors = torch.randn(neighbors, 3, dtype=torch.float64)

    def output(distance: float, kept: int) -> Tensor:
        moved = vectors.clone()
        moved[-1] *= distance / moved[-1].norm()
        return attention(x, edges(moved[:kept], ends[:, :kept]))[0]

    gone = output(1.0, neighbors - 1)
    near, nearer = (output(CUTOFF - d, neighbors) - gone for d in (1e-2, 1e-3))
    assert near.abs().max() > 0
    # As the cube of the distance to the cutoff, or its square where the envelope comes twice less.
    assert nearer.abs().max() < 2e-3 * near.abs().max()


def test_atoms_without_neighbors_get_nothing_but_the_bias() -> None:
    attention, (x, vectors, ends) = layer(), inputs()
    y = attention(x, edges(vectors[:0], ends[:, :0]))
    assert torch.equal(y, torch.zeros_like(x))


def test_dropout_acts_in_training_alone() -> None:
    attention, (x, vectors, ends) = layer(alpha_dropout=0.5), inputs()
    attention.eval()
    assert torch.equal(attention(x, edges(vectors, ends)), attention(x, edges(vectors, ends)))
    attention.train()
    assert not torch.equal(attention(x, edges(vectors, ends)), attention(x, edges(vectors, ends)))


@pytest.mark.parametrize("end", [0, 1])
def test_channels_of_the_sender_come_first(end: int) -> None:
    """Saved models depend on this order: weights of one half act on one end alone."""
    attention, (x, vectors, _) = layer(), inputs(nodes=2, count=1)
    ends = torch.tensor([[1], [0]])
    first = attention.first
    with torch.no_grad():
        # The weights of the other end; channels are the fastest index of the inputs.
        other = slice(4, None) if end == 0 else slice(None, 4)
        first.zonal.weight.unflatten(1, (-1, 8))[..., other] = 0
        for matrix in first.orders:
            matrix.unflatten(1, (-1, 8))[:, :, other] = 0
    y = attention(x, edges(vectors, ends))
    moved = []
    for node in (ends[0, 0], ends[1, 0]):
        changed = x.clone()
        changed[node] += 1
        difference = attention(changed, edges(vectors, ends)) - y
        moved.append(difference.detach().abs().max())
    assert moved[end] > 1e-3
    assert moved[1 - end] == 0
