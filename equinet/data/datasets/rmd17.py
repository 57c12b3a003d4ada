"""Data module of the revised MD17 benchmark: molecular dynamics of one small molecule.

Source: Christensen, von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020); PBE/def2-SVP
energies and forces, https://doi.org/10.24435/materialscloud:wy-kn.
"""

import logging
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from equinet.data.arrays import read_arrays
from equinet.data.atoms import Frame, make_molecules, read_frames, whole
from equinet.data.cache import cache_folder, cached_file, cached_splits, fetch
from equinet.data.loading import AtomicDataModule, Splits, split_frames
from equinet.errors import DataError
from equinet.files import reading, whole_file

_log = logging.getLogger(__name__)

MOLECULES = (
    *("aspirin", "azobenzene", "benzene", "ethanol", "malonaldehyde"),
    *("naphthalene", "paracetamol", "salicylic", "toluene", "uracil"),
)
"""Names of the molecules in the files of the benchmark."""

_EV_PER_KCAL_MOL = 4184.0 / (1.602176634e-19 * 6.02214076e23)
_SPLIT = "01"  # number of the official split, of which there are five
_TRAIN_SIZE, _VAL_SIZE = 950, 50
_LARGEST = 1 << 33  # bytes of one file of the archive; the largest official one has about 0.3 GB


class RMD17(AtomicDataModule):
    """Data module of rMD17: 950 training and 50 validation frames of one molecule.

    The folder ``root`` contains either the official ``rmd17_aspirin.npz`` (or that of another
    molecule) with ``index_train_01.csv`` and ``index_test_01.csv``, in one folder or in
    ``npz_data`` and ``splits``, or ``train.xyz`` and ``test.xyz`` in eV and Å. The official files
    give the first official split of 1000 training and 1000 test frames, with energies converted
    from kcal/mol to eV. From ``train.xyz`` 1000 frames are drawn at random, which is not an
    official split, as :meth:`describe` says. Without ``root`` the official archive is downloaded;
    without a network a generated set of small molecules replaces it.

    Args:
        root: Folder of the files; None downloads them.
        molecule: Name of the molecule: ``aspirin``, ``azobenzene``, ``benzene``, ``ethanol``,
            ``malonaldehyde``, ``naphthalene``, ``paracetamol``, ``salicylic``, ``toluene`` or
            ``uracil``.
        cutoff: Cutoff radius, Å.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of the validation split and of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.
        cache: Folder for downloaded and generated files; None takes the user's cache.

    Raises:
        DataError: There is no such molecule; or, when the data are prepared, a file is missing or
            broken.

    Example:
        >>> RMD17(root="rmd17", molecule="ethanol", cutoff=6.0).molecule  # prepare() reads files
        'ethanol'
    """

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        molecule: str = "aspirin",
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
        if molecule not in MOLECULES:
            raise DataError(f"molecule must be one of {', '.join(MOLECULES)}, got {molecule!r}")
        self.root = None if root is None else Path(root).expanduser()
        self.molecule = molecule
        self.cache = cache

    def read(self) -> Splits:
        """Read the files of ``root``, or download the official ones, or generate frames instead.

        Returns:
            The frames of all splits.
        """
        if self.root is None:
            try:
                return self._official(self._download())
            except (OSError, DataError) as error:
                _log.warning(
                    "the official rMD17 files cannot be downloaded (%s); for the benchmark, give "
                    "their folder as data.root",
                    error,
                )
                return self._generated()
        if not self.root.is_dir():
            raise DataError(
                f"data.root: there is no folder {self.root}; give that of the files, or none"
            )
        if _find(self.root, self._archive_name) is not None:
            return self._official(self.root)
        return self._frames_of(self.root)

    @property
    def _archive_name(self) -> str:
        return f"rmd17_{self.molecule}.npz"

    def _official(self, root: Path) -> Splits:
        """Read the first official split from the archive."""
        frames = {}
        for split in ("train", "test"):
            name = f"index_{split}_{_SPLIT}.csv"
            frames[split] = _read_archive(
                _needed(root, self._archive_name), _read_indices(_needed(root, name))
            )
        train, val = split_frames(frames["train"], _VAL_SIZE, self.seed)
        about = f"rMD17 {self.molecule}, official split {_SPLIT}, files of {root}"
        return Splits(train, val, {"test": frames["test"]}, about)

    def _frames_of(self, root: Path) -> Splits:
        """Draw training and validation frames from ``train.xyz``, and read all of ``test.xyz``."""
        for name in ("train.xyz", "test.xyz"):
            if not (root / name).is_file():
                raise DataError(
                    f"{root}: neither {self._archive_name} nor {name} is there; the official "
                    "archive is at https://doi.org/10.24435/materialscloud:wy-kn"
                )
        frames = read_frames(root / "train.xyz")
        size = _TRAIN_SIZE + _VAL_SIZE
        if len(frames) > size:
            frames, _ = split_frames(frames, len(frames) - size, self.seed)
        train, val = split_frames(frames, _VAL_SIZE, self.seed)
        test = root / "test.xyz"
        about = f"frames of {root}, none of rMD17's official splits"
        return Splits(train, val, {"test": read_frames(test)}, about, files={"test": test})

    def _download(self) -> Path:
        """Download the archive of all molecules and keep the files of one molecule."""
        from torch_geometric.datasets import MD17

        folder = cache_folder(self.cache) / "rmd17"
        folder.mkdir(exist_ok=True)
        names = [self._archive_name, *(f"index_{s}_{_SPLIT}.csv" for s in ("train", "test"))]
        if all((folder / name).is_file() for name in names):
            return folder
        archive = folder / "rmd17.tar.bz2"
        fetch(MD17.revised_url, archive)
        try:
            with tarfile.open(archive) as file:
                for member in file:
                    name = PurePosixPath(member.name).name
                    if member.size > _LARGEST:
                        raise DataError(f"{archive}: {member.name} is larger than {_LARGEST} bytes")
                    content = file.extractfile(member) if name in names else None
                    if content is not None:
                        with whole_file(folder / name) as partial, partial.open("wb") as kept:
                            shutil.copyfileobj(content, kept)
        except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
            archive.unlink()
            raise DataError(
                f"{MD17.revised_url}: the download is not an archive ({error}); repeat it"
            ) from error
        return folder

    def _generated(self) -> Splits:
        frames = cached_splits("molecules-v1", make_molecules, ("train", "test"), cache=self.cache)
        train, val = split_frames(frames["train"], _VAL_SIZE, self.seed)
        about = "small molecules labeled by ASE's EMT potential, NOT the rMD17 benchmark"
        files = {"test": cached_file("molecules-v1", "test", self.cache)}
        return Splits(train, val, {"test": frames["test"]}, about, files=files)


