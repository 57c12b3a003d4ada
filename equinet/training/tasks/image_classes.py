"""Lightning task that trains the classification of images."""

import copy
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from equinet.arguments import BelowOne
from equinet.errors import ConfigError, DataError
from equinet.evaluation import Classified, Error, SummedErrors, refuse_not_finite
from equinet.training.processes import mean_over_processes
from equinet.training.tasks.task import Evaluation, Task

_log = logging.getLogger(__name__)

_SHOWN = 16


_BOTH = ("train", "val")

_LOSS = Error(
    "loss",
    "loss",
    of="entropy",
    digits=4,
    word="loss",
    log=".4f",
    curve="loss",
    splits=_BOTH,
    rank=1,
)
_ACCURACY = Error(
    "accuracy", "accuracy", "%", of="right", log=".2f", curve="accuracy", splits=_BOTH
)
_SPEED = Error("images_per_second", "images/s", digits=0, splits=("train",), rank=2)


class ImageErrors(SummedErrors):
    """Cross entropy and accuracy, summed over batches and processes in float64.

    Args:
        shared: Whether sums are added up over processes; False where only one process evaluates.

    Example:
        >>> errors = ImageErrors()
        >>> errors.update(torch.eye(2), torch.tensor([0, 0]))
        >>> float(errors.compute()["accuracy"])
        50.0
    """

    declared: tuple[Error, ...] = (_LOSS, _ACCURACY)

    def update(self, logits: Float[Tensor, "image class"], labels: Int64[Tensor, " image"]) -> None:
        """Add one batch.

        Args:
            logits: Logarithms of probabilities, up to a constant for each image.
            labels: True class of each image.
        """
        logits = logits.detach().double()
        entropy = nn.functional.cross_entropy(logits, labels, reduction="sum")
        self.add(entropy=(entropy, len(labels)), right=logits.argmax(1) == labels)


