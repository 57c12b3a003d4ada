"""The native layer of message passing and its gradient equal the reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.o3 import antipodal_quadrature, spherical_harmonics
from equinet.ops import native, reference
from equinet.ops.native import interaction

pytestmark = pytest.mark.skipif(
    bool(native.unavailable("interaction")), reason=native.unavailable("interaction")
)

CUTOFF = 4.0
SIZES = st.fixed_dictionaries(
    {
        "lmax": st.integers(0, 3),
        "lmax_filter": st.integers(0, 3),
        "lmax_out": st.integers(0, 3),
        "order": st.integers(1, 4),
        "channels": st.sampled_from([1, 3, 16, 33, 64]),
        "inner": st.sampled_from([1, 7, 24, 64]),
        "atoms": st.sampled_from([0, 1, 6, 33, 40]),
        "others": st.sampled_from([0, 3, 34]),
        "edges": st.sampled_from([0, 1, 50]),
        "kinds": st.integers(1, 4),
    }
)


def grid(lmax: int, lmax_out: int, degree: int) -> list[torch.Tensor]:
    points, weights = antipodal_quadrature(degree)
    harmonics = spherical_harmonics(lmax_out, points)
    project = (harmonics * weights[:, None]).T.contiguous()
    return [spherical_harmonics(lmax, points), project, harmonics[: len(points) // 2]]


def layer(
    *, lmax=1, lmax_filter=2, lmax_out=1, order=3, channels=16, inner=24, kinds=2, **_: int
) -> list[torch.Tensor]:
    lmax_out = min(lmax_out, lmax_filter)
    kept = min(lmax, lmax_out) + 1
    rows = torch.randn(3 * 6, (lmax_filter + 1) * inner)
    matrices = [
        torch.randn(lmax + 1, channels, inner) / channels**0.5,
        torch.randn(lmax_filter + 1, inner, channels) / inner**0.5,
        torch.randn(lmax_out + 1, channels, channels) / channels**0.5,
        torch.randn(kinds, kept, channels, channels) / channels**0.5,
    ]
    powers = torch.randn(kinds, order, lmax_out + 1, channels)
    grids = [torch.empty(0)] * 5
    if lmax:
        grids[:3] = grid(lmax, lmax_filter, lmax + 2 * lmax_filter)
    if order > 1:
        grids[3:] = grid(lmax_filter, lmax_out, order * lmax_filter + lmax_out)[:2]
    weights = [rows, *matrices, powers, *(each.mT for each in matrices), *grids]
    return [each.double().contiguous() for each in weights]


def operands(
    *, lmax=1, lmax_filter=2, channels=16, atoms=6, others=0, edges=50, kinds=2, **_: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Features, lengths and harmonics; and senders, receivers and species."""
    seen = atoms + others
    edges = edges if atoms else 0
    numbers = [
        torch.randn((lmax + 1) ** 2, seen, channels),
        CUTOFF * torch.rand(edges),
        torch.randn(edges, (lmax_filter + 1) ** 2),
    ]
    bounds = ((seen, edges), (atoms, edges), (kinds, atoms))
    indices = [torch.randint(max(bound, 1), (count,)) for bound, count in bounds]
    return [each.double() for each in numbers], indices


def assert_close(found: torch.Tensor, truth: torch.Tensor, bound: float) -> None:
    assert found.shape == truth.shape
    unit = float(truth.abs().max()) if truth.numel() else 1.0
    torch.testing.assert_close(found.double(), truth, rtol=0, atol=bound * max(unit, 1e-3))


@settings(max_examples=30)
@given(sizes=SIZES, seed=st.integers(0, 99), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_values_and_gradients_equal_the_reference(sizes, seed, dtype):
    torch.manual_seed(seed)
    weights = layer(**sizes)
    numbers, indices = operands(**sizes)
    exact = [each.requires_grad_() for each in numbers]
    truth = reference.interaction(*exact, *indices, weights, CUTOFF)
    cotangent = torch.randn_like(truth)
    by_features, by_lengths, by_harmonics = torch.autograd.grad(
        truth, exact, cotangent, materialize_grads=True
    )
    features, lengths, harmonics = (each.detach().to(dtype) for each in numbers)
    weights = [each.to(dtype) for each in weights]
    bound = 3e-4 if dtype == torch.float32 else 1e-11
    with torch.no_grad():
        given_operands = (lengths, harmonics, *indices, weights, CUTOFF)
        found, *tape = interaction.evaluate(features, *given_operands)
        assert found.dtype == dtype
        assert_close(found, truth.detach(), bound)
        gradients = interaction.gradient(cotangent.to(dtype), tape, *given_operands, by_seen=True)
        for each, expected in zip(gradients, (by_lengths, by_harmonics, by_features), strict=True):
            assert_close(each, expected, bound)
        without = interaction.gradient(cotangent.to(dtype), tape, *given_operands, by_seen=False)
        assert len(without) == 2
        assert torch.equal(without[0], gradients[0])


def test_same_bits_whatever_the_threads():
    weights = layer(lmax=2, channels=33)
    (features, *edges), indices = operands(lmax=2, channels=33, atoms=200, edges=900)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found, *tape = interaction.evaluate(features, *edges, *indices, weights, CUTOFF)
            gradients = interaction.gradient(
                found, tape, *edges, *indices, weights, CUTOFF, by_seen=True
            )
            results.append([found, *gradients])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_indices_need_not_be_long():
    numbers, indices = operands()
    weights = layer()
    found = interaction.evaluate(*numbers, *indices, weights, CUTOFF)[0]
    short = [each.int() for each in indices]
    assert torch.equal(interaction.evaluate(*numbers, *short, weights, CUTOFF)[0], found)


@pytest.mark.parametrize("place", range(15))
def test_weights_that_do_not_fit_are_refused(place):
    numbers, indices = operands()
    for change in (lambda x: x[..., :-1], lambda x: x.float()):
        weights = layer()
        weights[place] = change(weights[place])
        with pytest.raises(ValueError, match=r"shape|type|half|fewer|more|many|grid|read"):
            interaction.evaluate(*numbers, *indices, weights, CUTOFF)


def test_operands_that_do_not_fit_are_refused():
    numbers, indices = operands()
    weights = layer()
    for place, change in ((0, numbers[0][:, :4]), (1, numbers[1][1:]), (2, numbers[2][1:])):
        wrong = [*numbers]
        wrong[place] = change
        with pytest.raises(ValueError):
            interaction.evaluate(*wrong, *indices, weights, CUTOFF)
    for place, bound in enumerate((6, 6, 2)):
        wrong = [each.clone() for each in indices]
        wrong[place][0] = bound
        with pytest.raises(IndexError, match=str(bound)):
            interaction.evaluate(*numbers, *wrong, weights, CUTOFF)
    with pytest.raises(ValueError, match="15 weights, found 14"):
        interaction.evaluate(*numbers, *indices, weights[:-1], CUTOFF)
