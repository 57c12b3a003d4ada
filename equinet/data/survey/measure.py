"""What a set of structures is, in numbers: compositions, labels, forces, energies, distances."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from equinet.data.atoms import LABELS, Frame, ase_library, atomic_energies, neighbor_list
from equinet.data.survey.agreement import Agreement, agreement
from equinet.data.survey.bonds import BondForces, bond_forces
from equinet.elements import symbol

_MOST_FRAMES = 1000  # largest number of frames that are looked at
_MOST_ATOMS = 20_000  # largest number of atoms between which distances are measured
_SHOWN = 4  # compositions
_NEAR, _FAR = 1.3, 4.0  # times the sum of the largest covalent radii
_STRAY = 30.0  # robust standard deviations
_LEAST_STRAY = 0.2  # eV an atom; relaxations pass through less
_STEEP = 2.0  # times the median of the RMS forces
_FEWEST = 5  # frames of one composition that have a median of their own


@dataclass(frozen=True)
class Distances:
    """Nearest distances in units of the sum of the covalent radii of both atoms.

    Attributes:
        least: Smallest of all distances.
        most: Largest among the nearest distances of the frames.
        place: Name of the frame with the smallest one.
        only_noble: Whether all atoms are of noble gases, which form no bonds.
    """

    least: float
    most: float
    place: str
    only_noble: bool


@dataclass(frozen=True)
class Survey:
    """Description of a set of structures.

    Attributes:
        structures: Number of structures in the set.
        seen: Number of structures that were measured.
        compositions: Number of structures of each formula, among those seen, most frequent first.
        labels: Number of structures with each label, among those seen.
        force_rms: Root mean square of the force components, eV/Å; None without forces.
        largest_force: Largest norm of a force, eV/Å; None without forces.
        energy_spread: Standard deviation of the energies from a fit to the compositions, eV an
            atom; None without energies.
        energy_ratio: Total energies in units of those of the free atoms with all electrons; None
            where they are not known.
        distances: Nearest distances; None where no atom has another one near.
        agreement: Comparison of energies with forces.
        bonds: Comparison of forces with the lengths of bonds.
        strays: Names of frames whose energy is far from that of all others although their forces
            are not larger, with the deviation, eV an atom.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> Survey.of([frame_from_atoms(molecule("H2O"))]).lines()[0]
        '1 structure: H2O'
    """

    structures: int
    seen: int
    compositions: Mapping[str, int]
    labels: Mapping[str, int]
    force_rms: float | None = None
    largest_force: float | None = None
    energy_spread: float | None = None
    energy_ratio: float | None = None
    distances: Distances | None = None
    agreement: Agreement | None = None
    bonds: BondForces | None = None
    strays: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> "Survey":
        """Look at up to a thousand frames of a set, evenly spaced.

        Args:
            frames: Frames in memory or in a store, labeled or not.

        Returns:
            The description.
        """
        seen = _some(frames, _MOST_FRAMES)
        few = _few(seen)
        forces = [frame.forces for frame in seen if frame.forces is not None]
        squares = np.concatenate([np.square(f).sum(axis=1) for f in forces] or [np.zeros(0)])
        labeled = [frame for frame in seen if frame.energy is not None]
        labels = {name: sum(getattr(f, name) is not None for f in seen) for name in LABELS}
        rest = _without_composition(labeled)
        formulas = Counter(formula(frame.numbers.tolist()) for frame in seen)
        return cls(
            structures=len(frames),
            seen=len(seen),
            compositions=dict(formulas.most_common()),
            labels=labels,
            force_rms=float(np.sqrt(squares.mean() / 3)) if squares.size else None,
            largest_force=float(np.sqrt(squares.max())) if squares.size else None,
            energy_spread=float(rest.std()) if rest.size else None,
            energy_ratio=_energy_ratio(labeled),
            distances=_distances(few),
            agreement=agreement(seen),
            bonds=bond_forces(few),
            strays=_strays(labeled, rest),
        )

    def lines(self) -> list[str]:
        """Describe the set in a few lines, without judging it."""
        shown = list(self.compositions.items())[:_SHOWN]
        names = ", ".join(
            name if count == self.seen else f"{name} ({count})" for name, count in shown
        )
        more = len(self.compositions) - len(shown)
        names += f" and {more} more compositions" if more else ""
        sample = f"; looked at {self.seen}" if self.seen < self.structures else ""
        found = [f"{_plural(self.structures, 'structure')}: {names}{sample}", self._labels()]
        energies = []
        if self.energy_spread is not None:
            spread = _significant(1000 * self.energy_spread)
            energies.append(f"energies spread by {spread} meV/atom")
        if self.force_rms is not None and self.largest_force is not None:
            energies.append(
                f"force components have RMS {_significant(self.force_rms)} eV/Å, the largest force "
                f"is {_significant(self.largest_force)} eV/Å"
            )
        found += ["; ".join(energies)] if energies else []
        if self.distances is not None:
            found.append(
                f"nearest atoms are {self.distances.least:.2f} to {self.distances.most:.2f} of "
                "their covalent distance apart"
            )
        return found

    def _labels(self) -> str:
        there = [
            name if count == self.seen else f"{name} of {count} in {self.seen}"
            for name, count in self.labels.items()
            if count
        ]
        absent = [name for name in ("energy", "forces") if not self.labels.get(name)]
        words = [f"labels: {', '.join(there)}" if there else "no labels"]
        return ", ".join([*words, *(f"no {name}" for name in absent if there)])


def formula(numbers: Iterable[int]) -> str:
    """Write a composition as its formula, in the order of Hill: C, H, then by the alphabet.

    Args:
        numbers: Atomic numbers of the atoms.

    Example:
        >>> formula([8, 1, 1]), formula([1, 6, 1, 8, 1, 1])
        ('H2O', 'CH4O')
    """
    counts = Counter(symbol(int(z)) for z in numbers)
    first = [name for name in ("C", "H") if name in counts] if "C" in counts else []
    order = [*first, *sorted(set(counts) - set(first))]
    return "".join(name + (str(counts[name]) if counts[name] > 1 else "") for name in order)


def _some(frames: Sequence[Frame], count: int) -> list[Frame]:
    if len(frames) <= count:
        return list(frames)
    return [frames[int(place)] for place in np.linspace(0, len(frames) - 1, count)]


def _few(frames: Sequence[Frame]) -> list[Frame]:
    """Take evenly spaced frames with a bounded number of atoms together."""
    atoms = sum(len(frame) for frame in frames)
    return _some(frames, max(1, int(len(frames) * min(1.0, _MOST_ATOMS / atoms))) if atoms else 0)


def _counts(frames: Sequence[Frame]) -> tuple[list[int], Float64[np.ndarray, "frames elements"]]:
    elements = sorted({int(z) for frame in frames for z in np.unique(frame.numbers)})
    columns = [[np.count_nonzero(frame.numbers == z) for z in elements] for frame in frames]
    return elements, np.array(columns, dtype=np.float64)


def _energies(frames: Sequence[Frame]) -> Float64[np.ndarray, " frames"]:
    return np.array([frame.energy for frame in frames], dtype=np.float64)


def _without_composition(frames: Sequence[Frame]) -> Float64[np.ndarray, " frames"]:
    """Subtract a fit to the compositions from the energies, and divide by the atoms, eV."""
    if not frames:
        return np.zeros(0)
    _, counts = _counts(frames)
    energies = _energies(frames)
    fitted = counts @ np.linalg.lstsq(counts, energies, rcond=None)[0]
    return np.asarray((energies - fitted) / counts.sum(axis=1))


def _energy_ratio(frames: Sequence[Frame]) -> float | None:
    if not frames:
        return None
    elements, counts = _counts(frames)
    free = atomic_energies(elements)
    return None if free is None else float(_energies(frames).sum() / (counts @ free).sum())


def _strays(frames: Sequence[Frame], rest: Float64[np.ndarray, " frames"]) -> dict[str, float]:
    """Find energies far from the median of their composition, or of all."""
    if len(frames) < _FEWEST:
        return {}
    kinds: dict[str, list[int]] = {}
    for place, frame in enumerate(frames):
        kinds.setdefault(formula(frame.numbers.tolist()), []).append(place)
    deviations = rest - np.median(rest)
    for places in kinds.values():
        if len(places) >= _FEWEST:
            deviations[places] = rest[places] - np.median(rest[places])
    # The factor makes the median of absolute deviations a standard deviation.
    limit = max(_STRAY * 1.4826 * float(np.median(np.abs(deviations))), _LEAST_STRAY)
    far = np.flatnonzero(np.abs(deviations) > limit)
    far = far[~_is_steep(frames)[far]]
    order = far[np.argsort(-np.abs(deviations[far]))]
    return {frames[place].source: float(deviations[place]) for place in order.tolist()}


def _is_steep(frames: Sequence[Frame]) -> Bool[np.ndarray, " frames"]:
    """Say which frames have large forces, as where an energy is rightly high."""
    sizes = np.array([0.0 if f.forces is None else np.square(f.forces).mean() for f in frames])
    return np.asarray(sizes > _STEEP**2 * np.median(sizes))


def _distances(frames: Sequence[Frame]) -> Distances | None:
    nearest = {frame.source: ratio for frame in frames if (ratio := _nearest(frame)) is not None}
    if not nearest:
        return None
    place = min(nearest, key=lambda source: nearest[source])
    noble = {2, 10, 18, 36, 54, 86}
    only_noble = all(noble.issuperset(frame.numbers.tolist()) for frame in frames)
    return Distances(nearest[place], max(nearest.values()), place, only_noble)


def _nearest(frame: Frame) -> float | None:
    """Smallest distance of two atoms over the sum of their covalent radii."""
    radii: Any = ase_library().data.covalent_radii[frame.numbers]
    for reach in (_NEAR, _FAR):
        (sender, receiver), shift = neighbor_list(
            frame.positions,
            frame.cell,
            frame.pbc,
            2 * reach * float(radii.max()),
            source=frame.source,
        )
        if sender.size:
            vectors = frame.positions[sender] - frame.positions[receiver] + shift @ frame.cell
            ratios = np.linalg.norm(vectors, axis=1) / (radii[sender] + radii[receiver])
            return float(ratios.min())
    return None


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _significant(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
