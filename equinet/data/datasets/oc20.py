"""Data module of OC20's S2EF frames, and of the generated surfaces that replace them.

Source: Chanussot et al., ACS Catal. 11, 6059 (2021), doi 10.1021/acscatal.0c04525 (CC BY 4.0).
"""

import hashlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from equinet.data.atoms import Frame, make_surfaces
from equinet.data.cache import cache_folder, cached_file, cached_splits
from equinet.data.loading import AtomicDataModule, Splits, split_indices
from equinet.data.store import (
    HEADER,
    Blob,
    FrameStore,
    Options,
    Refusal,
    StoredFrames,
    convert,
    find_parts,
    find_splits,
    is_store,
    pair_up,
    s2ef_pairs,
)
from equinet.errors import DataError

_log = logging.getLogger(__name__)

_SECONDS = 60.0  # between two lines in the log about the progress of a conversion


class OC20(AtomicDataModule):
    """Data module of adsorbates on surfaces: S2EF splits of OC20, or generated slabs.

    If ``root`` is given, the splits are read from that folder: downloaded folders of pairs
    ``N.extxyz.xz`` and ``N.txt.xz``, or tars of such pairs, or stores (see ``python -m equinet data
    convert``). Folders and tars are converted into the cache on first use. Frames are read, and
    graphs built, when a batch needs them, so that a set may have any size.

    The frames of the validation split that ``val_size`` does not set aside are a test set, and so
    are all splits ``s2ef_val_ood*``. Validation and test frames with elements that do not occur in
    the training set are left out, with a warning.

    Without ``root``, slabs with adsorbates are generated once and labeled by ASE's EMT potential,
    with the splits ``train``, ``val_id`` and ``val_ood`` (see
    :func:`equinet.data.atoms.make_surfaces`); :meth:`describe` says that they are not OC20.

    Args:
        root: Folder that contains the splits; None takes the generated set.
        train: Name of the training split in ``root``; None takes the only split ``s2ef_train*``.
        val: Name of the validation split in ``root``; None takes the only split ``s2ef_val_id*``.
        test: Names of further test splits in ``root``; None takes all splits ``s2ef_val_ood*``.
        val_size: Number of frames of the validation split that are used for validation, chosen at
            random; a number below 1 is a fraction.
        test_size: Largest number of frames of each test set, chosen at random; None takes all.
        skip_bad: Whether frames that cannot be used are left out when a split is converted;
            otherwise they are an error.
        fit_references: Whether a reference energy of each element is fitted to the training frames
            of ``root``. False takes 0, because OC20's energies are relative to reference energies
            already. For the generated set the energies are always fitted.
        cutoff: Cutoff radius, Å.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of the validation split and of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.
        max_atoms: Largest number of atoms of a training batch. If it is given, batches are packed
            to equal work, and ``batch_size`` is not used. None sets no bound.
        max_edges: Largest number of edges of a training batch. If it is given, batches are packed
            to equal work, and ``batch_size`` is not used; a store must contain the numbers of
            edges. None sets no bound.
        max_neighbors: Largest number of edges that may end at an atom, at least 1; the shortest are
            kept. None keeps all edges within the cutoff.
        tie_tolerance: Difference of squared lengths, Å², up to which edges count as equally long
            (see :class:`equinet.neighborhood.Neighborhood`); None keeps exactly ``max_neighbors``.
        cache: Folder for the generated set and for converted splits; None takes the user's cache.

    Raises:
        DataError: A split is missing, ambiguous or broken, when the data are prepared.

    Example:
        >>> data = OC20(root="s2ef", cutoff=6.0, max_neighbors=20)  # prepare() reads the files
        >>> data.neighborhood.max_neighbors
        20
    """

    # Beginnings of the names of the released splits, and of smaller samples named after them.
    _train_names: ClassVar[tuple[str, ...]] = ("s2ef_train", "train")
    _val_names: ClassVar[tuple[str, ...]] = ("s2ef_val_id", "val_id")
    _test_names: ClassVar[tuple[str, ...]] = ("s2ef_val_ood", "val_ood")
    _relaxed: ClassVar[bool] = False  # whether energies are those of the relaxed structures

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        train: str | None = None,
        val: str | None = None,
        test: Sequence[str] | str | None = None,
        val_size: float | int = 100,
        test_size: int | None = 10_000,
        skip_bad: bool = False,
        fit_references: bool = True,
        cutoff: float = 5.0,
        batch_size: int = 8,
        eval_batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 0,
        max_atoms: int | None = None,
        max_edges: int | None = None,
        max_neighbors: int | None = None,
        tie_tolerance: float | None = None,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__(
            cutoff=cutoff,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
            max_atoms=max_atoms,
            max_edges=max_edges,
            max_neighbors=max_neighbors,
            tie_tolerance=tie_tolerance,
        )
        if test_size is not None and test_size < 1:
            raise DataError(f"test_size must be at least 1, got {test_size}")
        self.root = None if root is None else Path(root).expanduser()
        self.train_split, self.val_split = train, val
        self.test_splits = [test] if isinstance(test, str) else test
        self.val_size, self.test_size, self.skip_bad = val_size, test_size, skip_bad
        self.fit_references = fit_references
        self.cache = cache

    def read(self) -> Splits:
        """Open the splits, or generate the frames.

        Returns:
            The frames of all splits.
        """
        if self.root is None:
            return self._embedded()
        found = find_splits(self.root)
        train_name = self.train_split or _only(found, self._train_names, self.root, "train")
        val_name = self.val_split or _only(found, self._val_names, self.root, "val")
        test_names = self.test_splits
        if test_names is None:
            test_names = [name for name in found if name.startswith(self._test_names)]
        train = self._open(train_name, found)
        whole = self._open(val_name, found)
        rest, aside = split_indices(len(whole), self.val_size, self.seed)
        val = self._for_test(whole.part(aside), train, val_name)
        tests = {val_name: self._for_test(whole.part(self._chosen(rest)), train, val_name)}
        for name in test_names:
            frames = self._open(name, found)
            part = frames.part(self._chosen(np.arange(len(frames))))
            tests[name] = self._for_test(part, train, name)
        about = (
            f"OC20 frames of {self.root} ({train_name}), energies as stored (comparable with "
            "published numbers only on the official splits and references)"
        )
        references = None if self.fit_references else dict.fromkeys(train.elements, 0.0)
        return Splits(train, val, tests, about, references)

    def _embedded(self) -> Splits:
        name = "surfaces-v2"
        made = cached_splits(name, make_surfaces, ("train", "val_id", "val_ood"), self.cache)
        rest, aside = split_indices(len(made["val_id"]), self.val_size, self.seed)
        tests = {"val_id": rest, "val_ood": np.arange(len(made["val_ood"]))}
        return Splits(
            made["train"],
            [made["val_id"][index] for index in aside.tolist()],
            {
                test: [made[test][index] for index in self._chosen(indices).tolist()]
                for test, indices in tests.items()
            },
            "generated EMT surfaces, NOT OC20 (give its folder as data.root)",
            files={"val_ood": cached_file(name, "val_ood", self.cache)},
        )

    def _open(self, name: str, found: Mapping[str, Path]) -> StoredFrames:
        """Open a split, and convert it into the cache before if it is not a store."""
        source = found.get(name) or (self.root or Path()) / name
        if not source.exists():
            known = ", ".join(found) or "none"
            raise DataError(f"{self.root}: no split {name!r}; there are {known}")
        if not is_store(source):
            source = self._converted(name, source)
        return StoredFrames(FrameStore(source), relaxed=self._relaxed)

    def _converted(self, name: str, source: Path) -> Path:
        options = Options()
        if self.max_edges is not None:
            options = Options(**self.neighborhood.arguments())
        identity = hashlib.sha256(f"{source.resolve()} {options}".encode())
        for part in find_parts(source):
            identity.update(f"{part.name} {part.size}\n".encode())
        folder = f"{name.replace('/', '-')}-{identity.hexdigest()[:12]}"
        store = cache_folder(self.cache) / "oc20" / folder
        if not (store / HEADER).is_file():
            _log.info("converting %s into %s (once)", source, store)
        shown = time.monotonic()
        processes = len(os.sched_getaffinity(0))
        for done in convert(
            source, store, options=options, processes=processes, skip_bad=self.skip_bad, wait=True
        ):
            if time.monotonic() - shown > _SECONDS:
                shown = time.monotonic()
                _log.info("converting %s: part %d of %d", name, done.done, done.parts)
        return store

    def _chosen(self, indices: np.ndarray) -> np.ndarray:
        if self.test_size is None or len(indices) <= self.test_size:
            return indices
        order = np.random.default_rng([self.seed, 1]).permutation(len(indices))
        return np.sort(indices[order[: self.test_size]])

    def _for_test(self, frames: StoredFrames, train: StoredFrames, name: str) -> StoredFrames:
        """Leave out frames with elements that are not in the training set, with a warning."""
        kept = frames.of_elements(train.elements)
        if len(kept) < len(frames):
            unseen = set(frames.elements) - set(train.elements)
            _log.warning(
                "%s: %d of %d frames hold elements that no training frame has (atomic numbers "
                "%s); they are left out",
                name,
                len(frames) - len(kept),
                len(frames),
                sorted(unseen),
            )
        return kept


