"""Superpixels of images, with positions, grey values and nearest neighbors.

Source: Achanta et al., SLIC superpixels (IEEE TPAMI 34, 2012), as implemented in scikit-image;
Monti et al. (CVPR 2017) for their use as graphs.
"""

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from scipy.spatial import cKDTree
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Data

from equinet.data.arrays import read_arrays
from equinet.data.cache import cache_place
from equinet.errors import BackendError, DataError
from equinet.files import whole_file

_log = logging.getLogger(__name__)

_COMPACTNESS = 0.25  # SLIC's weight of distance; superpixels then follow the strokes of digits
_VERSION = 1  # version of the files in the cache


@dataclass(frozen=True)
class Superpixels:
    """Superpixels of many images, in concatenated arrays.

    Attributes:
        counts: Number of superpixels of each image.
        positions: Centers of the superpixels, with x to the right and y up, in units of the mean
            distance of neighbors.
        values: Mean grey value of each superpixel, 0 to 1.
        neighbors: Indices of the nearest superpixels of each superpixel, nearest first; an index
            counts within the image.

    Example:
        >>> corners = np.array([[0, 0], [0, 1], [2, 0]], dtype=np.float32)
        >>> Superpixels.of([corners], [np.ones(3, np.float32)], neighbors=1).neighbors.tolist()
        [[1], [0], [0]]
    """

    counts: Int64[np.ndarray, " image"]
    positions: Float32[np.ndarray, "superpixel 2"]
    values: Float32[np.ndarray, " superpixel"]
    neighbors: UInt8[np.ndarray, "superpixel neighbor"]

    @classmethod
    def of(
        cls,
        positions: Sequence[Float32[np.ndarray, "_ 2"]],
        values: Sequence[Float32[np.ndarray, " _"]],
        neighbors: int,
    ) -> "Superpixels":
        """Find the nearest superpixels within each image, and concatenate the images.

        Args:
            positions: Centers of the superpixels of each image.
            values: Grey values of the superpixels of each image, 0 to 1.
            neighbors: Number of nearest superpixels to find.

        Raises:
            DataError: An image has at most ``neighbors`` superpixels, or more than 256.
        """
        nearest = []
        for image, places in enumerate(positions):
            if not neighbors < len(places) <= 256:
                raise DataError(
                    f"image {image} has {len(places)} superpixels; {neighbors} neighbors of each "
                    f"need {neighbors + 1} to 256"
                )
            _, found = cKDTree(places).query(places, neighbors + 1)
            # The nearest one is the superpixel itself, or another one at the same place.
            itself = found == np.arange(len(places))[:, None]
            itself[~itself.any(axis=1), -1] = True
            nearest.append(found[~itself].reshape(len(places), neighbors).astype(np.uint8))
        return cls(
            np.array([len(places) for places in positions], dtype=np.int64),
            np.concatenate(positions),
            np.concatenate(values),
            np.concatenate(nearest),
        )


class SuperpixelGraphs(Sequence[Data]):
    """Sequence of graphs of superpixels with labels, each built when it is indexed.

    A graph has ``pos`` [N, 2], ``x`` [N, 1] (grey value), ``edge_index`` [2, E] (from the nearest
    superpixels to each superpixel, sorted by receiver) and ``y`` [1] (class); floats are float64.

    Args:
        superpixels: Superpixels of all images.
        labels: Class of each image.
        chosen: Indices of the images, in the order of the sequence; None takes all images.

    Raises:
        DataError: The numbers of labels and images differ.

    Example:
        >>> corners = np.array([[0, 0], [0, 1], [2, 0]], dtype=np.float32)
        >>> superpixels = Superpixels.of([corners], [np.ones(3, np.float32)], neighbors=1)
        >>> graph, = SuperpixelGraphs(superpixels, np.array([7]))
        >>> graph.edge_index.tolist(), graph.y.item()
        ([[1, 0, 0], [0, 1, 2]], 7)
    """

    def __init__(
        self,
        superpixels: Superpixels,
        labels: Int64[np.ndarray, " image"],
        chosen: Int64[np.ndarray, " chosen"] | None = None,
    ) -> None:
        if len(labels) != len(superpixels.counts):
            raise DataError(
                f"{len(superpixels.counts)} images have {len(labels)} labels; give one an image"
            )
        self._superpixels = superpixels
        self._labels = labels
        self._chosen = np.arange(len(labels)) if chosen is None else chosen
        self._ends = superpixels.counts.cumsum()

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Data: ...
    @overload
    def __getitem__(self, index: slice) -> "SuperpixelGraphs": ...
    def __getitem__(self, index: int | slice) -> "Data | SuperpixelGraphs":
        if isinstance(index, slice):
            return SuperpixelGraphs(self._superpixels, self._labels, self._chosen[index])
        image = self._chosen[index]
        stop = self._ends[image]
        part = slice(stop - self._superpixels.counts[image], stop)
        sender = torch.from_numpy(self._superpixels.neighbors[part]).long()
        receiver = torch.arange(len(sender)).unsqueeze(1).expand_as(sender)
        return Data(
            x=torch.from_numpy(self._superpixels.values[part]).double().unsqueeze(1),
            pos=torch.from_numpy(self._superpixels.positions[part]).double(),
            edge_index=torch.stack([sender.flatten(), receiver.flatten()]),
            y=torch.from_numpy(self._labels[image : image + 1]),
        )


