"""Random functions on the sphere, and what all tests of the ops compare with."""

from collections.abc import Callable

import pytest
import torch

from equinet.ops.native import unavailable

BACKENDS = ("reference", "fourier", "grid", "native")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "native" and (reason := unavailable("sphere_forms")):
        pytest.skip(reason)
    return request.param


@pytest.fixture
def random_function() -> Callable[..., torch.Tensor]:
    """Coefficients [*batch, (lmax + 1)^2, channels] in float64."""

    def draw(lmax: int, *batch: int, channels: int = 2) -> torch.Tensor:
        return torch.randn(*batch, (lmax + 1) ** 2, channels, dtype=torch.float64)

    return draw
