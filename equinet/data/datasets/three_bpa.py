"""Data module of the 3BPA benchmark: a flexible drug-like molecule at several temperatures.

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

# Git blob ids in davkovacs/BOTNet-datasets; None if the id has not been recorded.
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
_PROBE = slice(334, 500)  # frames of the official train_mixedT at 1200 K


class ThreeBPA(AtomicDataModule):
    """Data module of 3BPA: 450 training and 50 validation frames, and tests at 300 K to 1200 K.

    The test sets are ``test_300K``, ``test_600K``, ``test_1200K`` and ``test_dih``, if their files
    exist, and ``1200K_probe``, the frames of ``train_mixedT`` at 1200 K, which is not a published
    test set. A warning names files whose git blob id is not the official one. Without ``root`` the
    official files are downloaded; without a network a generated set of small molecules replaces
    them, and :meth:`describe` says so.

    Args:
        root: Folder of the official files; None downloads them.
        train_file: Name of the training file in the folder of the official files.
        val_size: Number of training frames set aside at random for validation; a number below 1 is
            a fraction.
        cutoff: Cutoff radius, Å.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of the validation split and of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.
        cache: Folder for downloaded and generated files; None takes the user's cache.

    Raises:
        DataError: A file is missing or broken, when the data are prepared.

    Example:
        >>> ThreeBPA(root="dataset_3BPA", cutoff=6.0).cutoff  # prepare() reads the files
        6.0
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
        """Read the official files, or generate frames instead.

        Returns:
            The frames of all splits.
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
            raise DataError(
                f"data.root: there is no folder {root}; give that of the files, or none"
            )
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
        # If the mixed set is the training set, its frames at 1200 K cannot be a test.
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
    r"""Find the official 3BPA file that has the same content as a file.

    Args:
        path: Path of a file with any name, or of a folder.

    Returns:
        The official name, such as ``test_300K.xyz``; None if no official file has this content.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "test_300K.xyz")
        ...     _ = path.write_text("1\n\nH 0 0 0\n")
        ...     official_3bpa_file(path) is None
        True
    """
    found = git_blob_id(path) if Path(path).is_file() else None
    return next((name for name, blob in THREE_BPA_FILES.items() if blob == found), None)


def _url(name: str) -> str:
    return f"{THREE_BPA_URL}/{name}"


def _is_official(path: Path) -> bool:
    """Compare a file with the official file of the same name, and warn if they differ."""
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