def make_superpixels(
    images: UInt8[np.ndarray, "image row column"], segments: int = 75, neighbors: int = 8
) -> Superpixels:
    """Cut images into superpixels, with all processors that this process may use.

    Args:
        images: Grey values of the images.
        segments: Approximate number of superpixels of an image.
        neighbors: Number of nearest neighbors of each superpixel.

    Returns:
        The superpixels, which do not depend on the number of processors.

    Raises:
        BackendError: scikit-image is not installed.
        DataError: An image has at most ``neighbors`` superpixels, or more than 256.

    Example:
        >>> images = np.random.default_rng(0).integers(256, size=(2, 28, 28), dtype=np.uint8)
        >>> superpixels = make_superpixels(images, segments=20, neighbors=4)
        >>> superpixels.neighbors.shape == (superpixels.counts.sum(), 4)
        True
    """
    _slic()
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    loader = DataLoader(
        _Cut(images, segments),
        batch_size=100,
        num_workers=processors if processors > 1 and len(images) > 1000 else 0,
        collate_fn=list,
    )
    positions, values = [], []
    for number, batch in enumerate(loader):
        for places, greys in batch:
            positions.append(places)
            values.append(greys)
        if number % 100 == 99:
            _log.info("%d of %d images", len(positions), len(images))
    return Superpixels.of(positions, values, neighbors)


def cached_superpixels(
    images: UInt8[np.ndarray, "image row column"],
    segments: int,
    neighbors: int,
    *,
    name: str,
    cache: str | Path | None = None,
) -> Superpixels:
    """Read the superpixels of images from the cache, and cut the images on first use.

    Args:
        images: Grey values of the images.
        segments: Approximate number of superpixels of an image.
        neighbors: Number of nearest neighbors of each superpixel.
        name: Name of the images in the log.
        cache: Folder of the cache, see :func:`equinet.data.cache.cache_folder`.

    Raises:
        BackendError: scikit-image is not installed, and the superpixels are not in the cache.
        DataError: The cache cannot be written.

    Example:
        >>> import tempfile
        >>> images = np.random.default_rng(0).integers(256, size=(2, 28, 28), dtype=np.uint8)
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     superpixels = cached_superpixels(images, 20, 4, name="noise", cache=cache)
        >>> superpixels.neighbors.shape[1]
        4
    """
    content = hashlib.sha256(f"{images.shape} {images.dtype} {_COMPACTNESS}\n".encode())
    content.update(images.tobytes())
    folder = cache_place(f"superpixels-v{_VERSION}", cache)
    path = folder / f"{content.hexdigest()[:16]}-{segments}-{neighbors}.npz"
    if path.is_file():
        try:
            fields = tuple(Superpixels.__annotations__)
            return Superpixels(**read_arrays(path, "superpixels", fields))
        except DataError as error:
            _log.warning("making %s anew, because its copy is broken: %s", path, error)
    _log.info("cutting %d images of %s into superpixels (once)", len(images), name)
    made = make_superpixels(images, segments, neighbors)
    try:
        folder.mkdir(exist_ok=True)
        with whole_file(path) as partial, partial.open("wb") as written:
            np.savez(written, **dict(zip(Superpixels.__annotations__, astuple(made), strict=True)))
    except OSError as error:
        raise DataError(
            f"cannot write {path} ({error.strerror}); give another folder as data.cache"
        ) from error
    return made


class _Cut(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Data set of images that are cut into centers and grey values of superpixels when indexed."""

    def __init__(self, images: UInt8[np.ndarray, "image row column"], segments: int) -> None:
        self.images = images
        self.segments = segments

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = self.images[index] / 255.0
        rows, columns = image.shape
        labels = _slic()(
            image,
            n_segments=self.segments,
            compactness=_COMPACTNESS,
            channel_axis=None,
            start_label=0,
        ).ravel()
        sizes = np.bincount(labels)
        y, x = np.divmod(np.arange(rows * columns), columns)
        sums = [np.bincount(labels, weights) for weights in (x, -y, image.ravel())]
        # SLIC may leave out numbers of superpixels.
        x, y, values = (total[sizes > 0] / sizes[sizes > 0] for total in sums)
        spacing = np.sqrt(rows * columns / self.segments)
        positions = np.stack([x, y], axis=1) / spacing
        return positions.astype(np.float32), values.astype(np.float32)


def _slic() -> Any:
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise BackendError(
            "superpixels are cut by scikit-image, which is not installed: "
            "pip install '.[images]' in the clone"
        ) from error
    return slic
