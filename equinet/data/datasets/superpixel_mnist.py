"""Data module of handwritten digits as graphs of about 75 superpixels.

Source: LeCun et al., MNIST (1998); Monti et al. (CVPR 2017) for the superpixels.
"""

import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from equinet.data.arrays import check_archive, read_arrays
from equinet.data.cache import cache_folder, fetch
from equinet.data.digits import SuperpixelGraphs, Superpixels, cached_superpixels
from equinet.data.graph_dataset import GraphDataset
from equinet.data.loading import GraphDataModule, GraphSets
from equinet.errors import BackendError, DataError
from equinet.files import bounded, reading, write_bytes

_log = logging.getLogger(__name__)

CLASSES = 10
_SEGMENTS = 75
_SIDE = 28  # pixels of an edge of an image
_TESTED = 360  # test images among scikit-learn's 1797 digits
_LARGEST = 1 << 31  # bytes of the unpacked superpixels of Monti et al.


@dataclass(frozen=True)
class _Digits:
    """Superpixels and classes of the digits of one split."""

    superpixels: Superpixels
    labels: Int64[np.ndarray, " image"]


class SuperpixelMNIST(GraphDataModule[GraphSets]):
    """Data module of handwritten digits as graphs of superpixels, for classification.

    Images of ``root`` are cut into superpixels once and kept in the cache. Without ``root`` the
    superpixels of Monti et al., which torch_geometric distributes, are downloaded; without a
    network scikit-learn's 1797 small digits replace them, and :meth:`describe` says so. Edges lead
    to every superpixel from the nearest ones. Graphs have ``pos`` [N, 2], ``x`` [N, 1] (grey
    value), ``edge_index`` [2, E] and ``y`` [1] (digit).

    Args:
        root: Path of ``mnist.npz`` or of its folder. The file has ``x_train, y_train, x_test,
            y_test``, with images [..., 28, 28] of grey values 0 to 255. None downloads superpixels.
        neighbors: Number of nearest superpixels from which edges lead to each superpixel, at least
            1.
        train_size: Number of training images; None takes all that are not set aside for validation.
        val_size: Number of training images set aside at random for validation; a number below 1 is
            a fraction.
        test_size: Number of test images, of which the first ones are taken; None takes all.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of the validation split and of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.
        cache: Folder for downloaded and generated files; None takes the user's cache.

    Raises:
        DataError: A size is out of range, or, when the data are prepared, a file is missing or
            broken.
        BackendError: Images have to be cut, but scikit-image is not installed, when the data are
            prepared.

    Example:
        >>> SuperpixelMNIST(neighbors=12).neighbors
        12
    """

    tells: ClassVar[tuple[str, ...]] = ("in_scalars", "out_scalars", "level")

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        neighbors: int = 8,
        train_size: int | None = None,
        val_size: float | int = 0.03,
        test_size: int | None = None,
        batch_size: int = 96,
        eval_batch_size: int = 200,
        seed: int = 0,
        num_workers: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        sizes = {"neighbors": neighbors, "train_size": train_size, "test_size": test_size}
        for name, size in sizes.items():
            if size is not None and size < 1:
                raise DataError(f"{name} must be at least 1, got {size}")
        if val_size <= 0 or (val_size >= 1 and val_size != int(val_size)):
            raise DataError(
                f"val_size must be a fraction (below 1) or a whole number, got {val_size}"
            )
        self.root = None if root is None else Path(root).expanduser()
        self.neighbors = neighbors
        self.train_size = train_size
        self.val_size = val_size
        self.test_size = test_size
        self.cache = cache

    def load(self) -> GraphSets:
        """Read, download or generate the superpixels, and divide them into splits."""
        about, found = self._found()
        train, test = found["train"], found["test"]
        count = len(train.labels)
        share = self.val_size < 1
        aside = max(1, round(self.val_size * count)) if share else int(self.val_size)
        kept = count - aside if self.train_size is None else self.train_size
        if kept < 1 or aside + kept > count:
            raise DataError(
                f"{about}: there are {count} images, not {aside} to validate and {max(kept, 1)} to "
                "train; lower data.val_size or data.train_size"
            )
        order = np.random.default_rng(self.seed).permutation(count)
        tested = np.arange(len(test.labels))[: self.test_size]
        return GraphSets(
            about,
            _dataset(train, order[aside : aside + kept], "training set"),
            _dataset(train, order[:aside], "validation set"),
            {"test": _dataset(test, tested, "test set")},
        )

    def model_arguments(self) -> dict[str, Any]:
        """Return the numbers of inputs and outputs, as keyword arguments of a model."""
        return {"in_scalars": 1, "out_scalars": CLASSES, "level": "graph"}

    def describe(self) -> str:
        """Describe the data in one line: origin, number of images, neighbors, unit of length."""
        return (
            f"{self.sets.about}: {self.counts()} images in {CLASSES} classes; {self.neighbors} "
            "neighbors a superpixel, lengths in units of their mean distance"
        )

    def _found(self) -> tuple[str, Mapping[str, _Digits]]:
        if self.root is not None:
            path = self.root if self.root.suffix == ".npz" else self.root / "mnist.npz"
            return f"superpixels of {path}", self._cut(_read_images(path), str(path))
        try:
            path = self._download()
        except (OSError, DataError) as error:
            _log.warning(
                "the superpixels of MNIST cannot be downloaded (%s); for the benchmark, give the "
                "folder of mnist.npz as data.root",
                error,
            )
            about = "superpixels of scikit-learn's 8x8 digits, enlarged, NOT MNIST"
            return about, self._cut(_small_digits(), "scikit-learn")
        return "superpixels of MNIST by Monti et al.", _read_superpixels(path, self.neighbors)

    def _cut(
        self, images: Mapping[str, tuple[np.ndarray, np.ndarray]], name: str
    ) -> dict[str, _Digits]:
        cut = {}
        for split, (pixels, labels) in images.items():
            superpixels = cached_superpixels(
                pixels, _SEGMENTS, self.neighbors, name=f"{name}, {split}", cache=self.cache
            )
            cut[split] = _Digits(superpixels, labels.astype(np.int64))
        return cut

    def _download(self) -> Path:
        from torch_geometric.datasets import MNISTSuperpixels

        folder = cache_folder(self.cache) / "mnist-superpixels"
        folder.mkdir(exist_ok=True)
        path, archive = folder / "MNISTSuperpixels.pt", folder / "MNISTSuperpixels.zip"
        if not path.is_file():
            fetch(MNISTSuperpixels.url, archive)
            try:
                with reading(archive, "an archive"), zipfile.ZipFile(archive) as file:
                    with file.open(path.name) as member:
                        content = bounded(member.read, _LARGEST, f"{archive}:{path.name}")
                    write_bytes(content, path)
            except DataError:
                archive.unlink()
                raise
        return path


