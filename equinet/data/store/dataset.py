"""Data set of the frames of a store, whose graphs are built when a batch needs them."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, overload

import numpy as np
from jaxtyping import Int
from torch_geometric.data import Data

from equinet.data.atoms import FRAME_FIELDS, LABELS, AtomicDataset, Frame, complete, to_graph
from equinet.data.graph_dataset import GraphDataset
from equinet.data.store.frame_store import FrameStore
from equinet.data.store.records import Record
from equinet.errors import DataError
from equinet.neighborhood import Neighborhood

# Enough frames for statistics, which are averages: a larger sample changes none by a percent.
_SAMPLE = 10_000
_SAMPLED_GRAPHS = 500


class StoredFrames(Sequence[Frame]):
    r"""Sequence of frames of a store, each read when it is indexed.

    Args:
        store: Store that holds the frames.
        indices: Indices of frames of the store, in the order of the sequence; None takes all
            frames.
        elements: Atomic numbers that may occur; None takes those that occur, which are found by
            reading the frames, or the header if all frames are taken.
        relaxed: Whether the energy of a frame is that of the relaxed structure (IS2RE); such frames
            have no forces.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from equinet.data.store import convert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "atoms.xyz")
        ...     _ = file.write_text("1\n\nH 0 0 0\n" + "1\n\nO 0 0 0\n")
        ...     _ = list(convert(file, Path(folder, "store")))
        ...     frames = StoredFrames(FrameStore(Path(folder, "store")), np.array([1]))
        ...     len(frames), frames[0].numbers.tolist()
        (1, [8])
    """

    def __init__(
        self,
        store: FrameStore,
        indices: Int[np.ndarray, " frames"] | None = None,
        elements: tuple[int, ...] | None = None,
        *,
        relaxed: bool = False,
    ) -> None:
        self.store = store
        self.indices = indices
        self.relaxed = relaxed
        self._elements = elements

    def __len__(self) -> int:
        return len(self.store) if self.indices is None else len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no frame {index} among {len(self)}")
        record = self.record(index)
        if not self.relaxed:
            return record.frame
        # The stored labels are those of the initial structure.
        labels: dict[str, Any] = {**dict.fromkeys(LABELS), "energy": record.relaxed_energy}
        return replace(record.frame, **labels)

    def record(self, index: int) -> Record:
        """Read a frame unchanged, with the ids and reference energies that the store has for it.

        Args:
            index: Index among these frames.
        """
        return self.store.record(index if self.indices is None else int(self.indices[index]))

    @property
    def systems(self) -> Int[np.ndarray, " frames"]:
        """OC20's system id (``sid``) of every frame; -1 if a frame has none."""
        return self._values("system")

    @property
    def steps(self) -> Int[np.ndarray, " frames"]:
        """OC20's frame id (``fid``) of every frame; -1 if a frame has none."""
        return self._values("step")

    def _values(self, name: str) -> Int[np.ndarray, " frames"]:
        values = self.store.values(name)
        return values if self.indices is None else values[self.indices]

    @property
    def labels(self) -> dict[str, int]:
        """Number of frames of the whole store that have each label of these frames."""
        labels = self.store.labels
        if not self.relaxed:
            return labels
        kept = {
            name: count
            for name, count in labels.items()
            if name in FRAME_FIELDS and name not in LABELS
        }
        return {**kept, "energy": labels.get("relaxed_energy", 0)}

    @property
    def atoms(self) -> Int[np.ndarray, " frames"]:
        """Number of atoms of every frame, which is known without reading the frames."""
        return self.store.atoms if self.indices is None else self.store.atoms[self.indices]

    @property
    def edges(self) -> Int[np.ndarray, " frames"] | None:
        """Number of edges of every frame; None if the conversion counted no edges."""
        edges = self.store.edges
        return edges if edges is None or self.indices is None else edges[self.indices]

    def part(self, chosen: Int[np.ndarray, " part"]) -> "StoredFrames":
        """Select some of the frames.

        Args:
            chosen: Indices among these frames.

        Returns:
            The selected frames, in the order of the indices.
        """
        inner = chosen if self.indices is None else self.indices[chosen]
        return self._of(np.asarray(inner, dtype=np.int64), self._elements)

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending; the frames are read if they are part of a store."""
        if self._elements is not None:
            return self._elements
        if self.indices is None:
            return self.store.elements
        return tuple(sorted({int(z) for frame in self for z in np.unique(frame.numbers)}))

    def of_elements(self, known: Sequence[int]) -> "StoredFrames":
        """Leave out the frames that contain other elements.

        Args:
            known: Atomic numbers that are allowed.

        Returns:
            The frames that contain allowed elements only. Frames are not read if the whole store
            contains allowed elements only.
        """
        common = tuple(sorted(set(self.store.elements) & set(known)))
        if common == self.store.elements:
            return self._of(self.indices, common)
        indices = np.arange(len(self.store)) if self.indices is None else self.indices
        allowed = frozenset(known)
        kept = [index for index in indices.tolist() if self._holds_only(index, allowed)]
        return self._of(np.array(kept, dtype=np.int64), common)

    def _of(
        self, indices: Int[np.ndarray, " frames"] | None, elements: tuple[int, ...] | None
    ) -> "StoredFrames":
        return StoredFrames(self.store, indices, elements, relaxed=self.relaxed)

    def _holds_only(self, index: int, allowed: frozenset[int]) -> bool:
        if self.store.elements_of(index) <= allowed:
            return True
        return allowed.issuperset(self.store[index].numbers.tolist())


class StoredDataset(AtomicDataset):
    r"""Data set of the graphs of the frames of a store, which are not kept in memory.

    Args:
        frames: Frames of a store.
        cutoff: Cutoff radius, Å, or a whole :class:`equinet.neighborhood.Neighborhood`.
        name: Name of the set in messages.
        max_neighbors: Largest number of edges that may end at an atom, at least 1; the shortest are
            kept. None keeps all edges within the cutoff.
        tie_tolerance: Difference of squared lengths, Å², up to which edges count as equally long
            (see :class:`equinet.neighborhood.Neighborhood`); None keeps exactly ``max_neighbors``.

    Raises:
        DataError: There are no frames, or only some frames of the store have energies or forces.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from equinet.data.store import convert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "water.xyz")
        ...     _ = file.write_text("3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
        ...     _ = list(convert(file, Path(folder, "store")))
        ...     dataset = StoredDataset(StoredFrames(FrameStore(Path(folder, "store"))), 5.0)
        ...     dataset[0].edge_index.shape
        torch.Size([2, 6])
    """

    frames: StoredFrames

    def __init__(
        self,
        frames: StoredFrames,
        cutoff: float | Neighborhood,
        *,
        name: str = "data",
        max_neighbors: int | None = None,
        tie_tolerance: float | None = None,
    ) -> None:
        if not len(frames):
            raise DataError(f"{name}: there are no frames")
        labels, count = frames.labels, len(frames.store)
        for label in (name for name, field in FRAME_FIELDS.items() if field.uniform):
            if 0 < labels.get(label, 0) < count:
                raise DataError(
                    f"{name}: {count - labels[label]} of {count} frames of {frames.store.folder} "
                    f"have no {label}"
                )
        self.neighborhood = Neighborhood.of(cutoff, max_neighbors, tie_tolerance)
        GraphDataset.__init__(self, _Graphs(frames, self.neighborhood), name=name)
        self.frames = frames

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return self.frames.elements

    @property
    def sizes(self) -> Int[np.ndarray, " frames"]:
        """Number of atoms of every frame."""
        return self.frames.atoms

    @property
    def edge_counts(self) -> Int[np.ndarray, " frames"] | None:
        """Number of edges of every graph; None if the conversion counted no edges.

        Raises:
            DataError: The conversion counted the edges of another neighborhood.
        """
        counted, own = self.frames.store.neighborhood, self.neighborhood
        if counted is not None and counted != own:
            options = f"--cutoff {own.cutoff:g}"
            if own.max_neighbors is not None:
                options += f" --max-neighbors {own.max_neighbors}"
            if own.tie_tolerance is not None:
                options += f" --tie-tolerance {own.tie_tolerance:g}"
            raise DataError(
                f"{self.frames.store.folder}: edges were counted within {counted}, but the graphs "
                f"have those within {own}; convert with {options}"
            )
        return self.frames.edges

    @cached_property
    def average_neighbors(self) -> float:
        """Mean number of edges that end at an atom, over at most 500 frames drawn at random."""
        frames = self.sample()[:_SAMPLED_GRAPHS]
        edges = sum(int(to_graph(f, self.neighborhood).edge_index.shape[1]) for f in frames)
        return edges / sum(len(frame) for frame in frames)

    def sample(self) -> list[Frame]:
        """Return the frames from which statistics are computed: at most 10 000, always the same."""
        if len(self.frames) <= _SAMPLE:
            return list(self.frames)
        chosen = np.random.default_rng(0).integers(len(self.frames), size=_SAMPLE)
        return [self.frames[int(index)] for index in chosen]

    def fingerprint(self) -> str:
        """SHA-256 of the store's checksums and of the indices of the frames."""
        digest = hashlib.sha256(self.frames.store.fingerprint().encode())
        if self.frames.relaxed:
            digest.update(b"relaxed")
        if self.frames.indices is not None:
            digest.update(self.frames.indices.astype("<i8").tobytes())
        return digest.hexdigest()


class _Graphs(Sequence[Data]):
    """Sequence of graphs, each built when it is indexed."""

    def __init__(self, frames: StoredFrames, neighborhood: Neighborhood) -> None:
        self._frames = frames
        self._neighborhood = neighborhood
        labels, count = frames.labels, len(frames.store)
        # Frames without energies or forces among others are refused before.
        uniform = {name for name, field in FRAME_FIELDS.items() if field.uniform}
        self._mixed = {name for name, there in labels.items() if there < count} - uniform

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Data: ...
    @overload
    def __getitem__(self, index: slice) -> list[Data]: ...
    def __getitem__(self, index: int | slice) -> Data | list[Data]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        graph = to_graph(self._frames[index], self._neighborhood)
        complete(graph, self._mixed)
        return graph