def _find(root: Path, name: str) -> Path | None:
    """Find a file of the archive in a folder or in the subfolders that the archive has."""
    places = (root / folder / name for folder in (".", "npz_data", "splits"))
    return next((path for path in places if path.is_file()), None)


def _needed(root: Path, name: str) -> Path:
    path = _find(root, name)
    if path is None:
        raise DataError(
            f"{root}: {name} is not there; it is in the official archive, "
            "https://doi.org/10.24435/materialscloud:wy-kn"
        )
    return path


def _read_indices(path: Path) -> list[int]:
    with reading(path, "one frame number a line"):
        return [int(line) for line in path.read_text(encoding="utf-8").split()]


def _read_archive(path: Path, indices: Sequence[int]) -> list[Frame]:
    """Read frames of an official archive, and convert them from kcal/mol to eV."""
    names = ("coords", "energies", "forces")
    archive = read_arrays(path, "an archive of rMD17", ("nuclear_charges", *names))
    with reading(path, "an archive of rMD17"):
        numbers = whole(archive["nuclear_charges"], "nuclear_charges", str(path))
        arrays = [archive[name][indices].astype(np.float64) for name in names]
        shape = (len(indices), len(numbers), 3)
        if [array.shape for array in arrays] != [shape, shape[:1], shape]:
            raise ValueError(f"its arrays do not fit {len(numbers)} atoms")
    return [
        Frame(
            numbers,
            positions,
            np.zeros((3, 3)),
            np.zeros(3, dtype=bool),
            energy=float(energy) * _EV_PER_KCAL_MOL,
            forces=forces * _EV_PER_KCAL_MOL,
            source=f"{path}, frame {index}",
        )
        for index, positions, energy, forces in zip(indices, *arrays, strict=True)
    ]
