"""Data modules: training, validation and test sets of one task, with loaders and statistics."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch_geometric.loader import DataLoader

from equinet.data.formats import read_frames
from equinet.data.frames import Frame, ase_library
from equinet.data.graphs import AtomicDataset
from equinet.data.sampling import evaluation_loader, training_loader
from equinet.data.statistics import Statistics
from equinet.errors import DataError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """Frames of one task.

    Attributes:
        train: Training frames.
        val: Validation frames.
        tests: Test frames by name.
        about: What the data are, in one clause.
        reference_energies: eV by atomic number; None has them fitted to the training set.
        files: Files of those test sets that are one whole file.
    """

    train: list[Frame]
    val: list[Frame]
    tests: dict[str, list[Frame]]
    about: str
    reference_energies: Mapping[int, float] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class _Prepared:
    about: str
    train: AtomicDataset
    val: AtomicDataset
    tests: dict[str, AtomicDataset]
    files: Mapping[str, Path]
    statistics: Statistics = field(repr=False)


class AtomicDataModule(ABC):
    """Base of the data modules; a subclass says where the frames come from.

    Everything is read on :meth:`prepare`, or on first use of what it prepares.

    Args:
        cutoff: Å.
        batch_size: Graphs per training batch.
        eval_batch_size: Graphs per validation or test batch.
        seed: Of random splits and of the order of training; non-negative.
        num_workers: Loading processes; 0 loads in this one, which small graphs want.

    Raises:
        DataError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        cutoff: float = 5.0,
        batch_size: int = 5,
        eval_batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        for name, value, lowest in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("seed", seed, 0),
            ("num_workers", num_workers, 0),
        ):
            if value < lowest:
                raise DataError(f"{name} must be at least {lowest}, got {value}")
        if not (np.isfinite(cutoff) and cutoff > 0):
            raise DataError(f"cutoff must be positive and finite (Å), got {cutoff}")
        self.cutoff = float(cutoff)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.num_workers = num_workers
        self._ready: _Prepared | None = None

    @abstractmethod
    def read(self) -> Splits:
        """Read, download or make the frames.

        Returns:
            The frames of all splits.
        """

    def prepare(self) -> None:
        """Read the frames, build the graphs and measure the statistics; once."""
        if self._ready is None:
            self._ready = self._build(self.read())
            _log.info("%s", self.describe())

    @property
    def train(self) -> AtomicDataset:
        """The training set."""
        return self._prepared().train

    @property
    def val(self) -> AtomicDataset:
        """The validation set."""
        return self._prepared().val

    @property
    def tests(self) -> dict[str, AtomicDataset]:
        """The test sets by name."""
        return self._prepared().tests

    @property
    def files(self) -> Mapping[str, Path]:
        """Files of those test sets that are one whole file, by name of the set."""
        return self._prepared().files

    @property
    def statistics(self) -> Statistics:
        """Constants of the training set."""
        return self._prepared().statistics

    def train_loader(self) -> DataLoader:
        """Shuffled training batches; the order depends on the seed and the epoch alone."""
        return training_loader(
            self.train, self.batch_size, seed=self.seed, num_workers=self.num_workers
        )

    def val_loader(self) -> DataLoader:
        """Validation batches in order."""
        return evaluation_loader(self.val, self.eval_batch_size, num_workers=self.num_workers)

    def test_loaders(self) -> dict[str, DataLoader]:
        """Test batches in order, by name of the set."""
        return {
            name: evaluation_loader(dataset, self.eval_batch_size, num_workers=self.num_workers)
            for name, dataset in self.tests.items()
        }

    def describe(self) -> str:
        """One line: what the data are, how many, of what, and in which units."""
        ready = self._prepared()
        sets = {"training": ready.train, "validation": ready.val, **ready.tests}
        counts = ", ".join(f"{len(dataset)} {name}" for name, dataset in sets.items())
        sizes = [len(frame) for dataset in sets.values() for frame in dataset.frames]
        low, high = min(sizes), max(sizes)
        atoms = f"{low}" if low == high else f"{low} to {high}"
        symbols = ase_library().data.chemical_symbols
        elements = " ".join(symbols[z] for z in ready.train.elements)
        return (
            f"{ready.about}: {counts} frames of {atoms} atoms ({elements}); "
            "energies in eV, forces in eV/Å"
        )

    def fingerprint(self) -> str:
        """SHA-256 of all frames, by split."""
        ready = self._prepared()
        digest = hashlib.sha256()
        for name, dataset in {"train": ready.train, "val": ready.val, **ready.tests}.items():
            digest.update(f"{name}:{dataset.fingerprint()}\n".encode())
        return digest.hexdigest()

    def _prepared(self) -> _Prepared:
        self.prepare()
        if self._ready is None:  # pragma: no cover - prepare() sets it or raises
            raise DataError("the data could not be prepared")
        return self._ready

    def _build(self, splits: Splits) -> _Prepared:
        train = AtomicDataset(splits.train, self.cutoff, name="training set")
        val = AtomicDataset(splits.val, self.cutoff, name="validation set")
        tests = {
            name: AtomicDataset(frames, self.cutoff, name=f"test set {name}")
            for name, frames in splits.tests.items()
        }
        symbols = ase_library().data.chemical_symbols
        for dataset in (val, *tests.values()):
            unseen = sorted(set(dataset.elements) - set(train.elements))
            if unseen:
                names = ", ".join(symbols[z] for z in unseen)
                known = ", ".join(symbols[z] for z in train.elements)
                raise DataError(f"{dataset.name}: {names} not in the training set ({known})")
        statistics = Statistics.of(train, splits.reference_energies)
        return _Prepared(splits.about, train, val, tests, splits.files, statistics)


def split_frames(
    frames: Sequence[Frame],
    amount: float | int,  # noqa: PYI041
    seed: int,
) -> tuple[list[Frame], list[Frame]]:
    """Set a random part of the frames aside; both parts keep their order.

    Args:
        frames: Frames to divide.
        amount: Number of frames to set aside, or below 1 their share.
        seed: Of the choice.

    Returns:
        The rest, and the part set aside.

    Raises:
        DataError: The amount is not a share or a whole number, or one of the parts is empty.
    """
    share = 0 < amount < 1
    if not share and amount != int(amount):
        raise DataError(f"{amount} is neither a share (below 1) nor a whole number of frames")
    size = max(1, round(amount * len(frames))) if share else int(amount)
    if not 0 < size < len(frames):
        raise DataError(f"cannot set {amount} of {len(frames)} frames aside for validation")
    chosen = set(np.random.default_rng(seed).permutation(len(frames))[:size].tolist())
    rest = [frame for index, frame in enumerate(frames) if index not in chosen]
    aside = [frame for index, frame in enumerate(frames) if index in chosen]
    return rest, aside


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
