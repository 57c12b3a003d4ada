"""Labeled images held in memory, loaded whole batches at a time."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from equinet.data.loading.sampling import EpochSampler
from equinet.errors import DataError

_log = logging.getLogger(__name__)


class ImageBatch(NamedTuple):
    """Images [B, C, H, W] in [0, 1], float32, and their classes [B]."""

    images: Float[Tensor, "batch channel height width"]
    labels: Int64[Tensor, " batch"]


class ImageDataset(Dataset[ImageBatch]):
    """Gray images as bytes, with labels.

    Args:
        images: [N, H, W].
        labels: [N], from 0.
        name: What to call the set in messages.

    Raises:
        DataError: There are no images, or not as many labels.

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
            raise DataError(f"{name}: found {len(images)} images and {len(labels)} labels")
        self.name = name
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> ImageBatch:
        return self.take([index])

    def __getitems__(self, indices: Sequence[int]) -> ImageBatch:
        # The loader asks for a whole batch at once where a data set has this.
        return self.take(indices)

    def take(self, indices: Sequence[int]) -> ImageBatch:
        """Return the images of given indices as one batch."""
        chosen = torch.as_tensor(indices)
        return ImageBatch(self.images[chosen].unsqueeze(1).float() / 255, self.labels[chosen])

    def fingerprint(self) -> str:
        """SHA-256 of images and labels."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ImageSets:
    """The images of one task.

    Attributes:
        about: What the data are, in one clause.
        train: Training set.
        val: Validation set.
        tests: Test sets by name.
    """

    about: str
    train: ImageDataset
    val: ImageDataset
    tests: Mapping[str, ImageDataset]


class ImageDataModule(ABC):
    """Base of the modules of image data; a subclass says where the images come from.

    Args:
        batch_size: Images per training batch.
        eval_batch_size: Images per validation or test batch.
        seed: Of the order of training; non-negative.

    Raises:
        DataError: An argument is out of range.
    """

    tells: ClassVar[tuple[str, ...]] = ("classes",)
    """Names of the model's arguments that :meth:`model_arguments` may give."""

    def __init__(self, *, batch_size: int, eval_batch_size: int, seed: int = 0) -> None:
        for name, value, lowest in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("seed", seed, 0),
        ):
            if value < lowest:
                raise DataError(f"{name} must be at least {lowest}, got {value}")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self._sets: ImageSets | None = None

    @abstractmethod
    def load(self) -> ImageSets:
        """Read or make the images."""

    @property
    def sets(self) -> ImageSets:
        """All sets; the first use reads them and says in the log what they are."""
        if self._sets is None:
            self._sets = self.load()
            _log.info("%s", self.describe())
        return self._sets

    def prepare(self) -> None:
        """Read everything now, unless that is done."""
        _ = self.sets

    def model_arguments(self) -> dict[str, Any]:
        """The number of classes."""
        return {"classes": int(self.sets.train.labels.max()) + 1}

    def describe(self) -> str:
        """One line: what the data are, how many, how large."""
        ready = self.sets
        sets = {"training": ready.train, "validation": ready.val, **ready.tests}
        counts = ", ".join(f"{len(dataset)} {name}" for name, dataset in sets.items())
        height, width = ready.train.images.shape[1:]
        return f"{ready.about}: {counts} images of {height} × {width} pixels"

    def train_loader(self) -> DataLoader[Any]:
        """Shuffled training batches; the order depends on the seed and the epoch alone."""
        dataset = self.sets.train
        return _loader(dataset, EpochSampler(len(dataset), seed=self.seed), self.batch_size)

    def val_loader(self) -> DataLoader[Any]:
        """Validation batches in order."""
        return _loader(self.sets.val, SequentialSampler(self.sets.val), self.eval_batch_size)

    def test_loaders(self) -> dict[str, DataLoader[Any]]:
        """Test batches in order, by name of the set."""
        return {
            name: _loader(dataset, SequentialSampler(dataset), self.eval_batch_size)
            for name, dataset in self.sets.tests.items()
        }

    def fingerprint(self) -> str:
        """SHA-256 of all sets, by name."""
        digest = hashlib.sha256()
        sets = {"train": self.sets.train, "val": self.sets.val, **self.sets.tests}
        for name, dataset in sets.items():
            digest.update(f"{name}:{dataset.fingerprint()}\n".encode())
        return digest.hexdigest()


def _loader(dataset: ImageDataset, sampler: Any, batch_size: int) -> DataLoader[Any]:
    batches = BatchSampler(sampler, batch_size, drop_last=False)
    return DataLoader(dataset, batch_sampler=batches, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch
