"""Digits to train on as they are, and transformed ones to test on: affNIST and homNIST."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from equinet.data.datasets.digits import FRAME, load_digits
from equinet.data.datasets.transforms import Transform, affine_copy, cached_copies, homography_copy
from equinet.data.loading import ImageDataModule, ImageDataset, ImageSets
from equinet.errors import DataError
from equinet.files import reading

_VAL_SEED, _TEST_SEED = 2, 1


class TransformedDigits(ImageDataModule):
    """Base of the two: centered training digits, transformed validation and test digits.

    Validation digits are the last of MNIST's training file, transformed with other random numbers
    than the test digits.

    Args:
        root: Folder of ``mnist.npz``; None downloads it, and takes scikit-learn's digits where
            there is no network.
        copies: Transformed copies of each test digit; published: 32.
        val_size: Digits set aside for validation; at most a quarter of those there are.
        batch_size: Images per training batch.
        eval_batch_size: Images per validation or test batch.
        seed: Seed of the order of training.
        cache: Folder for downloaded and generated files; None takes the user's cache.

    Raises:
        DataError: A number is out of range, or, when the data are prepared, a file is missing or
            broken.
    """

    name: str
    """Of the protocol, with its version; also of the test set."""
    transform: Transform
    """Makes one copy of all digits."""

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        copies: int = 32,
        val_size: int = 10000,
        batch_size: int = 64,
        eval_batch_size: int = 250,
        seed: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, eval_batch_size=eval_batch_size, seed=seed)
        for name, value in (("copies", copies), ("val_size", val_size)):
            if value < 1:
                raise DataError(f"{name} must be at least 1, got {value}")
        self.root = root
        self.copies = copies
        self.val_size = val_size
        self.cache = cache

    def load(self) -> ImageSets:
        """Read the digits, and make or read the transformed ones."""
        digits = load_digits(self.root, self.cache)
        aside = min(self.val_size, len(digits.images) // 4)
        train, val = digits.images[:-aside], digits.images[-aside:]
        moved_val = self._copies(val, 1, _VAL_SEED)
        tests = {"centered": ImageDataset(digits.test_images, digits.test_labels, name="centered")}
        moved = self._copies(digits.test_images, self.copies, _TEST_SEED)
        labels = digits.test_labels.repeat(self.copies)
        tests[self.name] = ImageDataset(moved, labels, name=self.name)
        tests |= self.official()
        return ImageSets(
            f"{digits.about}, {self.name}",
            ImageDataset(train, digits.labels[:-aside], name="training set"),
            ImageDataset(moved_val, digits.labels[-aside:], name="validation set"),
            tests,
        )

    def official(self) -> dict[str, ImageDataset]:
        """Return published test sets by name, where their files are given."""
        return {}

    def _copies(self, images: Tensor, copies: int, seed: int) -> Tensor:
        transform = type(self).transform
        return cached_copies(
            self.name, transform, images, copies=copies, seed=seed, cache=self.cache
        )


class AffNIST(TransformedDigits):
    """Centered MNIST to train on, affine transformations of the test digits to test on.

    The test set is regenerated, ``affnist-regen-v1``, see
    :func:`equinet.data.datasets.transforms.affine_copy`. The official files are used beside it
    where they are given.

    Args:
        official_files: Folder of the official test set, ``test.mat`` or ``1.mat`` … ``32.mat``.
        options: Further options of :class:`TransformedDigits`.

    Example:
        >>> AffNIST(copies=2).name
        'affnist-regen-v1'
    """

    name = "affnist-regen-v1"
    transform = staticmethod(affine_copy)

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        official_files: str | Path | None = None,
        copies: int = 32,
        val_size: int = 10000,
        batch_size: int = 64,
        eval_batch_size: int = 250,
        seed: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__(
            root=root,
            copies=copies,
            val_size=val_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            cache=cache,
        )
        self.official_files = official_files

    def official(self) -> dict[str, ImageDataset]:
        """Read the official test set, if its folder is given."""
        if self.official_files is None:
            return {}
        folder = Path(self.official_files).expanduser()
        paths = sorted(folder.glob("*.mat"), key=lambda path: _number(path.stem))
        if not paths:
            raise DataError(f"data.official_files: there are no .mat files in {folder}")
        images, labels = read_affnist(paths)
        return {"affnist": ImageDataset(images, labels, name="affnist")}


class HomNIST(TransformedDigits):
    """Centered MNIST to train on, homographies of the test digits to test on.

    The test set is regenerated, ``homnist-regen-v1``, see
    :func:`equinet.data.datasets.transforms.homography_copy`.

    Args:
        options: Further options of :class:`TransformedDigits`.

    Example:
        >>> HomNIST().copies
        32
    """

    name = "homnist-regen-v1"
    transform = staticmethod(homography_copy)


def read_affnist(
    paths: Sequence[Path],
) -> tuple[UInt8[Tensor, "image 40 40"], Int64[Tensor, " image"]]:
    """Read official affNIST files.

    Args:
        paths: MATLAB files with the structure ``affNISTdata``.

    Returns:
        Images and labels.

    Raises:
        DataError: A file is broken or holds something else.
    """
    from scipy.io import loadmat

    images, labels = [], []
    for path in paths:
        with reading(path, "affNIST"):
            data = loadmat(path, squeeze_me=True, struct_as_record=True)["affNISTdata"]
            pixels = np.asarray(data["image"].item(), dtype=np.uint8)
            found = np.atleast_1d(np.asarray(data["label_int"].item(), dtype=np.int64))
        if pixels.shape != (FRAME**2, len(found)):
            raise DataError(
                f"{path}: image must have shape {[FRAME**2, len(found)]}, found "
                f"{list(pixels.shape)}"
            )
        images.append(torch.from_numpy(np.ascontiguousarray(pixels.T).reshape(-1, FRAME, FRAME)))
        labels.append(torch.from_numpy(found))
    return torch.cat(images), torch.cat(labels)


def _number(stem: str) -> tuple[int, str]:
    digits = re.fullmatch(r"\d+", stem)
    return (int(stem) if digits else -1, stem)
