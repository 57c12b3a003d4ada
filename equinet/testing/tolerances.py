"""Named tolerances and the measure of error of all assertions."""

from typing import NamedTuple

import torch
from torch import Tensor


class Tolerance(NamedTuple):
    """Largest error, relative to the largest expected value, for each precision of arithmetic.

    Attributes:
        double: Largest error allowed in float64.
        single: Largest error allowed in float32.
        half: Largest error allowed in bfloat16 and float16.

    Example:
        >>> OPERATION.of(torch.float32)
        1e-05
    """

    double: float
    single: float
    half: float

    def of(self, dtype: torch.dtype) -> float:
        """Return the error allowed in results of ``dtype``."""
        if dtype == torch.float64:
            return self.double
        return self.single if dtype == torch.float32 else self.half


OPERATION = Tolerance(double=1e-12, single=1e-5, half=2e-2)
"""One operation: a few dozen roundings on the way from input to output."""

NETWORK = Tolerance(double=1e-10, single=1e-4, half=1e-1)
"""A whole network, and derivatives of it."""

FINITE_DIFFERENCE = Tolerance(double=1e-6, single=1e-2, half=1.0)
"""A derivative against differences of function values."""


def check_close(what: str, found: Tensor, expected: Tensor, allowed: float) -> None:
    """Compare two tensors by ``max |found - expected| <= allowed * max |expected|``.

    Where nothing but zeros is expected, the error allowed is absolute.

    Args:
        what: Name of the quantity in messages.
        found: Values under test.
        expected: Values that are right, of the same shape.
        allowed: Largest relative error.

    Raises:
        AssertionError: If the shapes differ or the error exceeds ``allowed``.

    Example:
        >>> check_close("energy", torch.tensor([1.0]), torch.tensor([1.001]), 0.01)
    """
    if found.shape != expected.shape:
        raise AssertionError(
            f"{what}: shape {list(found.shape)} where {list(expected.shape)} is expected"
        )
    if found.numel() == 0:
        return
    expected = expected.detach().double()
    scale = float(expected.abs().max()) or 1.0
    error = float((found.detach().double() - expected).abs().max()) / scale
    # Written so that NaN is an error as well.
    if not error <= allowed:
        raise AssertionError(
            f"{what}: relative error {error:.3g} exceeds the tolerance {allowed:.3g} "
            f"(largest expected value {scale:.3g})"
        )
