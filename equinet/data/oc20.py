"""OC20 S2EF frames, and the set of EMT surfaces that stands in for them.

Source: Chanussot et al., ACS Catal. 11, 6059 (2021), doi 10.1021/acscatal.0c04525 (CC BY 4.0).
"""

import logging
from pathlib import Path

from equinet.data.cache import cached_file, cached_splits
from equinet.data.emt import make_surfaces
from equinet.data.frames import Frame
from equinet.data.modules import AtomicDataModule, Splits, split_frames
from equinet.data.store.archives import Blob
from equinet.data.store.records import Refusal
from equinet.data.store.s2ef import pair_up
from equinet.data.store.sources import s2ef_pairs
from equinet.errors import DataError

_log = logging.getLogger(__name__)


class OC20(AtomicDataModule):
    """Adsorbates on surfaces: S2EF folders of OC20, or generated slabs where there are none.

    With ``root``, reads the distributed layout ``<split>/N.extxyz[.xz]`` with ``N.txt[.xz]``,
    whose rows ``system,frame,reference_energy`` give what is subtracted from each energy. All
    frames are held in memory. Without ``root``, makes (once) slabs of Cu, Ag, Au, Ni, Pd, Pt with
    H, C, N, O or CO, labeled by ASE's EMT potential; :meth:`describe` says that this is not OC20.
    Tests are then ``test_id`` (other frames of the training systems) and ``test_ood`` (other
    systems). Frames of ``test`` with elements that the training set lacks are left out, with a
    warning.

    Args:
        root: Folder of S2EF splits; None makes the embedded set.
        train: Folder of the training frames under ``root``.
        val: Folder of the validation frames; those not set aside by ``val_size`` become a test.
        test: Folder of further test frames.
        val_size: Number of frames of ``val`` to validate on, chosen at random (below 1: share).
        cutoff: Å.
        batch_size: Graphs per training batch.
        eval_batch_size: Graphs per validation or test batch.
        seed: Of the validation split and of the order of training.
        num_workers: Loading processes.
        cache: Folder for the embedded set; None takes the user's cache.

    Raises:
        DataError: A folder or file is missing or broken, when the data are prepared.
    """

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        train: str = "s2ef_train",
        val: str = "s2ef_val_id",
        test: str = "s2ef_val_ood",
        val_size: float | int = 100,  # noqa: PYI041
        cutoff: float = 5.0,
        batch_size: int = 8,
        eval_batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__(
            cutoff=cutoff,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        self.root = None if root is None else Path(root).expanduser()
        self.folders = {"train": train, "val": val, "test": test}
        self.val_size = val_size
        self.cache = cache

    def read(self) -> Splits:
        """Read the folders, or make the embedded set.

        Returns:
            The frames.
        """
        if self.root is None:
            names = ("train", "val", "test_id", "test_ood")
            made = cached_splits("surfaces-v1", make_surfaces, names, cache=self.cache)
            about = "EMT surfaces made on the spot, NOT OC20 (give its folder as data.root)"
            tests = {name: made[name] for name in names[2:]}
            files = {name: cached_file("surfaces-v1", name, self.cache) for name in tests}
            return Splits(made["train"], made["val"], tests, about, files=files)
        train = read_s2ef(self.root / self.folders["train"])
        rest, val = split_frames(
            read_s2ef(self.root / self.folders["val"]), self.val_size, self.seed
        )
        tests = {
            self.folders["val"]: rest,
            self.folders["test"]: _of_known_elements(
                read_s2ef(self.root / self.folders["test"]), train, self.folders["test"]
            ),
        }
        about = (
            f"OC20 S2EF frames of {self.root}, energies minus the references beside them "
            "(comparable with published numbers only on the official splits and references)"
        )
        return Splits(train, val, tests, about)


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


def _of_known_elements(frames: list[Frame], train: list[Frame], name: str) -> list[Frame]:
    """Leave out, and say so, what no model of the training set's elements can be asked."""
    known = {int(z) for frame in train for z in frame.numbers}
    kept = [frame for frame in frames if known.issuperset(frame.numbers.tolist())]
    if len(kept) < len(frames):
        unseen = {int(z) for frame in frames for z in frame.numbers} - known
        _log.warning(
            "%s: %d of %d frames hold elements that no training frame has (atomic numbers %s); "
            "they are left out",
            name,
            len(frames) - len(kept),
            len(frames),
            sorted(unseen),
        )
    return kept
