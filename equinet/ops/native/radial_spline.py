"""Splines of radial functions by the native ops, for trained models: they are not differentiable.

A spline is given by rows [3 (intervals + 1), K]: the values of K functions, their slopes times the
spacing, and their curvatures times its square, at knots at equal distances from zero on.
"""

import torch
from torch import Tensor


def values(distances: Tensor, rows: Tensor, spacing: float) -> Tensor:
    """Evaluate splines.

    Args:
        distances: Distances [E], at least 0. Beyond the last knot, values are those at it.
        rows: Rows of the splines, see the module.
        spacing: Distance between two knots.

    Returns:
        Values [E, K].
    """
    result: Tensor = torch.ops.equinet.radial_spline.default(distances, rows, spacing)
    return result


def slopes(distances: Tensor, rows: Tensor, spacing: float, weights: Tensor) -> Tensor:
    """Sum the slopes of splines with weights [E, K] of the functions: [E]."""
    result: Tensor = torch.ops.equinet.radial_spline_slope.default(
        distances, rows, spacing, weights
    )
    return result


def register() -> None:
    """Tell torch the shapes of both ops; once, after their library is loaded."""
    torch.library.register_fake("equinet::radial_spline", _allocate_values)
    torch.library.register_fake("equinet::radial_spline_slope", _allocate_slopes)


def _allocate_values(distances: Tensor, rows: Tensor, spacing: float) -> Tensor:
    return rows.new_empty(distances.shape[0], rows.shape[1])


def _allocate_slopes(distances: Tensor, rows: Tensor, spacing: float, weights: Tensor) -> Tensor:
    return rows.new_empty(distances.shape[0])
