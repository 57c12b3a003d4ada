"""Base classes of data modules, which read data sets once, load batches, and describe the data."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import DataLoader

from equinet.data.graph_dataset import GraphDataset
from equinet.data.loading.descriptors import allow_descriptors
from equinet.data.loading.sampling import evaluation_loader, training_loader
from equinet.errors import DataError

_log = logging.getLogger(__name__)


@runtime_checkable
class AnyDataset(Protocol):
    """Interface of the data sets of a data module."""

    def __len__(self) -> int: ...

    def fingerprint(self) -> str:
        """SHA-256 of the whole content of the set."""


@runtime_checkable
class AnySets(Protocol):
    """Interface of the data sets of one task."""

    @property
    def about(self) -> str:
        """Description of the data in one clause."""

    @property
    def train(self) -> AnyDataset:
        """Data set for training."""

    @property
    def val(self) -> AnyDataset:
        """Data set for validation."""

    @property
    def tests(self) -> Mapping[str, AnyDataset]:
        """Test sets by name."""


Sets = TypeVar("Sets", bound=AnySets)


class DataModule(ABC, Generic[Sets]):
    """Base of all data modules; a subclass reads the data in :meth:`load`.

    The data are read by :meth:`prepare`, or when :attr:`sets` is first used.

    Args:
        batch_size: Number of samples per training batch, at least 1.
        eval_batch_size: Number of samples per validation or test batch, at least 1.
        seed: Seed of random splits and of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.

    Raises:
        DataError: An argument is out of range, or the system does not allow as many open files as
            the loading processes need.

    Example:
        >>> from equinet.data import NBody
        >>> issubclass(NBody, DataModule), NBody.tells[0]
        (True, 'in_scalars')
    """

    tells: ClassVar[tuple[str, ...]] = ()
    """Names of the model's arguments that :meth:`model_arguments` may give."""
    tells_task: ClassVar[tuple[str, ...]] = ()
    """Names of the task's arguments that :meth:`task_arguments` may give."""

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
        allow_descriptors(num_workers)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.num_workers = num_workers
        self._sets: Sets | None = None

    @abstractmethod
    def load(self) -> Sets:
        """Read, download or generate the data."""

    @abstractmethod
    def model_arguments(self) -> dict[str, Any]:
        """Return the arguments of a model that depend on the data, by name."""

    def task_arguments(self) -> dict[str, Any]:
        """Return the arguments of a task that depend on the data, by name; here none."""
        return {}

    @abstractmethod
    def describe(self) -> str:
        """Describe the data in one line: origin, number and size of the samples, units."""

    def for_card(self) -> dict[str, Any]:
        """Return what the card of a model says of its training data; here nothing."""
        return {}

    def training_keys(self) -> UInt8[np.ndarray, "structure 16"] | None:
        """Return hashes of the training structures; here None, for sets that are not compared."""
        return None

    @abstractmethod
    def train_loader(self) -> DataLoader[Any]:
        """Load training batches in an order that depends on the seed and the epoch alone."""

    @abstractmethod
    def loader_in_order(self, dataset: Any) -> DataLoader[Any]:
        """Load one of the sets in order, for validation or a test.

        Args:
            dataset: Validation set or one of the test sets.
        """

    @property
    def sets(self) -> Sets:
        """All data sets; the first use reads them and writes their description to the log."""
        if self._sets is None:
            self._sets = self.load()
            _log.info("%s", self.describe())
        return self._sets

    def prepare(self) -> None:
        """Read the data now, unless they have been read."""
        _ = self.sets

    def val_loader(self) -> DataLoader[Any]:
        """Load validation batches in the order of the data set."""
        return self.loader_in_order(self.sets.val)

    def test_loaders(self) -> dict[str, DataLoader[Any]]:
        """Load test batches in the order of each test set, by name of the set."""
        return {name: self.loader_in_order(test) for name, test in self.sets.tests.items()}

    def fingerprint(self) -> str:
        """SHA-256 of the names and contents of all sets."""
        digest = hashlib.sha256()
        sets = {"train": self.sets.train, "val": self.sets.val, **self.sets.tests}
        for name, dataset in sets.items():
            digest.update(f"{name}:{dataset.fingerprint()}\n".encode())
        return digest.hexdigest()

    def counts(self) -> str:
        """List the number of samples of each set in words, for :meth:`describe`."""
        sets = {"training": self.sets.train, "validation": self.sets.val, **self.sets.tests}
        return ", ".join(f"{len(dataset)} {name}" for name, dataset in sets.items())


@dataclass(frozen=True)
class GraphSets:
    """Data sets of graphs for one task.

    Attributes:
        about: Description of the data in one clause.
        train: Data set for training.
        val: Data set for validation.
        tests: Test sets by name.

    Example:
        >>> from torch_geometric.data import Data
        >>> graphs = GraphDataset([Data(num_nodes=3)])
        >>> GraphSets("triangles", graphs, graphs, {}).about
        'triangles'
    """

    about: str
    train: GraphDataset
    val: GraphDataset
    tests: Mapping[str, GraphDataset]


SetsOfGraphs = TypeVar("SetsOfGraphs", bound=GraphSets)


class GraphDataModule(DataModule[SetsOfGraphs]):
    """Base of the data modules of graphs; a subclass reads the graphs in ``load``.

    Args:
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of random splits and of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process, which is faster for
            small graphs.

    Raises:
        DataError: An argument is out of range.

    Example:
        >>> from equinet.data import NBody
        >>> issubclass(NBody, GraphDataModule)
        True
    """

    def train_loader(self) -> DataLoader[Any]:
        """Load training batches in an order that depends on the seed and the epoch alone."""
        return training_loader(
            self.sets.train, self.batch_size, seed=self.seed, num_workers=self.num_workers
        )

    def loader_in_order(self, dataset: GraphDataset) -> DataLoader[Any]:
        """Load one of the sets in order, for validation or a test.

        Args:
            dataset: Validation set or one of the test sets.
        """
        return evaluation_loader(dataset, self.eval_batch_size, num_workers=self.num_workers)
