"""Constants of a training set that a model needs before training."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64

from equinet.data.atoms.atomic_energies import atomic_energies
from equinet.data.atoms.fields import Frame
from equinet.data.atoms.graphs import AtomicDataset
from equinet.errors import DataError

_log = logging.getLogger(__name__)

_ALIKE = 0.05  # relative difference of total energies from those of free atoms


@dataclass(frozen=True)
class Statistics:
    """Constants of a training set.

    Attributes:
        elements: Atomic numbers, ascending.
        reference_energies: Reference energy of an atom of each element, eV, in the order of
            ``elements``.
        shift: Mean over frames of (energy - sum of reference energies) / atoms, eV.
        scale: Typical size of a force component, eV/Å. Without forces, typical size of the energies
            minus reference energies and shifts, eV. 1 if these are all zero. The typical size is
            the mean absolute value times √(π/2): for a normal distribution this is the root mean
            square, but a few frames with very large forces, as at the beginning of relaxations,
            change it less.
        average_neighbors: Mean number of directed edges that end at an atom; 1 if there are no
            edges.

    Example:
        >>> from ase.build import molecule
        >>> methane, water = molecule("CH4"), molecule("H2O")
        >>> methane.info["REF_energy"], water.info["REF_energy"] = -24.0, -14.0
        >>> Statistics.of(AtomicDataset([methane, water], 5.0)).elements
        (1, 6, 8)
    """

    elements: tuple[int, ...]
    reference_energies: tuple[float, ...]
    shift: float
    scale: float
    average_neighbors: float

    @classmethod
    def of(
        cls, dataset: AtomicDataset, reference_energies: Mapping[int, float] | None = None
    ) -> "Statistics":
        """Compute the statistics of a labeled data set in float64.

        Args:
            dataset: Training set with energies or forces. The statistics of a large set are
                computed on the frames that ``dataset.sample()`` returns. Without any energy, the
                shift is zero, and so are reference energies that are not given.
            reference_energies: Reference energies by atomic number, such as energies of isolated
                atoms, eV; None fits them with :func:`fit_reference_energies`.

        Returns:
            The statistics of the data set.

        Raises:
            DataError: The set has neither energies nor forces, or an element has no reference
                energy.
        """
        elements, frames = dataset.elements, dataset.sample()
        labeled = [frame for frame in frames if frame.energy is not None]
        forces = [frame.forces for frame in frames if frame.forces is not None]
        if not labeled and not forces:
            raise DataError(
                f"{frames[0].source}: neither this structure nor any other has an energy or "
                "forces; name the labels by energy_key and forces_key if the files have them"
            )
        if reference_energies is None:
            references = fit_reference_energies(labeled, elements)
        else:
            missing = sorted(set(elements) - set(reference_energies))
            if missing:
                raise DataError(
                    f"{dataset.name}: no reference energies for atomic numbers {missing}; give "
                    f"them beside those of {sorted(reference_energies)}, or give none to have "
                    "all fitted"
                )
            references = np.array([reference_energies[z] for z in elements], dtype=np.float64)
        counts = _compositions(labeled, elements)
        sizes = counts.sum(axis=1)
        interaction = _energies(labeled) - counts @ references
        shift = float((interaction / sizes).mean()) if labeled else 0.0
        sought = [array.ravel() for array in forces] or [interaction - shift * sizes]
        return cls(
            elements=elements,
            reference_energies=tuple(float(energy) for energy in references),
            shift=shift,
            scale=float(np.abs(np.concatenate(sought)).mean()) * math.sqrt(math.pi / 2) or 1.0,
            average_neighbors=dataset.average_neighbors or 1.0,
        )

    def model_arguments(self) -> dict[str, Any]:
        """Return the attributes by name, as keyword arguments of a model."""
        return asdict(self)


def fit_reference_energies(
    frames: Sequence[Frame], elements: Sequence[int]
) -> Float64[np.ndarray, " elements"]:
    """Fit one energy per element to the total energies by least squares.

    If the compositions do not determine the fit (for example if all frames are the same molecule),
    it starts from the energies of free atoms (see :func:`equinet.data.atoms.atomic_energies`),
    provided that the total energies are within 5 % of their sums: the fitted energies are then as
    near to those as the compositions allow, with what all atoms have in common left to the shift of
    :class:`Statistics`. Otherwise, as with energies of pseudopotentials, the result is the solution
    of smallest norm: sums over the given compositions are right, but single values have no meaning.
    A line in the log says which of both holds.

    Args:
        frames: Frames with energies; without any, all energies are zero.
        elements: Atomic numbers, including all that occur in the frames.

    Returns:
        Energy of each element, eV.

    Raises:
        DataError: A frame has no energy.

    Example:
        >>> from dataclasses import replace
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> energies = {"H2": -6.0, "H2O": -14.0}
        >>> frames = [replace(frame_from_atoms(molecule(m)), energy=e) for m, e in energies.items()]
        >>> fit_reference_energies(frames, [1, 8]).round(6).tolist()
        [-3.0, -8.0]
    """
    if not frames:
        return np.zeros(len(elements))
    counts, energies = _compositions(frames, elements), _energies(frames)
    rank = int(np.linalg.matrix_rank(counts))
    free = atomic_energies(elements)
    if rank == len(elements):
        free = None
    if free is not None and abs(energies.sum() / (counts @ free).sum() - 1) > _ALIKE:
        free = None
    if rank < len(elements):
        _log.info(
            "the compositions fix %d of %d reference energies; the rest %s; isolated atoms in the "
            "training file or in data.isolated_atoms fix all",
            rank,
            len(elements),
            "follow by smallest norm" if free is None else "are near to those of free atoms",
        )
    return nearest_energies(counts, energies, free)


def nearest_energies(
    counts: Float64[np.ndarray, "frames elements"],
    energies: Float64[np.ndarray, " frames"],
    prior: Float64[np.ndarray, " elements"] | None = None,
) -> Float64[np.ndarray, " elements"]:
    """Fit one energy per element, near to given ones where the compositions leave a choice.

    Args:
        counts: Number of atoms of each element in each frame.
        energies: Total energies, eV.
        prior: Energies to stay near to, eV; None for zeros. If they are given, the mean of what
            they leave of the energies, per atom, is not fitted where the compositions leave a
            choice: it belongs to the shift.

    Returns:
        Energy of each element, eV.

    Example:
        >>> water, prior = np.array([[2.0, 1.0]]), np.array([-13.0, -2040.0])
        >>> nearest_energies(water, np.array([-2078.0]), prior).tolist()
        [-13.0, -2040.0]
        >>> nearest_energies(water, np.array([-15.0])).round(6).tolist()
        [-6.0, -3.0]
    """
    start = np.zeros(counts.shape[1]) if prior is None else prior
    rest = energies - counts @ start
    if prior is not None and np.linalg.matrix_rank(counts) < counts.shape[1]:
        sizes = counts.sum(axis=1)
        rest = rest - sizes * (rest / sizes).mean()
    solution = np.linalg.lstsq(counts, rest, rcond=None)[0]
    return np.asarray(start + solution, dtype=np.float64)


def pairs_that_meet(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """List the pairs of different elements that occur together in at least one frame.

    Args:
        frames: Frames of any number, such as a training set.

    Returns:
        Pairs of atomic numbers in ascending order, the smaller number first.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> frames = [frame_from_atoms(molecule(name)) for name in ("CH4", "H2O", "CO")]
        >>> pairs_that_meet(frames)
        [(1, 6), (1, 8), (6, 8)]
    """
    compositions = {tuple(np.unique(frame.numbers).tolist()) for frame in frames}
    return sorted({pair for elements in compositions for pair in combinations(elements, 2)})


def _compositions(
    frames: Sequence[Frame], elements: Sequence[int]
) -> Float64[np.ndarray, "frames elements"]:
    columns = [[np.count_nonzero(frame.numbers == z) for z in elements] for frame in frames]
    return np.array(columns, dtype=np.float64).reshape(-1, len(elements))


def _energies(frames: Sequence[Frame]) -> Float64[np.ndarray, " frames"]:
    for frame in frames:
        if frame.energy is None:
            raise DataError(
                f"{frame.source}: the frame has no energy; give its name as energy_key, or leave "
                "the frame out"
            )
    return np.array([frame.energy for frame in frames], dtype=np.float64)