class ImageClassification(Task):
    """Trains a model that returns logits of images by cross entropy.

    Args:
        model: Network that maps images [B, C, H, W] to logits [B, classes]; tests use the plain
            convolutions of its ``freeze()``, if it has one.
        optimizer: Function of parameter groups that builds the optimizer, see :class:`Task`.
        label_smoothing: Fraction of the probability that is spread over all classes in training,
            from 0 to below 1.

    Raises:
        ConfigError: ``label_smoothing`` is out of range.

    Example:
        >>> from functools import partial
        >>> from equinet.models import GroupResNet
        >>> model = GroupResNet(classes=3, channels=4, blocks=1, rotations=4)
        >>> task = ImageClassification(model=model, optimizer=partial(torch.optim.Adam, lr=0.01))
        >>> task(torch.zeros(2, 1, 40, 40)).shape
        torch.Size([2, 3])
    """

    declared: tuple[Error, ...] = (_LOSS, _ACCURACY, _SPEED)

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        label_smoothing: BelowOne = 0.0,
    ) -> None:
        super().__init__(
            model=model,
            optimizer=optimizer,
            train_errors=ImageErrors(),
            val_errors=ImageErrors(),
        )
        if not 0 <= label_smoothing < 1:
            raise ConfigError(
                f"task.label_smoothing must be from 0 to below 1, got {label_smoothing}"
            )
        self.label_smoothing = label_smoothing
        self._seconds = 0.0
        self._started = 0.0
        self._images = 0

    def check_data(self, *sets: Any) -> None:
        """Refuse data sets without images.

        Raises:
            DataError: A data set has no labeled images.
        """
        for found in sets:
            if not hasattr(found, "images"):
                raise DataError(
                    f"{type(found).__name__} holds no labeled images; choose data=affnist or "
                    "data=homnist for task=image"
                )

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch class"]:
        """Return logits of images.

        Args:
            images: Images [B, C, H, W].
        """
        logits: Tensor = self.model(images)
        return logits

    def on_train_start(self) -> None:
        """Log the number of multiply-adds for an image."""
        image = next(iter(cast("Any", self.trainer.val_dataloaders)))[0][0]
        work = multiply_adds(self.model, image)
        _log.info("Work     %.1f million multiply-adds per image", work / 1e6)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Record the time at the start of a step."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Add the time of the step and the number of its images."""
        self._seconds += time.perf_counter() - self._started
        self._images += len(batch[0])

    def pop_training_errors(self) -> dict[str, float]:
        """Return the training errors and the images per second, without the time of validation."""
        errors = super().pop_training_errors()
        (images, seconds), self._images, self._seconds = (self._images, self._seconds), 0, 0.0
        return {**errors, "images_per_second": images / seconds} if seconds else errors

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one batch."""
        images, labels = batch
        logits = self(images)
        self.train_errors.update(logits, labels)
        (count,) = mean_over_processes([float(len(labels))], self.device)
        loss = nn.functional.cross_entropy(
            logits, labels, reduction="sum", label_smoothing=self.label_smoothing
        )
        loss = loss / count
        return self.finish_step(
            loss,
            batch,
            batch_idx,
            count=len(labels),
            errors={"loss": loss.detach()},
            predicted={"logits": logits},
        )

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Add the errors of one validation batch."""
        self.val_errors.update(self(batch[0]), batch[1])

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Classify all batches with the frozen network, and measure its speed."""
        self.to(device).eval()
        errors = ImageErrors(shared=False).to(device)
        network = frozen_copy(self.model)
        seconds, images = 0.0, 0
        shown: list[tuple[Tensor, Tensor]] = []
        wrong: list[tuple[Tensor, Tensor, Tensor]] = []
        with torch.inference_mode():
            for batch in loader:
                given, labels = batch[0].to(device), batch[1].to(device)
                start = time.perf_counter()
                logits = network(given)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                seconds += time.perf_counter() - start
                refuse_not_finite({"logits": logits}, None, loader=loader, before=images)
                images += len(labels)
                errors.update(logits, labels)
                if len(shown) < _SHOWN:
                    shown.append((given[0, 0].cpu(), labels[0].cpu()))
                if len(wrong) < _SHOWN:
                    predicted = logits.argmax(1)
                    for index in (predicted != labels).nonzero().flatten().tolist()[:2]:
                        image = given[index, 0].cpu()
                        wrong.append((image, labels[index].cpu(), predicted[index].cpu()))
        found = {name: float(value) for name, value in errors.compute().items()}
        found["images_per_second"] = images / max(seconds, 1e-9)
        return Evaluation(images, found, classified=_classified(shown, wrong))


def frozen_copy(model: nn.Module) -> nn.Module:
    """Return what ``freeze()`` of a model returns; the model itself if it has no such method.

    Args:
        model: Network in evaluation mode.
    """
    freeze: Any = getattr(model, "freeze", None)
    if freeze is None:
        return model
    with torch.no_grad():
        plain: nn.Module = freeze()
    return plain


def multiply_adds(model: nn.Module, image: Float[Tensor, "channel ..."]) -> int:
    """Count the multiply-adds of convolutions and matrix products for one image.

    Args:
        model: Network; if it has a method ``freeze()``, the frozen network is counted, whose
            kernels are computed once.
        image: Image [C, H, W] of the size to count for.

    Example:
        >>> multiply_adds(nn.Conv2d(1, 2, 3), torch.zeros(1, 5, 5))
        162
    """
    # On the device "meta" tensors have shapes and no values, which suffices to count.
    plain = frozen_copy(copy.deepcopy(model).eval()).to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        plain(image.to("meta").unsqueeze(0))
    return counter.get_total_flops() // 2


def _classified(
    shown: Sequence[tuple[Tensor, Tensor]], wrong: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> Classified | None:
    if not shown:
        return None
    images, labels = (torch.stack(part).numpy() for part in zip(*shown, strict=True))
    if not wrong:
        return Classified(images, labels, images[:0], labels[:0], labels[:0])
    mistaken, true, predicted = (torch.stack(part).numpy() for part in zip(*wrong, strict=True))
    return Classified(images, labels, mistaken, true, predicted)
