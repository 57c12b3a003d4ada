"""Many molecules in concatenated arrays, and graphs of some of them, built a batch at a time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch_geometric.data import Batch, Data

from equinet.data.graph_dataset import GraphDataset
from equinet.data.molecules.properties import Property
from equinet.elements import symbol
from equinet.errors import DataError


@dataclass(frozen=True)
class Molecules:
    """Molecules and their properties, in concatenated arrays.

    Attributes:
        numbers: Atomic numbers of all atoms, molecule after molecule.
        positions: Positions of all atoms, Å.
        starts: Place of the first atom of each molecule, and the number of all atoms at the end.
        values: Values of each property by name [molecule, ...], or [atom] for the charges.
        texts: Lines of text by kind, such as ``smiles``, one for each molecule.

    Example:
        >>> methane = Molecules(np.array([6, 1, 1, 1, 1], np.uint8), np.zeros((5, 3)),
        ...                     np.array([0, 5]), {})
        >>> len(methane), methane.counts.tolist()
        (1, [5])
    """

    numbers: UInt8[np.ndarray, " atom"]
    positions: Float64[np.ndarray, "atom 3"]
    starts: Int64[np.ndarray, " end"]
    values: Mapping[str, np.ndarray]
    texts: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def counts(self) -> Int64[np.ndarray, " molecule"]:
        """Number of atoms of each molecule."""
        return np.diff(self.starts)

    def atoms_of(self, chosen: Int64[np.ndarray, " chosen"]) -> Int64[np.ndarray, " atom"]:
        """Return the places of the atoms of some molecules, molecule after molecule.

        Args:
            chosen: Indices of the molecules.
        """
        counts = self.counts[chosen]
        return _ranges(counts) + np.repeat(self.starts[chosen], counts)

    def of_atoms(self, name: str) -> bool:
        """Tell whether the values of a property belong to atoms.

        Args:
            name: Name of the property.
        """
        return len(self.values[name]) == len(self.numbers) != len(self)

    def fingerprint(self) -> str:
        """SHA-256 of elements, positions and all values."""
        digest = hashlib.sha256()
        arrays = {"numbers": self.numbers, "positions": self.positions, "starts": self.starts}
        for name, array in (*arrays.items(), *sorted(self.values.items())):
            digest.update(f"{name}:{array.shape}:{array.dtype.str}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


class MoleculeGraphs(GraphDataset):
    """Graphs of some molecules, of which a whole batch is built at once.

    A graph has ``atomic_numbers`` [N], ``x`` [N, elements] (one-hot), ``pos`` [N, 3], Å,
    ``edge_index`` [2, E] sorted by receiver, without loops, and for each property ``y_NAME``
    [1, ...], or [N] for values of the atoms; floats are float64. A batch of indices, as a data
    loader asks for, gives a ``Batch``.

    Args:
        molecules: Molecules that are chosen from.
        chosen: Indices of the molecules, in the order of the set.
        properties: Properties that the graphs have.
        elements: Atomic numbers of the columns of ``x``.
        cutoff: Distance beyond which atoms have no edge, Å; None connects all atoms of a molecule.
        name: Name of the set in messages.

    Raises:
        DataError: There are no molecules, or one has an element that is not listed.

    Example:
        >>> water = Molecules(np.array([8, 1, 1], np.uint8), np.eye(3), np.array([0, 3]), {})
        >>> graphs = MoleculeGraphs(water, np.array([0]), elements=[1, 8])
        >>> graphs[0].edge_index.tolist(), graphs[0].x[0].tolist()
        ([[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]], [0.0, 1.0])
    """

    def __init__(
        self,
        molecules: Molecules,
        chosen: Int64[np.ndarray, " chosen"],
        *,
        elements: Sequence[int],
        properties: Sequence[Property] = (),
        cutoff: float | None = None,
        name: str = "data",
    ) -> None:
        # The parent would keep graphs, which are built here when they are asked for.
        if not len(chosen):
            raise DataError(f"{name}: there are no molecules")
        self.name = name
        self.molecules = molecules
        self.chosen = chosen
        self.elements = tuple(elements)
        self.properties = tuple(properties)
        self.cutoff = cutoff
        self._species = np.full(256, -1)
        self._species[list(self.elements)] = np.arange(len(self.elements))
        self._refuse_unknown_elements()

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Data:
        graph: Data = self.__getitems__([range(len(self))[index]]).get_example(0)
        return graph

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Build a batch of the graphs at some places of the set."""
        chosen = self.chosen[np.asarray(indices, dtype=np.int64)]
        atoms = self.molecules.atoms_of(chosen)
        counts = self.molecules.counts[chosen]
        numbers = self.molecules.numbers[atoms].astype(np.int64)
        positions = self.molecules.positions[atoms]
        edges = _pairs(counts)
        owners = np.repeat(np.arange(len(counts)), counts)
        if self.cutoff is not None:
            difference = positions[edges[0]] - positions[edges[1]]
            edges = edges[:, np.square(difference).sum(1) < self.cutoff**2]
        per_atom = {
            "atomic_numbers": numbers,
            "x": np.eye(len(self.elements))[self._species[numbers]],
            "pos": positions,
        }
        per_graph = {}
        for each in self.properties:
            values = self.molecules.values[each.name]
            if each.pooling == "atoms":
                per_atom[each.field] = values[atoms]
            else:
                per_graph[each.field] = values[chosen]
        return _batch(per_atom, per_graph, edges, owners, counts)

    def fingerprint(self) -> str:
        """SHA-256 of the molecules, of the chosen ones, and of what the graphs show of them."""
        shown = (self.elements, self.cutoff, [each.name for each in self.properties])
        digest = hashlib.sha256(f"{self.molecules.fingerprint()}:{shown}\n".encode())
        digest.update(self.chosen.astype("<i8").tobytes())
        return digest.hexdigest()

    def of(self, field: str) -> np.ndarray:
        """Return the values of one property for the whole set, in its order.

        Args:
            field: Name of the property.
        """
        values = self.molecules.values[field]
        if self.molecules.of_atoms(field):
            return values[self.molecules.atoms_of(self.chosen)]
        return values[self.chosen]

    def _refuse_unknown_elements(self) -> None:
        atoms = self.molecules.atoms_of(self.chosen)
        found = np.bincount(self.molecules.numbers[atoms], minlength=256)
        unknown = [z for z in np.flatnonzero(found).tolist() if self._species[z] < 0]
        if unknown:
            place = int(np.flatnonzero(self.molecules.numbers[atoms] == unknown[0])[0])
            owner = int(
                np.searchsorted(self.molecules.counts[self.chosen].cumsum(), place, "right")
            )
            known = ", ".join(symbol(z) for z in self.elements)
            raise DataError(
                f"{self.name}: molecule {int(self.chosen[owner])} contains {symbol(unknown[0])}, "
                f"and the elements are {known}; leave it out, or add such molecules to the "
                "training set"
            )


