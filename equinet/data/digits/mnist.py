"""Handwritten digits in the middle of a black frame: MNIST, or scikit-learn's digits instead."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from equinet.data.arrays import read_arrays
from equinet.data.cache import cache_folder, fetch
from equinet.errors import DataError

_log = logging.getLogger(__name__)

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
"""SHA-256 of the four arrays of MNIST in file order, which does not depend on the file format."""

# SHA-256 of the file at that address, which Keras states too.
_FILE_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

FRAME = 40
_SHAPES = {
    "x_train": (60000, 28, 28),
    "y_train": (60000,),
    "x_test": (10000, 28, 28),
    "y_test": (10000,),
}


@dataclass(frozen=True)
class Digits:
    """Images of digits in the middle of a frame of 40 × 40 pixels, with their classes.

    Attributes:
        about: Description of the digits in one clause.
        images: Images of the training digits.
        labels: Classes of the training digits.
        test_images: Images of the test digits.
        test_labels: Classes of the test digits.
        official: Whether the digits are MNIST, bit by bit.
    """

    about: str
    images: UInt8[Tensor, "image 40 40"]
    labels: Int64[Tensor, " image"]
    test_images: UInt8[Tensor, "test 40 40"]
    test_labels: Int64[Tensor, " test"]
    official: bool


def load_digits(root: str | Path | None = None, cache: str | Path | None = None) -> Digits:
    """Read MNIST from a folder, or download it, or take the small digits of scikit-learn.

    Args:
        root: Folder of ``mnist.npz`` with ``x_train``, ``y_train``, ``x_test``, ``y_test``; None
            downloads the file.
        cache: Folder for downloaded files; None takes the user's cache.

    Returns:
        The digits.

    Raises:
        DataError: A file in ``root`` is missing or broken, or there is neither a network nor
            scikit-learn.

    Example:
        >>> load_digits("no/such/folder")  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        DataError: mnist.npz is not there
    """
    if root is not None:
        return _read(Path(root).expanduser() / "mnist.npz")
    path = cache_folder(cache) / "mnist" / "mnist.npz"
    try:
        path.parent.mkdir(exist_ok=True)
        fetch(MNIST_URL, path, sha256=_FILE_SHA256)
        return _read(path)
    except (OSError, DataError) as error:
        _log.warning(
            "MNIST cannot be downloaded (%s); give the folder of mnist.npz as data.root", error
        )
        return _small_digits()


def _read(path: Path) -> Digits:
    arrays = read_arrays(path, "MNIST", tuple(_SHAPES))
    for name, shape in _SHAPES.items():
        found = arrays[name].shape
        if len(found) != len(shape) or found[1:] != shape[1:]:
            raise DataError(f"{path}: {name} must have shape {list(shape)}, found {list(found)}")
        if arrays[name].dtype.kind not in "iu":
            raise DataError(f"{path}: {name} must hold whole numbers, found {arrays[name].dtype}")
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.astype(np.uint8).tobytes())
    official = digest.hexdigest() == MNIST_SHA256
    if not official:
        _log.warning("%s does not hold the official MNIST", path)
    images = {name: _framed(arrays[name]) for name in ("x_train", "x_test")}
    labels = {
        name: torch.from_numpy(arrays[name].astype(np.int64)) for name in ("y_train", "y_test")
    }
    about = "MNIST" if official else f"digits of {path}, not MNIST"
    return Digits(
        about, images["x_train"], labels["y_train"], images["x_test"], labels["y_test"], official
    )


def _small_digits() -> Digits:
    """Read scikit-learn's 1797 digits of 8 × 8 pixels, enlarged to 20 × 20 as those of MNIST."""
    try:
        from sklearn.datasets import load_digits as bundled
    except ModuleNotFoundError as error:
        raise DataError(
            "there is neither MNIST nor scikit-learn, whose digits could stand in: give data.root, "
            "or pip install '.[images]' in the clone"
        ) from error
    found = bundled()
    small = torch.from_numpy(found.images / 16).unsqueeze(1)
    large = torch.nn.functional.interpolate(small, (20, 20), mode="bicubic").clamp(0, 1)
    images = _framed((255 * large[:, 0]).round().to(torch.uint8).numpy())
    labels = torch.from_numpy(found.target.astype(np.int64))
    test = 360
    return Digits(
        "scikit-learn's digits of 8 × 8 pixels enlarged, NOT MNIST",
        images[test:],
        labels[test:],
        images[:test],
        labels[:test],
        official=False,
    )


def _framed(images: UInt8[np.ndarray, "image height width"]) -> UInt8[Tensor, "image 40 40"]:
    """Put images into the middle of the frame."""
    height, width = images.shape[1:]
    rows, columns = FRAME - height, FRAME - width
    padding = ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return torch.from_numpy(np.pad(images.astype(np.uint8), padding))
