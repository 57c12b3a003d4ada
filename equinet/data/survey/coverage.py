"""Compositions and pairs of elements of a training set, and which structures are unlike it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from equinet.data.atoms import Frame, pairs_that_meet
from equinet.data.survey.measure import formula
from equinet.elements import symbol
from equinet.errors import DataError

_SHOWN = 10  # most frequent compositions that the card lists
_NAMED = 3


@dataclass(frozen=True)
class Coverage:
    """Compositions and pairs of elements of a training set, as the card of a model keeps them.

    Attributes:
        elements: Atomic numbers, ascending.
        compositions: Number of structures of each formula, of the most frequent ones.
        distinct: Number of different compositions.
        basis: Numbers of atoms of each element, of compositions of which all are combinations.
        pairs: Pairs of atomic numbers of elements that occur together in a structure.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> water = Coverage.of([frame_from_atoms(molecule("H2O"))])
        >>> water.unlike(np.array([8, 8, 1, 1, 1, 1])), water.unlike(np.array([8, 8, 1, 1]))
        ('', 'H2O2 is no combination of the training compositions (H2O)')
    """

    elements: tuple[int, ...]
    compositions: Mapping[str, int]
    distinct: int
    basis: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> "Coverage":
        """Collect the compositions and pairs of a training set.

        Args:
            frames: Frames of the training set.
        """
        elements = tuple(sorted({int(z) for frame in frames for z in np.unique(frame.numbers)}))
        counted = Counter(
            tuple(int(np.count_nonzero(frame.numbers == z)) for z in elements) for frame in frames
        )
        named = {
            formula(np.repeat(elements, counts).tolist()): number
            for counts, number in counted.most_common(_SHOWN)
        }
        basis: list[tuple[int, ...]] = []
        for counts in counted:
            if len(basis) == len(elements):
                break
            if np.linalg.matrix_rank(np.array([*basis, counts])) > len(basis):
                basis.append(counts)
        return cls(elements, named, len(counted), tuple(basis), tuple(pairs_that_meet(frames)))

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> "Coverage | None":
        """Read what the card of a model says of its training set.

        Args:
            card: Content of the card.

        Returns:
            The coverage; None where the card says nothing, as cards of older versions.

        Raises:
            DataError: The entry is damaged.
        """
        entry = card.get("training_set")
        if entry is None:
            return None
        try:
            return cls(
                tuple(entry["elements"]),
                dict(entry["compositions"]),
                int(entry["distinct"]),
                tuple(tuple(counts) for counts in entry["basis"]),
                tuple((int(first), int(second)) for first, second in entry["pairs"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the entry 'training_set' of the model's card is damaged ({error}); "
                "copy the model anew"
            ) from error

    def for_card(self) -> dict[str, Any]:
        """Return the entry of the card, in plain mappings and lists."""
        return {"training_set": dict(vars(self))}

    def unlike(self, numbers: Int64[np.ndarray, " atoms"]) -> str:
        """Say why a structure is unlike the training set.

        Args:
            numbers: Atomic numbers of the structure.

        Returns:
            A clause; empty if all its elements meet in training, and its composition is a
            combination of those of training, so that its reference energy is determined.
        """
        present = sorted({int(z) for z in numbers})
        met = {frozenset(pair) for pair in self.pairs}
        for place, first in enumerate(present):
            for second in present[place + 1 :]:
                if frozenset((first, second)) not in met:
                    return f"{symbol(first)} and {symbol(second)} do not meet in training"
        counts = np.array([np.count_nonzero(numbers == z) for z in self.elements], dtype=float)
        basis = np.array(self.basis, dtype=float).T
        rest = counts - basis @ np.linalg.lstsq(basis, counts, rcond=None)[0]
        if counts.sum() == len(numbers) and np.abs(rest).max() < 1e-6:
            return ""
        known = list(self.compositions)[:_NAMED]
        more = f" and {self.distinct - len(known)} more" if self.distinct > len(known) else ""
        shown = f"{', '.join(known)}{more}"
        return (
            f"{formula(numbers.tolist())} is no combination of the training compositions ({shown})"
        )
