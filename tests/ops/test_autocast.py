"""Precision under autocast, of results and of derivatives taken within it."""

import pytest
import torch

from equinet.nn import pose_invariants
from equinet.nn.escn import edge_frames
from equinet.o3 import contract, matmul, rotate, wigner_d
from equinet.ops import (
    aligned_convolution,
    bracket_product,
    gaunt_convolution,
    gaunt_powers,
    gaunt_product,
    orientation_convolution,
)
from equinet.testing import random_rotations

BACKENDS = ("reference", "fourier", "grid", "auto")
EDGES = torch.tensor([[0, 1, 2, 3, 0, 2], [1, 0, 3, 2, 2, 0]])


def _calls():
    x, y, radial = torch.randn(4, 9, 5), torch.randn(4, 4, 5), torch.randn(6, 3, 5)
    vectors, points = torch.randn(6, 3), torch.nn.functional.normalize(torch.randn(5, 3), dim=1)
    circle = torch.nn.functional.normalize(torch.randn(5, 2), dim=1)
    signals, rotations = torch.randn(4, 5, 5), random_rotations(6).float()
    frames = edge_frames(vectors, 2, 1)
    edge_features = torch.randn(6, 9, 5)
    calls = {
        "aligned": (lambda x, v, r: aligned_convolution(x, v, r, EDGES, 2), (x, vectors, radial)),
        "pose": (pose_invariants, (vectors, rotations, random_rotations(6).float())),
        "wigner": (lambda q: wigner_d(3, q)[..., 5:, :], (rotations,)),
        "rotate": (rotate, (edge_features, rotations)),
        "into": (frames.into, (edge_features,)),
        "back": (frames.back, (torch.randn(6, 7, 5),)),
    }
    for each in BACKENDS:
        calls |= {
            f"product {each}": (lambda x, y, b=each: gaunt_product(x, y, 3, backend=b), (x, y)),
            f"bracket {each}": (lambda x, y, b=each: bracket_product(x, y, 3, backend=b), (x, y)),
            f"powers {each}": (lambda x, b=each: gaunt_powers(x, 3, 2, backend=b), (x,)),
            f"convolution {each}": (
                lambda x, v, r, b=each: gaunt_convolution(x, v, r, EDGES, 2, backend=b),
                (x, vectors, radial),
            ),
        }
        if each != "fourier":
            calls[f"orientations {each}"] = (
                lambda x, v, r, b=each: orientation_convolution(x, v, r, EDGES, points, backend=b),
                (signals, vectors, radial),
            )
            calls[f"orientations in the plane {each}"] = (
                lambda x, v, r, b=each: orientation_convolution(x, v, r, EDGES, circle, backend=b),
                (signals, vectors[:, :2].clone(), torch.randn(6, 5, 5)),
            )
    return calls


@pytest.mark.parametrize("name", _calls())
def test_results_and_gradients_to_second_order_keep_their_precision(name):
    function, operands = _calls()[name]

    def derivatives():
        inputs = [each.clone().requires_grad_() for each in operands]
        value = function(*inputs)
        first = torch.autograd.grad(value.pow(3).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(each.pow(3).sum() for each in first), inputs)
        return [value, *first, *second]

    expected = derivatives()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = derivatives()
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        # Sums in another order; bfloat16 would cost 4e-3.
        assert (one - other).abs().max() <= 2e-5 * other.abs().max()


def test_contractions_broadcast_like_those_of_torch():
    left, right = torch.randn(3, 1, 2, 4), torch.randn(5, 4, 2)
    cases = [
        (matmul, torch.matmul),
        (
            lambda a, b: contract("...ij,...jk->...ik", a, b),
            lambda a, b: torch.einsum("...ij,...jk->...ik", a, b),
        ),
    ]
    for ours, theirs in cases:
        results = []
        for function, enabled in ((ours, True), (theirs, False)):
            inputs = [each.clone().requires_grad_() for each in (left, right)]
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                value = function(*inputs)
                results.append([value, *torch.autograd.grad(value.sin().sum(), inputs)])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other)
