"""Graphs of atomic structures for torch_geometric, and data sets of such graphs."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Int
from torch_geometric.data import Data

from equinet.data.atoms.fields import FRAME_FIELDS, Frame
from equinet.data.atoms.formats import read_frames
from equinet.data.atoms.frames import fingerprint, frames_from_atoms
from equinet.data.atoms.moving import MovingNeighborList
from equinet.data.atoms.neighbors import neighbor_list
from equinet.data.graph_dataset import GraphDataset
from equinet.errors import DataError
from equinet.neighborhood import Neighborhood

if TYPE_CHECKING:
    import ase

_log = logging.getLogger(__name__)

# Two atoms closer than this, in Å, are one atom listed twice.
_SAME_PLACE = 1e-3

# Fields of frames that graphs hold by another name, which is the one of torch_geometric.
_NAMES = {"numbers": "atomic_numbers", "positions": "pos"}


def to_graph(
    frame: Frame,
    cutoff: float | Neighborhood,
    *,
    max_neighbors: int | None = None,
    tie_tolerance: float | None = None,
    moving: MovingNeighborList | None = None,
) -> Data:
    """Build the graph of one frame.

    Args:
        frame: Frame with or without labels.
        cutoff: Cutoff radius, Å, or a whole :class:`equinet.neighborhood.Neighborhood`, such as
            ``model.neighborhood``.
        max_neighbors: Largest number of edges that may end at an atom, at least 1; the shortest are
            kept. None keeps all edges within the cutoff.
        tie_tolerance: Difference of squared lengths, Å², up to which edges count as equally long
            (see :class:`equinet.neighborhood.Neighborhood`); None keeps exactly ``max_neighbors``.
        moving: Neighbor list that remembers the pairs of earlier graphs of the same structure, in
            place of the other arguments; None searches anew.

    Returns:
        ``Data`` with ``atomic_numbers`` int64 [N], ``pos`` [N, 3], ``cell`` [1, 3, 3], ``pbc`` bool
        [1, 3], ``edge_index`` int64 [2, E], ``edge_shift`` [E, 3], and the optional fields that the
        frame has: ``energy`` [1], ``forces`` [N, 3], ``stress`` [1, 3, 3], ``tags`` int64 [N] and
        ``fixed`` bool [N]. All floats are float64, in eV and Å.

    Raises:
        DataError: Two atoms are at the same place, or the structure is too long or too dense for a
            neighbor list.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> to_graph(frame_from_atoms(molecule("H2O")), 5.0).edge_index.shape
        torch.Size([2, 6])
    """
    near = Neighborhood.of(cutoff, max_neighbors, tie_tolerance)
    if moving is None:
        edge_index, edge_shift = neighbor_list(
            frame.positions, frame.cell, frame.pbc, near, source=frame.source
        )
    else:
        edge_index, edge_shift = moving(frame)
    sender, receiver = edge_index
    vectors = frame.positions[sender] - frame.positions[receiver] + edge_shift @ frame.cell
    clash = np.flatnonzero(np.einsum("ei,ei->e", vectors, vectors) < _SAME_PLACE**2)
    if clash.size:
        first, second = int(receiver[clash[0]]), int(sender[clash[0]])
        raise DataError(
            f"{frame.source}: atoms {first} and {second} are at the same place; correct the "
            "positions, or leave the frame out"
        )
    graph = Data()
    for name, field in FRAME_FIELDS.items():
        value = getattr(frame, name)
        if value is not None:
            tensor = torch.from_numpy(np.asarray(value, dtype=field.memory))
            graph[_NAMES.get(name, name)] = tensor if field.per_atom else tensor[None]
    graph.edge_index = torch.from_numpy(edge_index)
    graph.edge_shift = torch.from_numpy(edge_shift)
    return graph


def frame_of_graph(graph: Data, *, source: str = "graph") -> Frame:
    """Return the frame whose graph :func:`to_graph` built.

    Args:
        graph: Graph of one structure, on any device.
        source: Name of the structure in error messages.

    Returns:
        Frame with all fields that the graph holds, but those that its masks say are missing, see
        :func:`complete`.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> frame_of_graph(to_graph(frame_from_atoms(molecule("H2O")), 5.0)).numbers.tolist()
        [8, 1, 1]
    """
    arrays: dict[str, Any] = {}
    for name, field in FRAME_FIELDS.items():
        tensor = graph.get(_NAMES.get(name, name))
        if tensor is not None and graph.get(f"has_{name}", True):
            array = tensor.detach().cpu().numpy().astype(field.memory)
            entry = array if field.per_atom else array[0]
            arrays[name] = entry if entry.ndim else entry.item()
    return Frame(**arrays, source=source)


def complete(graph: Data, mixed: Iterable[str]) -> None:
    """Give a graph the fields that all graphs of a data set have, because batching requires it.

    Args:
        graph: Graph of a structure, which is changed in place.
        mixed: Names of the fields that only some structures of the data set have.

    Example:
        >>> graph = Data(atomic_numbers=torch.tensor([8, 1, 1]), stress=torch.zeros(1, 3, 3))
        >>> complete(graph, {"tags", "stress", "energy"})
        >>> graph.tags.tolist(), "stress" in graph, graph.has_energy
        ([0, 0, 0], False, tensor([False]))
    """
    for name, field in FRAME_FIELDS.items():
        if name in mixed and field.uniform:
            graph[f"has_{name}"] = torch.tensor([name in graph])
        if name in mixed and field.fill is None:
            graph.pop(name, None)
        elif name in mixed and name not in graph:
            shape = field.shape_for(len(graph.atomic_numbers))
            tensor = torch.from_numpy(np.full(shape, field.fill, dtype=field.memory))
            graph[name] = tensor if field.per_atom else tensor[None]


class AtomicDataset(GraphDataset):
    """Data set of the graphs of a list of frames; all neighbor lists are computed once.

    Args:
        frames: Frames, or ASE atoms, whose labels must have common names.
        cutoff: Cutoff radius, Å, or a whole :class:`equinet.neighborhood.Neighborhood`.
        name: Name of the set in messages.
        max_neighbors: Largest number of edges that may end at an atom, at least 1; the shortest are
            kept. None keeps all edges within the cutoff.
        tie_tolerance: Difference of squared lengths, Å², up to which edges count as equally long
            (see :class:`equinet.neighborhood.Neighborhood`); None keeps exactly ``max_neighbors``.
        mixed_labels: Whether only some of the frames may have energies or forces. The graphs then
            have masks ``has_energy`` and ``has_forces``, with one truth value for each structure,
            and zeros in place of what is missing.

    Raises:
        DataError: There are no frames, or only some of them have energies or forces although
            ``mixed_labels`` is false.

    Example:
        >>> from ase.build import molecule
        >>> dataset = AtomicDataset([molecule("H2O"), molecule("CH4")], 5.0)
        >>> len(dataset), dataset.elements, dataset.average_neighbors
        (2, (1, 6, 8), 3.25)
    """

    def __init__(
        self,
        frames: "Sequence[Frame] | Sequence[ase.Atoms]",
        cutoff: float | Neighborhood,
        *,
        name: str = "data",
        max_neighbors: int | None = None,
        tie_tolerance: float | None = None,
        mixed_labels: bool = False,
    ) -> None:
        if not frames:
            raise DataError(f"{name}: there are no frames")
        self.frames: Sequence[Frame] = (
            list(frames) if _all_frames(frames) else _from_ase(frames, name)
        )
        self.neighborhood = Neighborhood.of(cutoff, max_neighbors, tie_tolerance)
        for label in (name for name, field in FRAME_FIELDS.items() if field.uniform):
            without = [f for f in self.frames if getattr(f, label) is None]
            if without and len(without) < len(self.frames) and not mixed_labels:
                raise DataError(
                    f"{name}: {len(without)} of {len(self.frames)} frames have no {label}, first "
                    f"{without[0].source}"
                )
        super().__init__([to_graph(frame, self.neighborhood) for frame in self.frames], name=name)
        self._agree_on_fields()

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        cutoff: float | Neighborhood,
        *,
        max_neighbors: int | None = None,
        tie_tolerance: float | None = None,
        **keys: Any,
    ) -> "AtomicDataset":
        """Read a file and build its graphs.

        Args:
            path: File that :func:`read_frames` reads.
            cutoff: Cutoff radius, Å, or a whole :class:`equinet.neighborhood.Neighborhood`.
            max_neighbors: Largest number of edges that may end at an atom, at least 1; the shortest
                are kept. None keeps all edges within the cutoff.
            tie_tolerance: Difference of squared lengths, Å², up to which edges count as equally
                long (see :class:`equinet.neighborhood.Neighborhood`); None keeps exactly
                ``max_neighbors``.
            **keys: Further options of :func:`read_frames`.

        Returns:
            The data set, named after the file.

        Raises:
            DataError: The file cannot be read, see :func:`read_frames`.
        """
        return cls(
            read_frames(path, **keys),
            Neighborhood.of(cutoff, max_neighbors, tie_tolerance),
            name=Path(path).name,
            mixed_labels=bool(keys.get("mixed_labels")),
        )

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(sorted({int(z) for frame in self.frames for z in np.unique(frame.numbers)}))

    @property
    def sizes(self) -> Int[np.ndarray, " frames"]:
        """Number of atoms of every frame."""
        return np.array([len(frame) for frame in self.frames])

    @property
    def edge_counts(self) -> Int[np.ndarray, " frames"] | None:
        """Number of directed edges of every graph."""
        return np.array([graph.edge_index.shape[1] for graph in self._graphs])

    @property
    def average_neighbors(self) -> float:
        """Mean number of directed edges that end at an atom."""
        edges = sum(int(graph.edge_index.shape[1]) for graph in self._graphs)
        return edges / int(self.sizes.sum())

    def sample(self) -> Sequence[Frame]:
        """Return the frames from which statistics are computed: all frames."""
        return self.frames

    def fingerprint(self) -> str:
        """SHA-256 of all structures and labels; it does not depend on the name and the cutoff."""
        return fingerprint(self.frames)

    def _agree_on_fields(self) -> None:
        """Give all graphs the same fields, because batching requires it."""
        total, mixed = len(self._graphs), set()
        for name, field in FRAME_FIELDS.items():
            without = sum(getattr(frame, name) is None for frame in self.frames)
            if 0 < without < total:
                mixed.add(name)
                if field.fill is None:
                    _log.warning(
                        "%s: %d of %d frames have no %s, so the %s of the others is not used",
                        *(self.name, without, total, name, name),
                    )
        for graph in self._graphs:
            complete(graph, mixed)


def _all_frames(frames: "Sequence[Frame] | Sequence[ase.Atoms]") -> TypeGuard[Sequence[Frame]]:
    return all(isinstance(frame, Frame) for frame in frames)


def _from_ase(images: "Sequence[Any]", name: str) -> list[Frame]:
    return frames_from_atoms(images, source=f"{name}, frame")
