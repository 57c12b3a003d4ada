"""The 3BPA benchmark: one flexible drug-like molecule, C12H12N2O, at several temperatures.

Source: Kovács et al., J. Chem. Theory Comput. 17, 7696 (2021); files of
https://github.com/davkovacs/BOTNet-datasets (MIT).
"""

import logging
from pathlib import Path

from equinet.data.atoms import make_molecules, read_frames
from equinet.data.cache import cache_folder, cached_file, cached_splits, fetch, git_blob_id
from equinet.data.loading import AtomicDataModule, Splits, read_isolated_atoms, split_frames
from equinet.errors import DataError

_log = logging.getLogger(__name__)

THREE_BPA_URL = "https://raw.githubusercontent.com/davkovacs/BOTNet-datasets/main/dataset_3BPA"

# Git blob ids in davkovacs/BOTNet-datasets; None where the id has not been recorded.
THREE_BPA_FILES: dict[str, str | None] = {
    "iso_atoms.xyz": "83cc59ef37e4f1526fb073ad12103a75af746b86",
    "train_300K.xyz": "93cdf96b0a4d8d81ca52889c4697a553471779f5",
    "train_mixedT.xyz": "29a3993db824e41b1160193e447b99e1ffb1463a",
    "test_300K.xyz": "6ea840dfce31bd7667a26e592f3625729c90441b",
    "test_600K.xyz": None,
    "test_1200K.xyz": None,
    "test_dih.xyz": None,
}
_TESTS = ("test_300K", "test_600K", "test_1200K", "test_dih")
_MIXED = "train_mixedT.xyz"
_PROBE = slice(334, 500)  # the 1200 K frames of the official train_mixedT


class ThreeBPA(AtomicDataModule):
    """3BPA: 450 training and 50 validation frames, tested at 300 K and, where given, hotter.

    Tests are ``test_300K``, ``test_600K``, ``test_1200K`` and ``test_dih``, as far as the files
    are there; ``1200K_probe`` is the 1200 K third of ``train_mixedT`` and no published test set.
    Files that are not the official ones, by git blob id, are named in a warning. Without ``root``
    the official files are downloaded; without a network either, a generated set of small
    molecules takes their place, and :meth:`describe` says so.

    Args:
        root: Folder of the official files; None downloads them.
        train_file: Name of the training file in that folder.
        val_size: Number of training frames set aside at random for validation (below 1: share).
        cutoff: Cutoff radius, Å.
        batch_size: Graphs per training batch.
        eval_batch_size: Graphs per validation or test batch.
        seed: Seed of the validation split and of the order of training.
        num_workers: Number of loading processes.
        cache: Folder for downloaded and generated files; None takes the user's cache.

    Raises:
        DataError: A file is missing or broken, when the data are prepared.
    """

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        train_file: str = "train_300K.xyz",
        val_size: float | int = 50,
        cutoff: float = 5.0,
        batch_size: int = 5,
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
        self.train_file = train_file
        self.val_size = val_size
        self.cache = cache

    def read(self) -> Splits:
        """Read the official files, or make the set that stands in for them.

        Returns:
            The frames.
        """
        if self.root is not None:
            return self._official(self.root)
        try:
            folder = self._download()
        except (OSError, DataError) as error:
            _log.warning(
                "the official 3BPA files cannot be downloaded (%s); for the benchmark, give their "
                "folder as data.root",
                error,
            )
            return self._generated()
        return self._official(folder)

    def _official(self, root: Path) -> Splits:
        if not root.is_dir():
            raise DataError(f"data.root: there is no folder {root}")
        for name in ("iso_atoms.xyz", self.train_file):
            if not (root / name).is_file():
                raise DataError(f"{root}: {name} is not there; the official file is {_url(name)}")
        used = ["iso_atoms.xyz", self.train_file]
        files = {name: root / f"{name}.xyz" for name in _TESTS}
        files = {name: path for name, path in files.items() if path.is_file()}
        used += [path.name for path in files.values()]
        tests = {name: read_frames(path) for name, path in files.items()}
        unofficial = [name for name in used if not _is_official(root / name)]
        mixed = root / _MIXED
        # Trained on the mixed set, its 1200 K frames would be no test.
        if self.train_file != _MIXED and mixed.is_file() and official_3bpa_file(mixed):
            tests["1200K_probe"] = read_frames(mixed)[_PROBE]
        train, val = split_frames(read_frames(root / self.train_file), self.val_size, self.seed)
        about = f"3BPA, official files of {root}"
        if unofficial:
            about = f"files of {root}, not known to be official 3BPA: {', '.join(unofficial)}"
        references = read_isolated_atoms(root / "iso_atoms.xyz")
        return Splits(train, val, tests, about, references, files)

    def _download(self) -> Path:
        folder = cache_folder(self.cache) / "3bpa"
        folder.mkdir(exist_ok=True)
        needed = {"iso_atoms.xyz", self.train_file, "test_300K.xyz"}
        for name in sorted(needed):
            fetch(_url(name), folder / name, blob_id=THREE_BPA_FILES.get(name))
        for name in sorted(set(THREE_BPA_FILES) - needed):
            try:
                fetch(_url(name), folder / name, blob_id=THREE_BPA_FILES[name])
            except (OSError, DataError) as error:
                _log.warning("going on without %s: %s", name, error)
        return folder

    def _generated(self) -> Splits:
        frames = cached_splits("molecules-v1", make_molecules, ("train", "test"), cache=self.cache)
        train, val = split_frames(frames["train"], self.val_size, self.seed)
        about = "small molecules labeled by ASE's EMT potential, NOT the 3BPA benchmark"
        files = {"test": cached_file("molecules-v1", "test", self.cache)}
        return Splits(train, val, {"test": frames["test"]}, about, files=files)


def official_3bpa_file(path: str | Path) -> str | None:
    """Tell by its content whether a file is one of the official 3BPA files.

    Args:
        path: Any file, under any name.

    Returns:
        The official name, such as ``test_300K.xyz``, or None.
    """
    found = git_blob_id(path)
    return next((name for name, blob in THREE_BPA_FILES.items() if blob == found), None)


def _url(name: str) -> str:
    return f"{THREE_BPA_URL}/{name}"


def _is_official(path: Path) -> bool:
    """Compare the file with the official one of its name, and warn where it is not that."""
    expected = THREE_BPA_FILES.get(path.name)
    found = git_blob_id(path)
    if expected == found:
        return True
    if path.name not in THREE_BPA_FILES:
        _log.warning("%s is no file of the official 3BPA set", path)
    elif expected is None:
        _log.warning(
            "%s (git blob %s) is taken as it is: its official id is not known", path, found
        )
    else:
        _log.warning("%s is not the official 3BPA file: git blob %s, not %s", path, found, expected)
    return False