def _dataset(digits: _Digits, chosen: np.ndarray, name: str) -> GraphDataset:
    return GraphDataset(SuperpixelGraphs(digits.superpixels, digits.labels, chosen), name=name)


def _read_images(path: Path) -> dict[str, tuple[UInt8[np.ndarray, "image row column"], np.ndarray]]:
    if not path.is_file():
        raise DataError(f"data.root: there is no file {path}; give mnist.npz or its folder")
    found = {}
    names = [f"{kind}_{split}" for split in ("train", "test") for kind in "xy"]
    arrays = read_arrays(path, "MNIST", names)
    for split in ("train", "test"):
        images, labels = found[split] = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise DataError(
                f"{path}: y_{split} must be an array of one axis with whole numbers, found "
                f"{labels.dtype} {list(labels.shape)}"
            )
        shape = len(labels), _SIDE, _SIDE
        if images.shape != shape or images.dtype != np.uint8:
            raise DataError(
                f"{path}: x_{split} must be uint8 of shape {list(shape)}, found {images.dtype} "
                f"{list(images.shape)}"
            )
    return found


def _small_digits() -> dict[str, tuple[UInt8[np.ndarray, "image row column"], np.ndarray]]:
    """Read scikit-learn's digits, enlarged to the size of those of MNIST."""
    try:
        from skimage.transform import resize
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise BackendError(
            "the embedded digits need scikit-learn and scikit-image, which are not installed: "
            "pip install '.[images]' in the clone"
        ) from error
    digits = load_digits()
    images = np.stack([resize(image / 16, (_SIDE, _SIDE), order=1) for image in digits.images])
    images, labels = np.round(255 * images).astype(np.uint8), digits.target
    return {
        "train": (images[:-_TESTED], labels[:-_TESTED]),
        "test": (images[-_TESTED:], labels[-_TESTED:]),
    }


def _read_superpixels(path: Path, neighbors: int) -> dict[str, _Digits]:
    """Read the superpixels of Monti et al., and convert positions from pixels to mean distances."""
    check_archive(path, "superpixels")
    with reading(path, "superpixels"):
        sets = torch.load(path, weights_only=True)
        found = {}
        for split, graphs in zip(("train", "test"), sets, strict=True):
            pixels = [graph["pos"].numpy().astype(np.float32) for graph in graphs]
            values = [graph["x"].numpy().astype(np.float32).ravel() for graph in graphs]
            labels = np.array([int(graph["y"]) for graph in graphs], dtype=np.int64)
            spacing = np.float32(np.sqrt(_SIDE**2 / _SEGMENTS))
            positions = [places / spacing for places in pixels]
            found[split] = _Digits(Superpixels.of(positions, values, neighbors), labels)
    return found
