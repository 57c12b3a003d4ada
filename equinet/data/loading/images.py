"""Data sets and data modules of labeled images, which are held in memory."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from equinet.data.loading.module import DataModule
from equinet.data.loading.sampling import EpochSampler
from equinet.errors import DataError


class ImageBatch(NamedTuple):
    """Batch of images [B, C, H, W], float32 from 0 to 1, with their classes [B].

    Example:
        >>> ImageBatch(torch.zeros(2, 1, 28, 28), torch.tensor([3, 8])).labels.tolist()
        [3, 8]
    """

    images: Float[Tensor, "batch channel height width"]
    labels: Int64[Tensor, " batch"]


class ImageDataset(Dataset[ImageBatch]):
    """Data set of gray images, stored as bytes, with labels.

    Args:
        images: Gray values 0 to 255, [N, H, W].
        labels: Classes counted from 0, [N].
        name: Name of the set in messages.

    Raises:
        DataError: There are no images, or the numbers of images and labels differ.

    Example:
        >>> images = torch.zeros(5, 40, 40, dtype=torch.uint8)
        >>> ImageDataset(images, torch.zeros(5, dtype=torch.int64)).take([1, 3]).images.shape
        torch.Size([2, 1, 40, 40])
    """

    def __init__(
        self,
        images: UInt8[Tensor, "image height width"],
        labels: Int64[Tensor, " image"],
        *,
        name: str = "data",
    ) -> None:
        if not len(images) or len(images) != len(labels):
            raise DataError(
                f"{name}: found {len(images)} images and {len(labels)} labels; give at least one "
                "image, and one label for each"
            )
        self.name = name
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> ImageBatch:
        return self.take([index])

    def __getitems__(self, indices: Sequence[int]) -> ImageBatch:
        # torch's loader calls this method, if a data set has it, to get a whole batch at once.
        return self.take(indices)

    def take(self, indices: Sequence[int]) -> ImageBatch:
        """Return the images of given indices as one batch."""
        chosen = torch.as_tensor(indices)
        return ImageBatch(self.images[chosen].unsqueeze(1).float() / 255, self.labels[chosen])

    def fingerprint(self) -> str:
        """SHA-256 of all images and labels."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ImageSets:
    """Data sets of images for one task.

    Attributes:
        about: Description of the data in one clause.
        train: Data set for training.
        val: Data set for validation.
        tests: Test sets by name.

    Example:
        >>> images = torch.zeros(5, 28, 28, dtype=torch.uint8)
        >>> digits = ImageDataset(images, torch.arange(5))
        >>> ImageSets("five black images", digits, digits, {"test": digits}).about
        'five black images'
    """

    about: str
    train: ImageDataset
    val: ImageDataset
    tests: Mapping[str, ImageDataset]


class ImageDataModule(DataModule[ImageSets]):
    """Base of the data modules of images; a subclass reads the images in ``load``.

    Args:
        batch_size: Number of images per training batch, at least 1.
        eval_batch_size: Number of images per validation or test batch, at least 1.
        seed: Seed of the order of training, at least 0.

    Raises:
        DataError: An argument is out of range.

    Example:
        >>> from equinet.data import AffNIST
        >>> issubclass(AffNIST, ImageDataModule), AffNIST.tells
        (True, ('classes',))
    """

    tells: ClassVar[tuple[str, ...]] = ("classes",)
    """Names of the model's arguments that :meth:`model_arguments` may give."""

    def __init__(self, *, batch_size: int, eval_batch_size: int, seed: int = 0) -> None:
        super().__init__(batch_size=batch_size, eval_batch_size=eval_batch_size, seed=seed)

    def model_arguments(self) -> dict[str, Any]:
        """Return the number of classes as a keyword argument of a model."""
        return {"classes": int(self.sets.train.labels.max()) + 1}

    def describe(self) -> str:
        """Describe the data in one line: origin, number and size of the images."""
        height, width = self.sets.train.images.shape[1:]
        return f"{self.sets.about}: {self.counts()} images of {height} × {width} pixels"

    def train_loader(self) -> DataLoader[Any]:
        """Load training batches in an order that depends on the seed and the epoch alone."""
        dataset = self.sets.train
        return _loader(dataset, EpochSampler(len(dataset), seed=self.seed), self.batch_size)

    def loader_in_order(self, dataset: ImageDataset) -> DataLoader[Any]:
        """Load one of the sets in order, for validation or a test.

        Args:
            dataset: Validation set or one of the test sets.
        """
        return _loader(dataset, SequentialSampler(dataset), self.eval_batch_size)


def _loader(dataset: ImageDataset, sampler: Any, batch_size: int) -> DataLoader[Any]:
    batches = BatchSampler(sampler, batch_size, drop_last=False)
    return DataLoader(dataset, batch_sampler=batches, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch
