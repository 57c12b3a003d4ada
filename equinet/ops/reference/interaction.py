"""A layer of message passing at fixed weights, step by step, for autograd to differentiate."""

from collections.abc import Sequence

import torch
from torch import Tensor


def interaction(
    features: Tensor,
    lengths: Tensor,
    harmonics: Tensor,
    sender: Tensor,
    receiver: Tensor,
    species: Tensor,
    weights: Sequence[Tensor],
    cutoff: float,
) -> Tensor:
    """Return the new features [lm, N, C] of a layer, see :func:`equinet.ops.native.interaction`.

    Example:
        >>> features, one = torch.ones(1, 1, 1), torch.ones(1, 1, 1)
        >>> nothing, nowhere = torch.ones(0), torch.zeros(0, dtype=torch.int64)
        >>> weights = [torch.ones(6, 1), one, one, one, one[None], one[None], *[nothing] * 9]
        >>> interaction(features, nothing, nothing[:, None], nowhere, nowhere,
        ...             torch.tensor([0]), weights, 5.0)
        tensor([[[1.]]])
    """
    rows, up, down, update, residual, powers = weights[:6]
    sample, project, half, power_sample, power_project = weights[10:]
    order, degrees = powers.shape[1], down.shape[0]
    samples = _mix(features, up).movedim(0, 1)
    radial = _spline(lengths, rows, cutoff).unflatten(1, (degrees, -1))
    filters = harmonics.unsqueeze(2) * radial[:, _degrees(degrees)]
    if len(half):
        samples = sample @ samples
        # Harmonics of odd degree change sign at the opposite point.
        signs = (-1.0) ** _degrees(degrees)
        filters = torch.cat([half, half * signs]).to(half) @ filters
    sums = torch.zeros(len(species), *filters.shape[1:], dtype=features.dtype)
    sums = sums.index_add(0, receiver, filters * samples[sender])
    density = _mix((project @ sums if len(half) else sums).movedim(1, 0), down)
    own = powers[species][:, :, _degrees(powers.shape[2])].permute(1, 2, 0, 3)
    messages = own[0] * density[: own.shape[1]]
    for power in range(2, order + 1):
        at_points = torch.einsum("pi,inc->pnc", power_sample, density)
        messages = messages + own[power - 1] * torch.einsum(
            "ip,pnc->inc", power_project, at_points**power
        )
    kept = residual.shape[1]
    matrices = residual[species][:, _degrees(kept)]
    added = torch.einsum("inc,nicd->ind", features[: kept**2, : len(species)], matrices)
    result = _mix(messages, update)
    return torch.cat([result[: kept**2] + added, result[kept**2 :]])


def _degrees(count: int) -> Tensor:
    """Return the degree of every component lm below a number of degrees."""
    return torch.arange(count).repeat_interleave(2 * torch.arange(count) + 1)


def _mix(x: Tensor, matrices: Tensor) -> Tensor:
    """Multiply the channels of every component of [lm, N, in] by the matrix of its degree."""
    return x @ matrices[_degrees(len(matrices))]


def _spline(lengths: Tensor, rows: Tensor, cutoff: float) -> Tensor:
    """Evaluate the polynomials of degree 5 through values, slopes and curvatures: [E, K]."""
    last = len(rows) // 3 - 1
    knot = (lengths * (last / cutoff)).clamp(max=last)
    interval = knot.detach().long().clamp(max=last - 1)
    t = (knot - interval).unsqueeze(1)
    (a, da, dda), (b, db, ddb) = (
        rows.unflatten(0, (-1, 3))[interval + end].unbind(1) for end in (0, 1)
    )
    # The polynomial that has the numbers of the first end, and what is missing at the other one.
    value, slope, curvature = b - a - da - dda / 2, db - da - dda, ddb - dda
    third = 10 * value - 4 * slope + curvature / 2
    fourth = -15 * value + 7 * slope - curvature
    fifth = 6 * value - 3 * slope + curvature / 2
    return a + t * (da + t * (dda / 2 + t * (third + t * (fourth + t * fifth))))
