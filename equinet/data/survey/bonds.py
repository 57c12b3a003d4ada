"""Do forces pull stretched bonds together? A test of their sign and unit that needs no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from equinet.data.atoms import Frame, ase_library, neighbor_list

_REACH = 1.3  # times the sum of the covalent radii
_FEWEST = 20  # bonds of one kind below which nothing is concluded
_SPREAD = 0.003  # Å
_CLEAR = 0.3  # correlation


@dataclass(frozen=True)
class BondForces:
    """Regression of the forces along bonds on the lengths of the bonds.

    Attributes:
        bonds: Number of bonds.
        correlation: Correlation between force and length within bonds of the same two elements:
            negative for true forces, which push short bonds apart, and positive for their
            opposite.
        stiffness: Force per stretch of the bonds from H to C, N or O, eV/Å², which is between 20
            and 60 in nature; None where there are too few, or no clear relation.

    Example:
        >>> BondForces(100, -0.9, 31.0).stiffness
        31.0
    """

    bonds: int
    correlation: float
    stiffness: float | None


def bond_forces(frames: Sequence[Frame]) -> BondForces | None:
    """Compare the lengths of bonds with the forces along them.

    Bonds are pairs of atoms closer than 1.3 times the sum of their covalent radii. Their lengths
    and forces are measured from the mean of all bonds between the same two elements.

    Args:
        frames: Frames, of which those with forces are used.

    Returns:
        The regression; None where there are too few bonds or they are all equally long.
    """
    kinds: dict[tuple[int, int], list[Float64[np.ndarray, "2 bonds"]]] = {}
    for frame in frames:
        if frame.forces is None or len(frame) < 2:
            continue
        for kind, found in _bonds(frame).items():
            kinds.setdefault(kind, []).append(found)
    deviations: dict[tuple[int, int], Float64[np.ndarray, "2 bonds"]] = {}
    for kind, parts in kinds.items():
        joined = np.concatenate(parts, axis=1)
        if joined.shape[1] >= _FEWEST and joined[0].std() > _SPREAD:
            deviations[kind] = joined - joined.mean(axis=1, keepdims=True)
    if not deviations:
        return None
    everything = np.concatenate(list(deviations.values()), axis=1)
    hydrogen = [each for kind, each in deviations.items() if kind in {(1, 6), (1, 7), (1, 8)}]
    correlation, _ = _regress(everything)
    stiffness = None
    if hydrogen:
        clear, slope = _regress(np.concatenate(hydrogen, axis=1))
        stiffness = -slope if abs(clear) > _CLEAR else None
    return BondForces(everything.shape[1], correlation, stiffness)


def _regress(bonds: Float64[np.ndarray, "2 bonds"]) -> tuple[float, float]:
    """Correlation of force and length, and their ratio."""
    length, force = bonds
    norms = float(np.sqrt((length @ length) * (force @ force)))
    both = float(length @ force)
    return (both / norms if norms else 0.0), both / float(length @ length)


def _bonds(frame: Frame) -> dict[tuple[int, int], Float64[np.ndarray, "2 bonds"]]:
    """Measure the lengths of the bonds of each kind, and the forces that push their ends apart."""
    radii = ase_library().data.covalent_radii[frame.numbers]
    reach = 2 * _REACH * float(radii.max())
    (sender, receiver), shift = neighbor_list(
        frame.positions, frame.cell, frame.pbc, reach, source=frame.source
    )
    vectors = frame.positions[sender] - frame.positions[receiver] + shift @ frame.cell
    lengths = np.linalg.norm(vectors, axis=1)
    # Atoms in one place have no direction; other suspicions name them.
    apart = (lengths > 0) & (lengths < _REACH * (radii[sender] + radii[receiver]))
    close = apart & (sender < receiver)
    sender, receiver, vectors, lengths = (x[close] for x in (sender, receiver, vectors, lengths))
    if frame.forces is None:
        return {}
    pull = frame.forces[sender] - frame.forces[receiver]
    forces = (pull * vectors).sum(axis=1) / lengths / 2
    kinds = np.sort(np.stack([frame.numbers[sender], frame.numbers[receiver]]), axis=0)
    return {
        (int(a), int(b)): np.stack([lengths, forces])[:, (kinds == [[a], [b]]).all(axis=0)]
        for a, b in np.unique(kinds, axis=1).T
    }
