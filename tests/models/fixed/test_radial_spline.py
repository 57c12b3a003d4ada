"""Splines agree with the functions in place of which they stand."""

import pytest
import torch

from equinet.errors import BackendError
from equinet.models.fixed import RadialSpline
from equinet.models.fixed.radial_spline import derivatives
from equinet.nn import BesselBasis, RadialNetwork
from equinet.ops import native

native.load()


def functions(channels: int = 5) -> tuple[RadialSpline, RadialSpline, object]:
    torch.manual_seed(1)
    basis, network = BesselBasis(4.0, 8).double(), RadialNetwork(8, 2, channels, (16,)).double()
    network.requires_grad_(requires_grad=False)

    def radial(distances: torch.Tensor) -> torch.Tensor:
        return network(basis(distances)).flatten(1)

    return (
        RadialSpline(radial, 4.0, torch.float32),
        RadialSpline(radial, 4.0, torch.float64),
        radial,
    )


@pytest.mark.parametrize("channels", [1, 5, 64])
def test_values_and_slopes(channels: int) -> None:
    single, double, radial = functions(channels)
    distances = torch.linspace(0.1, 4.0, 977, dtype=torch.float64)
    value, slope = derivatives(radial, distances, 1)
    weights = torch.randn_like(slope)
    total = (weights * slope).sum(1)
    for spline, bound in ((single, 1e-6), (double, 1e-12)):
        dtype = spline.rows.dtype
        found = spline.values(distances.to(dtype)).double()
        assert float((found - value).abs().max() / value.abs().max()) < bound
        found = spline.slopes(distances.to(dtype), weights.to(dtype)).double()
        assert float((found - total).abs().max() / total.abs().max()) < 3 * bound


def test_slopes_are_those_of_the_values() -> None:
    _, spline, _ = functions()
    distances = torch.rand(50, dtype=torch.float64) * 4.5
    step, weights = 1e-6, torch.randn(50, 15, dtype=torch.float64)
    difference = (spline.values(distances + step) - spline.values(distances - step)) / (2 * step)
    torch.testing.assert_close(
        spline.slopes(distances, weights), (difference * weights).sum(1), rtol=1e-6, atol=1e-6
    )


def test_beyond_the_cutoff_and_no_number() -> None:
    _, spline, _ = functions()
    distances = torch.tensor([4.0, 4.5, 1e30, float("inf"), float("nan")], dtype=torch.float64)
    values = spline.values(distances)
    assert float(values[:4].abs().max()) < 1e-12
    assert bool(values[4].isnan().all())
    assert spline.values(distances[:0]).shape == (0, 15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_harmonics_of_edges(dtype: torch.dtype) -> None:
    from equinet.o3 import spherical_harmonics
    from equinet.ops.native import edge_harmonics

    for lmax in range(7):
        vectors = torch.randn(40, 3, dtype=torch.float64) * torch.logspace(-3, 3, 40)[:, None]
        vectors[3] = 0
        vectors[4] = torch.tensor([0.0, -2.0, 0.0])
        exact = vectors.clone().requires_grad_()
        truth, length = spherical_harmonics(lmax, exact), exact.norm(dim=1)
        by_length, weights = torch.randn_like(length), torch.randn_like(truth)
        ((truth * weights).sum() + (length * by_length).sum()).backward()
        lengths, harmonics = edge_harmonics.evaluate(vectors.to(dtype), lmax)
        torch.testing.assert_close(lengths, length.detach().to(dtype))
        torch.testing.assert_close(harmonics, truth.detach().to(dtype), rtol=1e-5, atol=1e-6)
        found = edge_harmonics.gradient(
            vectors.to(dtype), by_length.to(dtype), weights.to(dtype)
        ).double()
        error = (found - exact.grad).norm(dim=1) / (1 + exact.grad.norm(dim=1))
        assert float(error.max()) < (2e-5 if dtype == torch.float32 else 1e-13)


@pytest.mark.parametrize("speed", [1e5, float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_that_no_spline_follows_are_refused(speed: float, dtype: torch.dtype) -> None:
    with pytest.raises(BackendError, match="vary too fast for a spline"):
        RadialSpline(lambda d: torch.sin(speed * d).unsqueeze(1), 4.0, dtype)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), float("inf")])
def test_absurd_cutoffs_are_refused(cutoff: float) -> None:
    with pytest.raises(ValueError, match="cutoff"):
        RadialSpline(lambda d: d.sin().unsqueeze(1), cutoff)