def _ranges(counts: Int64[np.ndarray, " group"]) -> Int64[np.ndarray, " item"]:
    """Count from zero within each group of some consecutive groups."""
    ends = counts.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - counts, counts)


def _pairs(counts: Int64[np.ndarray, " molecule"]) -> Int64[np.ndarray, "2 edge"]:
    """Connect all atoms within each molecule, without loops, sorted by receiver."""
    others = np.repeat(counts - 1, counts)  # edges that end at each atom
    receiver = np.repeat(np.arange(len(others)), others)
    first = np.repeat(counts.cumsum() - counts, counts)  # first atom of the atom's molecule
    sender = _ranges(others) + np.repeat(first, others)
    return np.stack([sender + (sender >= receiver), receiver])


def _batch(
    per_atom: Mapping[str, np.ndarray],
    per_graph: Mapping[str, np.ndarray],
    edges: Int64[np.ndarray, "2 edge"],
    owners: Int64[np.ndarray, " atom"],
    counts: Int64[np.ndarray, " molecule"],
) -> Batch:
    """Make the batch that collating single graphs would give, with the means to divide it again."""
    graphs = len(counts)
    ends = torch.from_numpy(np.concatenate([[0], counts.cumsum()]))
    edge_counts = np.bincount(owners[edges[1]], minlength=graphs)
    edge_ends = torch.from_numpy(np.concatenate([[0], edge_counts.cumsum()]))
    none = torch.zeros(graphs, dtype=torch.long)
    batch = Batch(batch=torch.from_numpy(owners), ptr=ends)
    slices, shifts = {}, {}
    for name, array in {**per_atom, **per_graph, "edge_index": edges}.items():
        batch[name] = torch.from_numpy(array)
        slices[name] = ends if name in per_atom else torch.arange(graphs + 1)
        shifts[name] = none
    slices["edge_index"], shifts["edge_index"] = edge_ends, ends[:-1]
    batch._num_graphs, batch._slice_dict, batch._inc_dict = graphs, slices, shifts  # noqa: SLF001 - as torch_geometric's collate does
    return batch
