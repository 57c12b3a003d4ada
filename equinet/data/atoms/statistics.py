"""What a model needs to know about its training set before it starts."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64

from equinet.data.atoms.fields import Frame
from equinet.data.atoms.graphs import AtomicDataset
from equinet.errors import DataError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statistics:
    """Constants of a training set.

    Attributes:
        elements: Atomic numbers, ascending.
        reference_energies: Energy of an atom of each element, eV, in the order of ``elements``.
        shift: Mean over frames of (energy - sum of reference energies) / atoms, eV.
        scale: Typical size of a force component, eV/Å; of a set without forces, of what reference
            energies and shift leave of the energies, eV; 1 where that is nothing. It is the mean of
            absolute values times √(π/2): of a normal distribution the root mean square, but a few
            frames of enormous forces, as relaxations begin with, do not set it.
        average_neighbors: Directed edges per atom; 1 where there is no edge at all.
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
        """Measure a labeled data set, in float64.

        Args:
            dataset: The training set, with energies. A large one is measured on a sample
                (see ``dataset.sample``).
            reference_energies: Energies by atomic number, such as those of isolated atoms, eV; None
                fits them to the compositions by :func:`fit_reference_energies`.

        Returns:
            Its statistics.

        Raises:
            DataError: The set has no energies, or an element has no reference energy.
        """
        elements, frames = dataset.elements, dataset.sample()
        if reference_energies is None:
            references = fit_reference_energies(frames, elements)
        else:
            missing = sorted(set(elements) - set(reference_energies))
            if missing:
                raise DataError(
                    f"{dataset.name}: no reference energies for atomic numbers {missing}; there "
                    f"are some for {sorted(reference_energies)}"
                )
            references = np.array([reference_energies[z] for z in elements], dtype=np.float64)
        counts = _compositions(frames, elements)
        sizes = counts.sum(axis=1)
        interaction = _energies(frames) - counts @ references
        shift = float((interaction / sizes).mean())
        forces = [frame.forces for frame in frames if frame.forces is not None]
        sought = [array.ravel() for array in forces] or [interaction - shift * sizes]
        return cls(
            elements=elements,
            reference_energies=tuple(float(energy) for energy in references),
            shift=shift,
            scale=float(np.abs(np.concatenate(sought)).mean()) * math.sqrt(math.pi / 2) or 1.0,
            average_neighbors=dataset.average_neighbors or 1.0,
        )

    def model_arguments(self) -> dict[str, Any]:
        """The fields by name, as the keyword arguments of a model."""
        return asdict(self)


def fit_reference_energies(
    frames: Sequence[Frame], elements: Sequence[int]
) -> Float64[np.ndarray, " elements"]:
    """Fit one energy per element to the total energies by least squares.

    Where the compositions do not determine the fit (say all frames are the same molecule), the
    solution of smallest norm is taken: sums over the compositions at hand are right, single
    values mean nothing, and a model built on them holds for these compositions only. A log line
    says so.

    Args:
        frames: Frames with energies.
        elements: Atomic numbers that cover the frames.

    Returns:
        eV per element.

    Raises:
        DataError: A frame has no energy.
    """
    counts = _compositions(frames, elements)
    solution, _, rank, _ = np.linalg.lstsq(counts, _energies(frames), rcond=None)
    if rank < len(elements):
        _log.info(
            "the compositions fix %d of %d reference energies; the rest follow by smallest norm",
            rank,
            len(elements),
        )
    return np.asarray(solution, dtype=np.float64)


def pairs_that_meet(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """List the pairs of different elements that occur together in some frame.

    Args:
        frames: Such as a training set.

    Returns:
        Pairs of atomic numbers, the smaller one first, ascending.

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
    return np.array(columns, dtype=np.float64)


def _energies(frames: Sequence[Frame]) -> Float64[np.ndarray, " frames"]:
    for frame in frames:
        if frame.energy is None:
            raise DataError(f"{frame.source}: the frame has no energy")
    return np.array([frame.energy for frame in frames], dtype=np.float64)
