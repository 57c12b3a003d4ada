"""Base of the data modules of molecules with properties."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch.utils.data import DataLoader

from equinet.data.graph_dataset import GraphDataset
from equinet.data.loading import EpochSampler, GraphDataModule, GraphSets
from equinet.data.molecules.molecules import MoleculeGraphs
from equinet.data.molecules.properties import Property
from equinet.data.molecules.scales import fit_scale
from equinet.errors import DataError

# Scalars and vectors of an atom from which a property is pooled, where these are not (1, 0).
_OUTPUTS = {"tensor": (3, 2), "vector": (1, 1), "norm": (1, 1)}

_SAMPLE = 1000  # molecules of which the mean number of neighbors is taken


class MoleculeModule(GraphDataModule[GraphSets]):
    """Base of the data modules of molecules; a subclass reads them in ``load``.

    Args:
        properties: Properties that the graphs have, at least one.
        elements: Atomic numbers of the molecules; a subclass that learns them from its files sets
            them in ``load``.
        cutoff: Distance beyond which atoms have no edge, Å; None connects all atoms of a molecule.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.

    Raises:
        DataError: A number is out of range.

    Example:
        >>> from equinet.data import QM9
        >>> issubclass(QM9, MoleculeModule)
        True
    """

    tells: ClassVar[tuple[str, ...]] = (
        *("in_scalars", "in_vectors", "out_scalars", "out_vectors", "level"),
        *("elements", "cutoff", "reference_energies", "average_neighbors"),
    )
    tells_task: ClassVar[tuple[str, ...]] = ("elements", "scales")

    def __init__(
        self,
        *,
        properties: Sequence[Property],
        elements: Sequence[int],
        cutoff: float | None,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        num_workers: int,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        if cutoff is not None and not cutoff > 0:
            raise DataError(f"cutoff must be above 0 Å, or null for all pairs, got {cutoff}")
        self.properties = tuple(properties)
        self.elements = tuple(elements)
        self.cutoff = cutoff

    def model_arguments(self) -> dict[str, Any]:
        """Return the numbers of inputs and outputs, and for potentials elements and cutoff."""
        outputs = [_OUTPUTS.get(each.pooling, (1, 0)) for each in self.properties]
        scalars, vectors = (sum(each) for each in zip(*outputs, strict=True))
        train = self._graphs()
        some = train.__getitems__(range(min(len(train), _SAMPLE)))
        return {
            "in_scalars": len(self.elements),
            "out_scalars": scalars,
            "out_vectors": vectors,
            "level": "node",
            "elements": list(self.elements),
            "cutoff": self.cutoff,
            "reference_energies": [0.0] * len(self.elements),
            "average_neighbors": max(1.0, some.edge_index.shape[1] / some.num_nodes),
        }

    def task_arguments(self) -> dict[str, Any]:
        """Return the elements, and the fit of each property to the training molecules.

        The fits are those of :func:`equinet.data.molecules.fit_scale`.
        """
        scales = [fit_scale(self._graphs(), each) for each in self.properties]
        return {"elements": list(self.elements), "scales": scales}

    def describe(self) -> str:
        """Describe the data in one line: origin, number of molecules, targets with their units."""
        targets = ", ".join(f"{each.name} ({each.unit})" for each in self.properties)
        edges = "all pairs" if self.cutoff is None else f"pairs within {self.cutoff} Å"
        return f"{self.sets.about}: {self.counts()} molecules; {edges}; {targets}"

    def train_loader(self) -> DataLoader[Any]:
        """Load training batches in an order that depends on the seed and the epoch alone."""
        sampler = EpochSampler(len(self.sets.train), seed=self.seed)
        return self._loader(self.sets.train, batch_size=self.batch_size, sampler=sampler)

    def loader_in_order(self, dataset: GraphDataset) -> DataLoader[Any]:
        """Load one of the sets in order, for validation or a test.

        Args:
            dataset: Validation set or one of the test sets.
        """
        return self._loader(dataset, batch_size=self.eval_batch_size)

    def _graphs(self) -> MoleculeGraphs:
        train = self.sets.train
        if not isinstance(train, MoleculeGraphs):
            raise TypeError(f"load() must give MoleculeGraphs, found {type(train).__name__}")
        return train

    def _loader(self, dataset: GraphDataset, **options: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            collate_fn=_as_it_is,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            **options,
        )


def _as_it_is(batch: Any) -> Any:
    return batch
