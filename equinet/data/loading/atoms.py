"""Data modules: training, validation and test sets of one task, with loaders and statistics."""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int
from torch.utils.data import DataLoader

from equinet.data.atoms import AtomicDataset, Frame, Statistics, ase_library, read_frames
from equinet.data.loading.module import GraphDataModule, GraphSets
from equinet.data.loading.packing import PackedBatches
from equinet.data.loading.sampling import packed_loader
from equinet.data.store import StoredDataset, StoredFrames
from equinet.errors import DataError
from equinet.neighborhood import Neighborhood

_log = logging.getLogger(__name__)

_NEGLIGIBLE = 1e-3  # eV per atom


@dataclass(frozen=True)
class Splits:
    """Frames of one task.

    Attributes:
        train: Training frames, in memory or in a store, like all others.
        val: Frames of the validation set.
        tests: Test frames by name.
        about: What the data are, in one clause.
        reference_energies: Energies by atomic number, eV; None has them fitted to the training set.
        files: Files of those test sets that are one whole file.
    """

    train: Sequence[Frame]
    val: Sequence[Frame]
    tests: Mapping[str, Sequence[Frame]]
    about: str
    reference_energies: Mapping[int, float] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class AtomicSets(GraphSets):
    """Labeled structures of one task.

    Attributes:
        train: Data set for training.
        val: Data set for validation.
        tests: Test sets by name.
        statistics: Constants of the training set.
        files: Files of those test sets that are one whole file.
    """

    train: AtomicDataset
    val: AtomicDataset
    tests: Mapping[str, AtomicDataset]
    statistics: Statistics = field(repr=False)
    files: Mapping[str, Path]


class AtomicDataModule(GraphDataModule[AtomicSets]):
    """Base of the atomistic data modules; a subclass says where the frames come from.

    Args:
        cutoff: Cutoff radius, Å.
        batch_size: Graphs per training batch.
        eval_batch_size: Graphs per validation or test batch.
        seed: Seed of random splits and of the order of training; non-negative.
        num_workers: Loading processes; 0 loads in this one, which small graphs want.
        max_atoms: Most atoms of a training batch: batches are then packed to equal work, and
            ``batch_size`` is not used (see :class:`equinet.data.PackedBatches`).
        max_edges: Most edges of a training batch, likewise.
        max_neighbors: Keep the shortest edges that end at an atom; see :func:`neighbor_list`.
        tie_tolerance: Difference of squared lengths that counts as none, Å².

    Raises:
        DataError: An argument is out of range.
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

    @property
    def cutoff(self) -> float:
        """Cutoff radius of the graphs, Å."""
        return self.neighborhood.cutoff

    @abstractmethod
    def read(self) -> Splits:
        """Read, download or make the frames.

        Returns:
            The frames of all splits.
        """

    def load(self) -> AtomicSets:
        """Read the frames, build the graphs and measure the statistics."""
        splits = self.read()
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
                raise DataError(f"{dataset.name}: {names} not in the training set ({known})")
        if not train.average_neighbors:
            raise DataError(
                f"{train.name}: no two atoms are within the cutoff of {self.neighborhood.cutoff:g} "
                "Å; raise data.cutoff, or convert the positions into Å"
            )
        statistics = Statistics.of(train, splits.reference_energies)
        if any((splits.reference_energies or {}).values()) and abs(statistics.shift) > _NEGLIGIBLE:
            _log.info(
                "an isolated atom will not have its reference energy: the model adds a shift of "
                "%.3f eV to every atom, which is right for atoms with neighbors; where "
                "dissociation matters, add isolated atoms to the training set",
                statistics.shift,
            )
        return AtomicSets(splits.about, train, val, tests, statistics, splits.files)

    def _dataset(self, frames: Sequence[Frame], name: str) -> AtomicDataset:
        if isinstance(frames, StoredFrames):
            return StoredDataset(frames, self.neighborhood, name=name)
        return AtomicDataset(frames, self.neighborhood, name=name)

    def train_loader(self) -> DataLoader[Any]:
        """Training batches in an order that the seed and the epoch determine, packed if bounded."""
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
        """Files of those test sets that are one whole file, by name of the set."""
        return self.sets.files

    @property
    def statistics(self) -> Statistics:
        """Constants of the training set."""
        return self.sets.statistics

    def model_arguments(self) -> dict[str, Any]:
        """The statistics and how graphs are built: the cutoff, and a cap where there is one."""
        return {**self.statistics.model_arguments(), **self.neighborhood.arguments()}

    def describe(self) -> str:
        """One line: what the data are, how many, of what, and in which units."""
        ready = self.sets
        sets = {"training": ready.train, "validation": ready.val, **ready.tests}
        low = min(int(dataset.sizes.min()) for dataset in sets.values())
        high = max(int(dataset.sizes.max()) for dataset in sets.values())
        atoms = f"{low}" if low == high else f"{low} to {high}"
        symbols = ase_library().data.chemical_symbols
        elements = " ".join(symbols[z] for z in ready.train.elements)
        return (
            f"{ready.about}: {self.counts()} frames of {atoms} atoms ({elements}); "
            "energies in eV, forces in eV/Å"
        )


def split_frames(
    frames: Sequence[Frame],
    amount: float | int,
    seed: int,
) -> tuple[list[Frame], list[Frame]]:
    """Set a random part of the frames aside; both parts keep their order.

    Args:
        frames: Frames to divide.
        amount: Number of frames to set aside, or below 1 their share.
        seed: Seed of the choice.

    Returns:
        The rest, and the part set aside.

    Raises:
        DataError: The amount is not a share or a whole number, or one of the parts is empty.
    """
    rest, aside = split_indices(len(frames), amount, seed)
    return [frames[index] for index in rest.tolist()], [frames[index] for index in aside.tolist()]


def split_indices(
    count: int,
    amount: float | int,
    seed: int,
) -> tuple[Int[np.ndarray, " rest"], Int[np.ndarray, " aside"]]:
    """Set a random part of some frames aside.

    Args:
        count: How many frames there are.
        amount: Number of frames to set aside, or below 1 their share.
        seed: Seed of the choice.

    Returns:
        Indices of the rest and of the part set aside, each ascending.

    Raises:
        DataError: The amount is not a share or a whole number, or one of the parts is empty.
    """
    share = 0 < amount < 1
    if not share and amount != int(amount):
        raise DataError(f"{amount} is neither a share (below 1) nor a whole number of frames")
    size = max(1, round(amount * count)) if share else int(amount)
    if not 0 < size < count:
        raise DataError(f"cannot set {amount} of {count} frames aside for validation")
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[size:]), np.sort(order[:size])


def read_isolated_atoms(path: Path, *, energy_key: str | None = None) -> dict[int, float]:
    """Read the energies of isolated atoms.

    Args:
        path: File of single atoms with energies.
        energy_key: Name of the energy where it is not a common one.

    Returns:
        eV by atomic number.

    Raises:
        DataError: A frame is not a single atom, has no energy, or repeats an element with another
            energy.
    """
    energies: dict[int, float] = {}
    for frame in read_frames(path, energy_key=energy_key, labels_required=False):
        if len(frame) != 1 or frame.energy is None:
            raise DataError(f"{frame.source}: expected one isolated atom with an energy")
        element = int(frame.numbers[0])
        if energies.setdefault(element, frame.energy) != frame.energy:
            raise DataError(f"{frame.source}: atomic number {element} has a second energy")
    return energies
