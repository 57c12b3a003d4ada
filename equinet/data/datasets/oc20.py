"""OC20 S2EF frames, and the set of EMT surfaces that stands in for them.

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

_SECONDS = 60.0  # between two lines about a conversion


class OC20(AtomicDataModule):
    """Adsorbates on surfaces: S2EF splits of OC20, or generated slabs where there are none.

    With ``root``, takes the splits in that folder as they were downloaded: folders of pairs
    ``N.extxyz.xz`` and ``N.txt.xz``, or the tars that hold them, or stores (see
    ``python -m equinet data convert``). What is no store is converted into the cache on first use.
    Frames are read and graphs built when a batch asks for them, so a set may be of any size.

    The frames of the validation split that ``val_size`` does not set aside become a test, as do all
    splits ``s2ef_val_ood*``. Frames with elements that the training set lacks are left out of
    them, with a warning.

    Without ``root``, makes (once) slabs with adsorbates labeled by ASE's EMT potential, split alike
    into ``train``, ``val_id`` and ``val_ood`` (see :func:`equinet.data.atoms.emt.make_surfaces`);
    :meth:`describe` says that this is not OC20.

    Args:
        root: Folder of splits; None makes the embedded set.
        train: Name of the training split under ``root``; None takes the only ``s2ef_train*``.
        val: Name of the validation split; None takes ``s2ef_val_id``.
        test: Names of further tests; None takes all ``s2ef_val_ood*``.
        val_size: Number of frames of ``val`` to validate on, chosen at random (below 1: share).
        test_size: Most frames of each test, chosen at random; None takes all.
        skip_bad: Leave out frames that cannot be used, when a split is converted.
        fit_references: Fit an energy of each element to the training frames of ``root``. OC20's
            energies are relative to such energies already, and False leaves them as they are. The
            embedded set is fitted in any case.
        cutoff: Cutoff radius, Å.
        batch_size: Graphs per training batch.
        eval_batch_size: Graphs per validation or test batch.
        seed: Seed of the validation split and of the order of training.
        num_workers: Number of loading processes.
        max_atoms: Most atoms of a training batch; batches are then packed to equal work, and
            ``batch_size`` is not used.
        max_edges: Most edges of a training batch, likewise; a store must have counted them.
        max_neighbors: Keep the shortest edges that end at an atom; see
            :func:`equinet.data.neighbor_list`.
        tie_tolerance: Difference of squared lengths that counts as none, Å².
        cache: Folder for the embedded set and for converted splits; None takes the user's cache.

    Raises:
        DataError: A split is missing, ambiguous or broken, when the data are prepared.
    """

    # How the released splits are called, and those of smaller samples after them.
    _train_names: ClassVar[tuple[str, ...]] = ("s2ef_train", "train")
    _val_names: ClassVar[tuple[str, ...]] = ("s2ef_val_id", "val_id")
    _test_names: ClassVar[tuple[str, ...]] = ("s2ef_val_ood", "val_ood")
    _relaxed: ClassVar[bool] = False  # whether the energies of relaxed structures are sought

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
        """Open the splits, or make the embedded set.

        Returns:
            The frames.
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
            "EMT surfaces made on the spot, NOT OC20 (give its folder as data.root)",
            files={"val_ood": cached_file(name, "val_ood", self.cache)},
        )

    def _open(self, name: str, found: Mapping[str, Path]) -> StoredFrames:
        """Open a split, converting it into the cache unless that is done."""
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
        """Leave out, and say so, what no model of the training set's elements can be asked."""
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
    """Read a folder of OC20 S2EF files; energies come out minus their reference energies.

    Args:
        folder: Holds pairs ``N.extxyz`` and ``N.txt``, both plain or ``.xz``.

    Returns:
        Frames in the order of N, with OC20's tags; ``fixed`` atoms keep their raw forces.

    Raises:
        DataError: There is no pair, a partner is missing, the two do not match, or a frame cannot
            be used.
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
