"""Data modules of atomistic data, with loaders and statistics."""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import DataLoader

from equinet.data.atoms import (
    AtomicDataset,
    Frame,
    Statistics,
    Units,
    ase_library,
    structure_key,
)
from equinet.data.loading.module import GraphDataModule, GraphSets
from equinet.data.loading.packing import PackedBatches
from equinet.data.loading.sampling import packed_loader
from equinet.data.store import StoredDataset, StoredFrames
from equinet.data.survey import Coverage, report
from equinet.errors import DataError
from equinet.neighborhood import Neighborhood

_log = logging.getLogger(__name__)

_LISTED = 50_000  # training frames whose compositions are collected
_NEGLIGIBLE = 1e-3  # eV per atom, shift that is not worth a line in the log


@dataclass(frozen=True)
class Splits:
    """Frames of one task, divided into training, validation and test frames.

    Attributes:
        train: Frames of the training set, in memory or in a store.
        val: Frames of the validation set.
        tests: Test frames by name.
        about: Description of the data in one clause.
        reference_energies: Reference energies by atomic number, eV; None fits them to the training
            set.
        files: Files by name of the test set, for test sets that consist of one whole file.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> frames = [frame_from_atoms(molecule(name)) for name in ("CH4", "H2O", "NH3")]
        >>> splits = Splits(frames[:1], frames[1:2], {"ammonia": frames[2:]}, "three molecules")
        >>> list(splits.tests), splits.reference_energies is None
        (['ammonia'], True)
    """

    train: Sequence[Frame]
    val: Sequence[Frame]
    tests: Mapping[str, Sequence[Frame]]
    about: str
    reference_energies: Mapping[int, float] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class AtomicSets(GraphSets):
    """Data sets of one task, with statistics.

    Attributes:
        train: Data set for training.
        val: Data set for validation.
        tests: Test sets by name.
        statistics: Constants of the training set.
        files: Files by name of the test set, for test sets that consist of one whole file.
    """

    train: AtomicDataset
    val: AtomicDataset
    tests: Mapping[str, AtomicDataset]
    statistics: Statistics = field(repr=False)
    files: Mapping[str, Path]