def _only(found: Mapping[str, Path], prefixes: tuple[str, ...], root: Path, argument: str) -> str:
    names = [name for name in found if name.startswith(prefixes)]
    if len(names) != 1:
        known = ", ".join(found) or "no splits at all"
        problem = f"several splits {', '.join(names)}" if names else f"no split {prefixes[0]}*"
        raise DataError(f"{root}: {problem} among {known}; choose one with data.{argument}=NAME")
    return names[0]


def read_s2ef(folder: str | Path) -> list[Frame]:
    r"""Read a folder of OC20's S2EF files; reference energies are subtracted from the energies.

    Args:
        folder: Folder of pairs ``N.extxyz`` and ``N.txt``, both plain or compressed as ``.xz``.

    Returns:
        Frames in the order of N, with OC20's tags and with the forces on ``fixed`` atoms as in the
        files.

    Raises:
        DataError: There is no pair, one file of a pair is missing, the two files do not match, or a
            frame cannot be used.

    Example:
        >>> import tempfile
        >>> header = "Properties=species:S:1:pos:R:3:move_mask:L:1:tags:I:1:forces:R:3 energy=-7.5"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "0.extxyz").write_text(f"1\n{header}\nO 0 0 0 T 2 0 0 0.1\n")
        ...     _ = Path(folder, "0.txt").write_text("random17,frame0,-7.0\n")
        ...     [frame.energy for frame in read_s2ef(folder)]
        [-0.5]
    """
    folder = Path(folder)
    files = [Blob.of(path) for path in folder.glob("*") if path.is_file()]
    parts = s2ef_pairs(folder) or pair_up(files, str(folder))
    if not parts:
        raise DataError(f"{folder}: no S2EF files N.extxyz or N.extxyz.xz")
    frames: list[Frame] = []
    for part in parts:
        for record in part.records():
            if isinstance(record, Refusal):
                raise DataError(record.reason)
            frames.append(record.frame)
    return frames
