"""Do energies fall along the forces? A test of signs and units that needs no model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from equinet.data.atoms import Frame

_POOL = 20_000  # atoms of the frames of one kind that are searched for neighbors
_ANCHORS = 48  # frames of one kind whose nearest frames are looked for
_KINDS = 8
_SAME = 1e-9  # Å², below which frames are at one place and say nothing
_FEWEST = 8  # pairs below which nothing is concluded


@dataclass(frozen=True)
class Agreement:
    """Comparison of differences of energy with the work of the forces, over pairs of frames.

    Attributes:
        pairs: Number of pairs.
        correlation: Correlation between both, between -1 and 1; about 1 for the forces that belong
            to the energies, and about -1 for those of the opposite sign.
        slope: Difference of energy per work of the forces, which is about 1 where the units of
            energies, forces and lengths belong together.

    Example:
        >>> Agreement(20, -0.99, -1.0).slope
        -1.0
    """

    pairs: int
    correlation: float
    slope: float


def agreement(frames: Sequence[Frame]) -> Agreement | None:
    """Compare energies with forces over pairs of similar frames.

    From one frame to the next the energy changes by minus the mean of their forces times the
    displacement, exactly so where the energy is a quadratic function of the positions. Molecules
    are superposed first. Frames are compared with their nearest ones, among those with the same
    atoms in the same order.

    Args:
        frames: Frames, of which those with energy and forces are used.

    Returns:
        The comparison; None where there are too few similar frames.

    Example:
        >>> def stretched(x):
        ...     places = np.array([[0.0, 0, 0], [0, 0, 1 + x]])
        ...     return Frame(np.array([1, 1]), places, np.zeros((3, 3)), np.zeros(3, bool), x**2,
        ...                  np.array([[0, 0, 2 * x], [0, 0, -2 * x]]))
        >>> round(agreement([stretched(0.01 * k) for k in range(20)]).slope, 6)
        1.0
    """
    changes, works = [], []
    for group in _alike(frames):
        for first, second in _nearest_pairs(group):
            changes.append(_energy(group[second]) - _energy(group[first]))
            works.append(-_work(group[first], group[second]))
    change, work = np.array(changes), np.array(works)
    norms = float(np.sqrt((change @ change) * (work @ work))) if len(change) else 0.0
    if len(change) < _FEWEST or norms == 0:
        return None
    both = float(change @ work)
    return Agreement(len(change), both / norms, both / float(work @ work))


def _alike(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Yield some frames of each of the most frequent kinds: same atoms, same periodic cell."""
    kinds: dict[bytes, list[Frame]] = {}
    for frame in frames:
        if frame.energy is not None and frame.forces is not None and len(frame) > 1:
            cell = frame.cell.round(4).tobytes() if frame.pbc.any() else b""
            kinds.setdefault(frame.numbers.tobytes() + cell, []).append(frame)
    for found in sorted(kinds.values(), key=len, reverse=True)[:_KINDS]:
        yield _spread(found, _POOL // len(found[0]))


def _spread(frames: Sequence[Frame], count: int) -> list[Frame]:
    places = np.unique(np.linspace(0, len(frames) - 1, max(count, 2)).astype(int))
    return [frames[place] for place in places]


def _nearest_pairs(group: Sequence[Frame]) -> set[tuple[int, int]]:
    """Pair some frames of a group with the nearest ones of all."""
    step = max(1, len(group) // _ANCHORS)
    anchors = range(0, len(group), step)
    squares = np.stack([_squared_distances(group[anchor], group) for anchor in anchors])
    squares[squares < _SAME] = np.inf
    pairs = set()
    for anchor, row in zip(anchors, squares, strict=True):
        nearest = int(row.argmin())
        if np.isfinite(row[nearest]):
            pairs.add((min(anchor, nearest), max(anchor, nearest)))
    return pairs


def _squared_distances(anchor: Frame, group: Sequence[Frame]) -> Float64[np.ndarray, " frames"]:
    positions = np.stack([frame.positions for frame in group])
    if anchor.pbc.any():
        moved = _in_nearest_images(positions - anchor.positions, anchor)
        return np.asarray(np.square(moved).sum(axis=(1, 2)))
    fixed = anchor.positions - anchor.positions.mean(axis=0)
    moved = positions - positions.mean(axis=1, keepdims=True)
    covariance = np.swapaxes(moved, 1, 2) @ fixed
    overlaps = np.linalg.svd(covariance, compute_uv=False)
    overlaps[:, 2] *= np.sign(np.linalg.det(covariance))
    squares = np.square(fixed).sum() + np.square(moved).sum(axis=(1, 2)) - 2 * overlaps.sum(axis=1)
    return np.asarray(squares)


def _in_nearest_images(
    differences: Float64[np.ndarray, "*frames atoms 3"], frame: Frame
) -> Float64[np.ndarray, "*frames atoms 3"]:
    periodic = frame.cell[frame.pbc]
    shifts = np.round(differences @ np.linalg.pinv(periodic))
    return np.asarray(differences - shifts @ periodic)


def _work(first: Frame, second: Frame) -> float:
    """Mean force times the way from the first frame to the superposed second one."""
    if first.forces is None or second.forces is None:
        return 0.0
    difference, forces = second.positions - first.positions, second.forces
    if first.pbc.any():
        difference = _in_nearest_images(difference, first)
    else:
        fixed = first.positions - first.positions.mean(axis=0)
        moved = second.positions - second.positions.mean(axis=0)
        left, _, right = np.linalg.svd(moved.T @ fixed)
        left[:, -1] *= np.sign(np.linalg.det(left @ right))
        difference, forces = moved @ left @ right - fixed, forces @ left @ right
    return float(((first.forces + forces) / 2 * difference).sum())


def _energy(frame: Frame) -> float:
    return 0.0 if frame.energy is None else frame.energy
