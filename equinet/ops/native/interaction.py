"""A layer of message passing at fixed weights by the native ops: autograd does not see them.

Functions on the sphere have components lm and channels. Features between layers are stored
component by component, [lm, atoms, C], so that a map of channels is one matrix product for each.

The weights of a layer are, in this order,

* ``rows`` [3 (intervals + 1), degrees · C'] of the splines of the radial functions up to the
  cutoff, see :mod:`equinet.ops.native.radial_spline`,
* matrices ``up`` [l, C, C'] for the features that the convolution reads, ``down`` [l, C', C] for
  its result, the density, and ``update`` [l, C, C] for the sum of powers of the density,
* ``residual`` [species, l, C, C] for the features of the atom itself, which are added,
* ``powers`` [species, power, l, C], the weights of the powers 1, 2, … of the density,
* the four kinds of matrices transposed, for the gradient,
* the grid of the convolution, points on the sphere where functions are multiplied: matrices
  [points, lm] to samples and [lm, points] from them, and the harmonics of the filter at the first
  half of the points, see :mod:`equinet.ops.native.filter_sum`; three empty tensors where only
  features of degree 0 are read, and
* the two matrices of the grid of the powers, empty where there is no power but the first.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def evaluate(
    features: Tensor,
    lengths: Tensor,
    harmonics: Tensor,
    sender: Tensor,
    receiver: Tensor,
    species: Tensor,
    weights: Sequence[Tensor],
    cutoff: float,
) -> list[Tensor]:
    """Evaluate a layer.

    Args:
        features: Features [lm, S, C] of the atoms that are read, those that are evaluated first.
        lengths: Lengths [E] of the edges, Å.
        harmonics: Harmonics [E, (lmax + 1)²] of the edges.
        sender: Index [E] of each edge's sender, int32 or int64.
        receiver: Index [E] of each edge's receiver among the atoms that are evaluated.
        species: Species [N] of the atoms that are evaluated.
        weights: Weights of the layer, see the module.
        cutoff: Distance of the last knot of the splines, Å.

    Returns:
        Features [lm, N, C], and the three tensors of the tape that :func:`gradient` needs.
    """
    found: list[Tensor] = torch.ops.equinet.interaction.default(
        features,
        lengths,
        harmonics,
        sender,
        receiver,
        species,
        weights,
        cutoff,
    )
    return found


def gradient(
    by_features: Tensor,
    tape: Sequence[Tensor],
    lengths: Tensor,
    harmonics: Tensor,
    sender: Tensor,
    receiver: Tensor,
    species: Tensor,
    weights: Sequence[Tensor],
    cutoff: float,
    *,
    by_seen: bool,
) -> list[Tensor]:
    """Differentiate a layer.

    Args:
        by_features: Gradient [lm, N, C] by the features that :func:`evaluate` has returned.
        tape: Further results of :func:`evaluate`.
        lengths: Lengths of the edges, as there, and so are the arguments that follow.
        harmonics: Harmonics of the edges.
        sender: Index of each edge's sender.
        receiver: Index of each edge's receiver.
        species: Species of the atoms.
        weights: Weights of the layer.
        cutoff: Distance of the last knot of the splines.
        by_seen: Whether the gradient by the features that are read is computed.

    Returns:
        Gradients by lengths [E], by harmonics [E, (lmax + 1)²] and, if asked for, by the features
        that are read [lm, S, C].
    """
    found: list[Tensor] = torch.ops.equinet.interaction_gradient.default(
        by_features,
        tape,
        lengths,
        harmonics,
        sender,
        receiver,
        species,
        weights,
        cutoff,
        by_seen,
    )
    return found


def register() -> None:
    """Tell torch the shapes of both ops; once, after their library is loaded."""
    torch.library.register_fake("equinet::interaction", _allocate_results)
    torch.library.register_fake("equinet::interaction_gradient", _allocate_gradients)


def _allocate_results(
    features: Tensor,
    lengths: Tensor,
    harmonics: Tensor,
    sender: Tensor,
    receiver: Tensor,
    species: Tensor,
    weights: Sequence[Tensor],
    cutoff: float,
) -> list[Tensor]:
    _, read, channels = features.shape
    _, _, inner = weights[1].shape
    edges, components = harmonics.shape
    atoms = species.shape[0]
    points = max(1, weights[10].shape[0])
    return [
        features.new_empty(weights[3].shape[0] ** 2, atoms, channels),
        features.new_empty(edges, weights[2].shape[0], inner),
        features.new_empty(read, points, inner),
        features.new_empty(atoms, components, channels),
    ]


def _allocate_gradients(
    gradient: Tensor,
    tape: Sequence[Tensor],
    lengths: Tensor,
    harmonics: Tensor,
    sender: Tensor,
    receiver: Tensor,
    species: Tensor,
    weights: Sequence[Tensor],
    cutoff: float,
    by_seen: bool,
) -> list[Tensor]:
    found = [torch.empty_like(lengths), torch.empty_like(harmonics)]
    if by_seen:
        shape = (weights[1].shape[0] ** 2, tape[1].shape[0], gradient.shape[2])
        found.append(gradient.new_empty(shape))
    return found
