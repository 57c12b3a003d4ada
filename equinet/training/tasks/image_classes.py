"""The Lightning task of classifying images."""

import copy
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics import Metric

from equinet.errors import ConfigError, DataError
from equinet.evaluation import Classified, Column, lay_out
from equinet.training.processes import mean_over_processes
from equinet.training.tasks.task import Evaluation, Task

_log = logging.getLogger(__name__)

_SHOWN = 16


class ImageErrors(Metric):
    """Cross entropy and accuracy, summed over batches and processes in float64.

    Args:
        shared: Sum over processes; false where only one of them evaluates.
    """

    full_state_update = False
    higher_is_better = False

    images: Tensor
    right: Tensor
    entropy: Tensor

    def __init__(self, *, shared: bool = True) -> None:
        super().__init__(sync_on_compute=shared)
        for name in ImageErrors.__annotations__:
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(name, default=zero, dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "image class"], labels: Int64[Tensor, " image"]) -> None:
        """Add one batch."""
        logits = logits.detach().double()
        self.images += len(labels)
        self.right += (logits.argmax(1) == labels).sum()
        self.entropy += nn.functional.cross_entropy(logits, labels, reduction="sum")

    def compute(self) -> dict[str, Tensor]:
        """Return ``accuracy`` in percent and ``loss``."""
        return {
            "accuracy": 100 * self.right / self.images,
            "loss": self.entropy / self.images,
        }


class ImageClassification(Task):
    """Trains a model that returns logits of images by cross entropy.

    Args:
        model: Called with images [B, C, H, W]; frozen to plain convolutions for tests if it can be.
        optimizer: See :class:`Task`.
        label_smoothing: Share of the probability that is spread over all classes in training.

    Raises:
        ConfigError: The share is not from 0 to below 1.
    """

    units: ClassVar[Mapping[str, str]] = {"accuracy": "%", "loss": "", "images_per_second": ""}
    columns: ClassVar[tuple[str, ...]] = (
        *("train_loss", "train_accuracy_percent", "train_images_per_second"),
        *("val_loss", "val_accuracy_percent"),
    )
    shown: ClassVar[Mapping[str, str]] = {"accuracy_percent": "{:.2f} %", "loss": "loss {:.4f}"}
    curves: ClassVar[Mapping[str, str]] = {"accuracy_percent": "accuracy (%)", "loss": "loss"}

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        label_smoothing: float = 0.0,
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

    def check_data(self, *sets: Any) -> None:
        """Refuse data sets without images.

        Raises:
            DataError: They are no sets of labeled images.
        """
        for found in sets:
            if not hasattr(found, "images"):
                raise DataError(
                    f"{type(found).__name__} holds no labeled images; choose data=affnist or "
                    "data=homnist for task=image"
                )

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch class"]:
        """Return logits."""
        logits: Tensor = self.model(images)
        return logits

    def on_train_start(self) -> None:
        """Say how much work an image is."""
        image = next(iter(cast("Any", self.trainer.val_dataloaders)))[0][0]
        work = multiply_adds(self.model, image)
        _log.info("Work     %.1f million multiply-adds per image", work / 1e6)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Stop the clock."""
        self._seconds += time.perf_counter() - self._started

    def pop_training_errors(self) -> dict[str, float]:
        """Add the images per second of this process's training steps, validation left out."""
        images = float(cast("ImageErrors", self.train_errors).images)
        errors = super().pop_training_errors()
        seconds, self._seconds = self._seconds, 0.0
        return {**errors, "images_per_second": images / seconds} if seconds else errors

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:  # noqa: ARG002
        """Return the loss of one batch."""
        images, labels = batch
        logits = self(images)
        self.train_errors.update(logits, labels)
        (count,) = mean_over_processes([float(len(labels))], self.device)
        loss = nn.functional.cross_entropy(
            logits, labels, reduction="sum", label_smoothing=self.label_smoothing
        )
        loss = loss / count
        self.log("train/loss", loss.detach(), batch_size=len(labels))
        shown = {"loss": loss.detach()}
        self.log_dict(shown, prog_bar=True, logger=False, batch_size=len(labels))
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=1)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Add the errors of one validation batch."""
        self.val_errors.update(self(batch[0]), batch[1])

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Classify all batches by the frozen network, and time it."""
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
                images += len(labels)
                errors.update(logits, labels)
                if len(shown) < _SHOWN:
                    shown.append((given[0, 0].cpu(), labels[0].cpu()))
                if len(wrong) < _SHOWN:
                    predicted = logits.argmax(1)
                    for index in (predicted != labels).nonzero().flatten().tolist()[:2]:
                        parts = (given[index, 0], labels[index], predicted[index])
                        wrong.append(tuple(part.cpu() for part in parts))  # type: ignore[arg-type]
        found = {name: float(value) for name, value in errors.compute().items()}
        found["images_per_second"] = images / max(seconds, 1e-9)
        return Evaluation(images, found, classified=_classified(shown, wrong))

    def table(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Lay out accuracy, loss and throughput."""
        columns = [
            Column("accuracy", "accuracy", "%"),
            Column("loss", "loss", digits=4),
            Column("images_per_second", "images/s", digits=0),
        ]
        return lay_out(rows, columns)


def frozen_copy(model: nn.Module) -> nn.Module:
    """Return a model's plain form where it has one, else the model.

    Args:
        model: In evaluation mode.
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
        model: Counted in its frozen form, without the making of kernels.
        image: Any of the right size.

    Example:
        >>> multiply_adds(nn.Conv2d(1, 2, 3), torch.zeros(1, 5, 5))
        162
    """
    # Shapes are enough to count; nothing is computed.
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
