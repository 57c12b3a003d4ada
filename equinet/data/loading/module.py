"""What every data module is: sets of graphs read once, and loaders of them."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torch_geometric.loader import DataLoader

from equinet.data.graph_dataset import GraphDataset
from equinet.data.loading.sampling import evaluation_loader, training_loader
from equinet.errors import DataError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphSets:
    """The graphs of one task.

    Attributes:
        about: What the data are, in one clause.
        train: Training set.
        val: Validation set.
        tests: Test sets by name.
    """

    about: str
    train: GraphDataset
    val: GraphDataset
    tests: Mapping[str, GraphDataset]


Sets = TypeVar("Sets", bound=GraphSets)


class GraphDataModule(ABC, Generic[Sets]):
    """Base of the data modules; a subclass says where the graphs come from.

    Everything is read on :meth:`prepare`, or on first use.

    Args:
        batch_size: Graphs per training batch.
        eval_batch_size: Graphs per validation or test batch.
        seed: Of random splits and of the order of training; non-negative.
        num_workers: Loading processes; 0 loads in this one, which small graphs want.

    Raises:
        DataError: An argument is out of range.
    """

    tells: ClassVar[tuple[str, ...]] = ()
    """Names of the model's arguments that :meth:`model_arguments` may give."""

    def __init__(
        self, *, batch_size: int, eval_batch_size: int, seed: int = 0, num_workers: int = 0
    ) -> None:
        for name, value, lowest in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("seed", seed, 0),
            ("num_workers", num_workers, 0),
        ):
            if value < lowest:
                raise DataError(f"{name} must be at least {lowest}, got {value}")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.num_workers = num_workers
        self._sets: Sets | None = None

    @abstractmethod
    def load(self) -> Sets:
        """Read, download or make the graphs."""

    @abstractmethod
    def model_arguments(self) -> dict[str, Any]:
        """What a model has to know of the data, as keyword arguments of its constructor."""

    @abstractmethod
    def describe(self) -> str:
        """One line: what the data are, how many, of what, and in which units."""

    @property
    def sets(self) -> Sets:
        """All sets; the first use reads them and says in the log what they are."""
        if self._sets is None:
            self._sets = self.load()
            _log.info("%s", self.describe())
        return self._sets

    def prepare(self) -> None:
        """Read everything now, unless that is done."""
        _ = self.sets

    def train_loader(self) -> DataLoader:
        """Shuffled training batches; the order depends on the seed and the epoch alone."""
        return training_loader(
            self.sets.train, self.batch_size, seed=self.seed, num_workers=self.num_workers
        )

    def val_loader(self) -> DataLoader:
        """Validation batches in order."""
        return evaluation_loader(self.sets.val, self.eval_batch_size, num_workers=self.num_workers)

    def test_loaders(self) -> dict[str, DataLoader]:
        """Test batches in order, by name of the set."""
        return {
            name: evaluation_loader(dataset, self.eval_batch_size, num_workers=self.num_workers)
            for name, dataset in self.sets.tests.items()
        }

    def fingerprint(self) -> str:
        """SHA-256 of all sets, by name."""
        digest = hashlib.sha256()
        sets = {"train": self.sets.train, "val": self.sets.val, **self.sets.tests}
        for name, dataset in sets.items():
            digest.update(f"{name}:{dataset.fingerprint()}\n".encode())
        return digest.hexdigest()