class AtomicDataModule(GraphDataModule[AtomicSets]):
    """Base of the atomistic data modules; a subclass reads the frames in :meth:`read`.

    Args:
        cutoff: Cutoff radius, Å.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of random splits and of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process, which is faster for
            small graphs.
        max_atoms: Largest number of atoms of a training batch. If it is given, batches are packed
            to equal work (see :class:`equinet.data.PackedBatches`), and ``batch_size`` is not used.
            None sets no bound.
        max_edges: Largest number of edges of a training batch. If it is given, batches are packed
            to equal work, and ``batch_size`` is not used. None sets no bound.
        max_neighbors: Largest number of edges that may end at an atom, at least 1; the shortest are
            kept. None keeps all edges within the cutoff.
        tie_tolerance: Difference of squared lengths, Å², up to which edges count as equally long
            (see :class:`equinet.neighborhood.Neighborhood`); None keeps exactly ``max_neighbors``.

    Raises:
        DataError: An argument is out of range.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> class Water(AtomicDataModule):
        ...     def read(self):
        ...         frames = [frame_from_atoms(molecule("H2O"))]
        ...         return Splits(frames, frames, {}, "one molecule of water")
        >>> len(Water(cutoff=3.0).read().train)
        1
    """

    tells: ClassVar[tuple[str, ...]] = (
        *(field.name for field in fields(Statistics)),
        *(field.name for field in fields(Neighborhood)),
    )

    def __init__(
        self,
        *,
        cutoff: float = 5.0,
        batch_size: int = 5,
        eval_batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 0,
        max_atoms: int | None = None,
        max_edges: int | None = None,
        max_neighbors: int | None = None,
        tie_tolerance: float | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        for name, value in (("max_atoms", max_atoms), ("max_edges", max_edges)):
            if value is not None and value < 1:
                raise DataError(f"{name} must be at least 1, got {value}")
        try:
            self.neighborhood = Neighborhood(cutoff, max_neighbors, tie_tolerance)
        except ValueError as error:
            raise DataError(str(error)) from error
        self.max_atoms = max_atoms
        self.max_edges = max_edges

    given_energies: Mapping[int, float] | None = None
    """Reference energies that were given, as of isolated atoms, by atomic number, eV; else None."""
    summary: Sequence[str] = ()
    """Lines that say what the sets are and what is implausible about them, once they are read."""
    theory: str | None = None
    """Level of theory of the labels, which the card of a model keeps; None says nothing."""

    @property
    def units(self) -> Units:
        """Units of the files, which are converted; here Å and eV."""
        return Units()

    @property
    def cutoff(self) -> float:
        """Cutoff radius of the graphs, Å."""
        return self.neighborhood.cutoff

    @abstractmethod
    def read(self) -> Splits:
        """Read, download or generate the frames.

        Returns:
            The frames of all splits.
        """

    def load(self) -> AtomicSets:
        """Read the frames, build the graphs and compute the statistics."""
        splits = self.read()
        sets = {"training set": splits.train, "validation set": splits.val}
        sets |= {f"test set {name}": frames for name, frames in splits.tests.items()}
        remarks = list(report(sets, self.units))
        self.summary = [remark.text.removeprefix("Data").strip() for remark in remarks]
        for remark in remarks:
            _log.log(logging.WARNING if remark.is_loud else logging.INFO, "%s", remark.text)
        train = self._dataset(splits.train, "training set")
        val = self._dataset(splits.val, "validation set")
        tests = {
            name: self._dataset(frames, f"test set {name}") for name, frames in splits.tests.items()
        }
        symbols = ase_library().data.chemical_symbols
        for dataset in (val, *tests.values()):
            unseen = sorted(set(dataset.elements) - set(train.elements))
            if unseen:
                names = ", ".join(symbols[z] for z in unseen)
                known = ", ".join(symbols[z] for z in train.elements)
                raise DataError(
                    f"{dataset.name}: {names} not in the training set ({known}); add frames with "
                    "them to the training set, or leave these out"
                )
        if not train.average_neighbors:
            raise DataError(
                f"{train.name}: no two atoms are within the cutoff of {self.neighborhood.cutoff:g} "
                "Å; raise data.cutoff, or name the unit of the positions as data.length_unit"
            )
        neighbors = train.average_neighbors
        _log.info("         %.1f neighbors an atom within %g Å", neighbors, self.cutoff)
        statistics = Statistics.of(train, splits.reference_energies)
        if any((splits.reference_energies or {}).values()) and abs(statistics.shift) > _NEGLIGIBLE:
            _log.info(
                "an isolated atom will not have its reference energy: the model adds a shift of "
                "%.3f eV to every atom, which is right for atoms with neighbors; where "
                "dissociation matters, set model.shift=0",
                statistics.shift,
            )
        self.given_energies = splits.reference_energies
        return AtomicSets(splits.about, train, val, tests, statistics, splits.files)

    def _dataset(self, frames: Sequence[Frame], name: str) -> AtomicDataset:
        if isinstance(frames, StoredFrames):
            return StoredDataset(frames, self.neighborhood, name=name)
        return AtomicDataset(frames, self.neighborhood, name=name, mixed_labels=True)

    def train_loader(self) -> DataLoader[Any]:
        """Load training batches in an order that depends on the seed and the epoch alone."""
        if self.max_atoms is None and self.max_edges is None:
            return super().train_loader()
        batches = PackedBatches(
            self.train.sizes,
            None if self.max_edges is None else self.train.edge_counts,
            max_atoms=self.max_atoms,
            max_edges=self.max_edges,
            seed=self.seed,
        )
        return packed_loader(self.train, batches, num_workers=self.num_workers)

    @property
    def train(self) -> AtomicDataset:
        """The training set."""
        return self.sets.train

    @property
    def val(self) -> AtomicDataset:
        """The validation set."""
        return self.sets.val

    @property
    def tests(self) -> Mapping[str, AtomicDataset]:
        """The test sets by name."""
        return self.sets.tests

    @property
    def files(self) -> Mapping[str, Path]:
        """Files by name of the test set, for test sets that consist of one whole file."""
        return self.sets.files

    @property
    def statistics(self) -> Statistics:
        """Constants of the training set."""
        return self.sets.statistics

    def model_arguments(self) -> dict[str, Any]:
        """Return the statistics and the neighborhood as keyword arguments of a model."""
        return {**self.statistics.model_arguments(), **self.neighborhood.arguments()}

    def training_keys(self) -> UInt8[np.ndarray, "structure 16"] | None:
        """Return hashes of the training structures, of sets of at most 50 000."""
        frames = self.train.frames
        if len(frames) > _LISTED:
            return None
        keys = b"".join(structure_key(frame) for frame in frames)
        return np.frombuffer(keys, dtype=np.uint8).reshape(-1, 16)

    def for_card(self) -> dict[str, Any]:
        """Return the compositions of the training set, if it is small, and the level of theory."""
        frames, theory = self.train.frames, self.theory
        small = len(frames) <= _LISTED
        entries = Coverage.of(frames).for_card() if small else {}
        return entries if theory is None else {**entries, "theory": theory}

    def describe(self) -> str:
        """Describe the data in one line: origin, number and size of the frames, elements, units."""
        ready = self.sets
        sets = {"training": ready.train, "validation": ready.val, **ready.tests}
        low = min(int(dataset.sizes.min()) for dataset in sets.values())
        high = max(int(dataset.sizes.max()) for dataset in sets.values())
        atoms = f"{low}" if low == high else f"{low} to {high}"
        symbols = ase_library().data.chemical_symbols
        elements = " ".join(symbols[z] for z in ready.train.elements)
        converted = "" if self.units.are_own else f" (converted: {self.units.describe()})"
        return (
            f"{ready.about}: {self.counts()} frames of {atoms} atoms ({elements}); "
            f"energies in eV, forces in eV/Å{converted}"
        )
