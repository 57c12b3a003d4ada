"""Read a store: the sizes of all frames at once, and each frame when it is indexed."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Int

from equinet.data.atoms import Frame
from equinet.data.store.layout import FIELDS, OPTIONAL, SHARDS, checksum, read_header
from equinet.data.store.records import Record
from equinet.data.store.shards import Shard
from equinet.errors import DataError
from equinet.files import reading
from equinet.neighborhood import Neighborhood

_OPEN_SHARDS = 256


class FrameStore(Sequence[Frame]):
    r"""Sequence of all frames of a store, in the order of the source.

    Only the header is read at first. ``atoms`` and ``edges``, the numbers of atoms and edges of
    every frame, are memory maps, which the processes of a machine share; a frame is read when it is
    indexed.

    Args:
        folder: Folder written by :func:`equinet.data.store.convert`.

    Raises:
        DataError: The folder is not a store, the conversion is not complete, or the store is
            damaged.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from equinet.data.store import convert
        >>> water = "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "water.xyz")
        ...     _ = file.write_text(2 * water)
        ...     _ = list(convert(file, Path(folder, "store")))
        ...     store = FrameStore(Path(folder, "store"))
        ...     len(store), store.atoms.tolist(), store[1].numbers.tolist()
        (2, [3, 3], [8, 1, 1])
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.header = read_header(self.folder)
        self._notes = self.header["shards"]
        self._starts = np.cumsum([0, *(note["frames"] for note in self._notes)])
        self._shards: OrderedDict[int, Shard] = OrderedDict()
        self.atoms = self._sizes("atoms")
        self.edges = self._sizes("edges") if self.neighborhood is not None else None

    def __reduce__(self) -> tuple[type["FrameStore"], tuple[Path]]:
        return type(self), (self.folder,)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(self.header["elements"])

    @property
    def neighborhood(self) -> Neighborhood | None:
        """Neighborhood whose edges the conversion counted; None if it counted no edges."""
        options = self.header["source"]["options"]
        if options["cutoff"] is None:
            return None
        # Stores of older versions have no tie_tolerance: edges of equal length were not kept.
        return Neighborhood(
            options["cutoff"], options["max_neighbors"], options.get("tie_tolerance")
        )

    @property
    def labels(self) -> dict[str, int]:
        """Number of frames that have each optional field."""
        return dict(self.header["labels"])

    @property
    def unread(self) -> dict[str, int]:
        """Number of frames of the source that have each value that the store leaves out."""
        return dict(self.header.get("unread", {}))

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [self.record(place).frame for place in range(*index.indices(len(self)))]
        return self.record(index).frame

    def record(self, index: int) -> Record:
        """Read a frame with its ids, its reference energy and its relaxed structure.

        Args:
            index: Index of the frame; negative numbers count from the end.

        Returns:
            The record of the frame, in float64.

        Raises:
            IndexError: There is no such frame.
            DataError: The shard of the frame is damaged.
        """
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"there is no frame {index} among {len(self)}")
        shard, local = self._locate(place)
        return self._shard(shard).record(local, f"{self.folder}, frame {place}")

    def values(self, name: str) -> np.ndarray:
        """Read the values of a field such as ``system``, which has one value for each frame.

        Args:
            name: Name of a field in the header.

        Returns:
            The values of all frames in order.

        Raises:
            DataError: The field has values for atoms, or not all frames have it.
        """
        field = FIELDS.get(name)
        there = self.labels.get(name, 0) if name in OPTIONAL else len(self)
        if field is None or field.per_atom or there < len(self):
            raise DataError(f"{self.folder}: not every frame has a value {name}")
        return np.concatenate([self._shard(i).frame_values(name) for i in range(len(self._notes))])

    def elements_of(self, index: int) -> frozenset[int]:
        """Return the elements of the shard of a frame, among which are those of the frame.

        Args:
            index: Index of the frame.
        """
        return frozenset(self._notes[self._locate(index)[0]]["elements"])

    def fingerprint(self) -> str:
        """SHA-256 of the checksums of all shards, in order."""
        digest = hashlib.sha256()
        for note in self._notes:
            digest.update(note["sha256"].encode())
        return digest.hexdigest()

    def damaged_shards(self) -> Iterator[str]:
        """Verify the checksums of all shards.

        Yields:
            One sentence for each shard that is missing or damaged.
        """
        for note in self._notes:
            path = self.folder / SHARDS / note["file"]
            if not path.is_file():
                yield f"{path}: the shard of {note['origin']} is not there"
                continue
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != note["sha256"]:
                yield f"{path}: the SHA-256 of the shard differs from that in the header"

    def _locate(self, index: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return shard, index - int(self._starts[shard])

    def _shard(self, index: int) -> Shard:
        shard = self._shards.get(index)
        if shard is None:
            note = self._notes[index]
            path = self.folder / SHARDS / note["file"]
            shard = Shard(path)
            if path.stat().st_size != note["bytes"] or len(shard) != note["frames"]:
                raise DataError(
                    f"{path}: not the shard that the header describes; convert the source again"
                )
            self._shards[index] = shard
            if len(self._shards) > _OPEN_SHARDS:
                self._shards.popitem(last=False)
        else:
            self._shards.move_to_end(index)
        return shard

    def _sizes(self, name: str) -> Int[np.ndarray, " frames"]:
        path = self.folder / f"{name}.npy"
        with reading(path, "the sizes of frames"):
            sizes: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            if sizes.shape != (len(self),) or sizes.dtype.kind not in "iu":
                raise ValueError(f"{sizes.dtype} {list(sizes.shape)} for {len(self)} frames")
            expected = self.header.get("sizes", {}).get(name)
            if expected is not None and checksum(sizes) != expected:
                raise ValueError("its checksum does not fit: it was damaged")
        return sizes
