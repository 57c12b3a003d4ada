"""Errors of a classification, and how far it is from not noticing that its inputs are turned."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, nll_loss
from torchmetrics import Metric

from equinet.evaluation.tables import Column

UNITS: Mapping[str, str] = {
    "cross_entropy": "",
    "accuracy": "%",
    "error": "%",
    "error_averaged": "%",
    "cross_entropy_averaged": "",
    "equivariance_error": "",
    "loss": "",
}
"""Unit of every error by name."""

COLUMNS: tuple[str, ...] = (
    "train_loss",
    "train_cross_entropy",
    "train_error_percent",
    "val_loss",
    "val_cross_entropy",
    "val_cross_entropy_averaged",
    "val_accuracy_percent",
    "val_error_percent",
    "val_error_averaged_percent",
    "val_equivariance_error",
)
"""Columns of ``metrics.csv``."""

SHOWN: Mapping[str, str] = {
    "error_percent": "error {:.2f} %",
    "error_averaged_percent": "averaged {:.2f} %",
    "cross_entropy": "cross entropy {:.4f}",
    "equivariance_error": "equivariance error {:.1e}",
}
"""How to write errors in the log."""

CURVES: Mapping[str, str] = {
    "error_percent": "error (%)",
    "cross_entropy": "cross entropy",
    "equivariance_error": "relative equivariance error",
}
"""Labels of the learning curve."""

TABLE: tuple[Column, ...] = (
    Column("accuracy", "accuracy", "%"),
    Column("error", "error", "%"),
    Column("error_averaged", "averaged", "%"),
    Column("cross_entropy", "entropy", digits=4),
    Column("equivariance_error", "equivariance", digits=5),
)
"""Columns of the final table."""


class ClassificationErrors(Metric):
    """Cross entropy, accuracy and error over a whole set, summed over batches and processes.

    Only sums and counts are kept, in float64: a mean of batch means would be wrong for batches of
    unequal size.

    Args:
        shared: Sum over processes; false where only one of them evaluates.
    """

    full_state_update = False
    higher_is_better = False

    examples: Tensor
    entropy: Tensor
    wrong: Tensor
    averaged_examples: Tensor
    averaged_entropy: Tensor
    averaged_wrong: Tensor
    scores: Tensor
    size: Tensor
    turned_scores: Tensor
    spread: Tensor

    def __init__(self, *, shared: bool = True) -> None:
        super().__init__(sync_on_compute=shared)
        for name in ClassificationErrors.__annotations__:
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(name, default=zero, dist_reduce_fx="sum")

    def update(
        self,
        logits: Float[Tensor, "example class"],
        labels: Int[Tensor, " example"],
        turned: Float[Tensor, "turn example class"] | None = None,
    ) -> None:
        """Add one batch.

        Args:
            logits: Scores, up to a constant an example the logarithms of probabilities.
            labels: True classes.
            turned: Scores of the same examples, turned in some ways.
        """
        logits = logits.detach().double()
        self.examples += labels.numel()
        self.entropy += cross_entropy(logits, labels, reduction="sum")
        self.wrong += (logits.argmax(dim=-1) != labels).sum()
        if turned is not None:
            turned = turned.detach().double()
            mean = turned.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(turned))
            self.averaged_examples += labels.numel()
            self.averaged_entropy += nll_loss(mean, labels, reduction="sum")
            self.averaged_wrong += (mean.argmax(dim=-1) != labels).sum()
            # A constant on all classes means nothing.
            logits = logits - logits.mean(dim=-1, keepdim=True)
            turned = turned - turned.mean(dim=-1, keepdim=True)
            self.scores += logits.numel()
            self.size += logits.square().sum()
            self.turned_scores += turned.numel()
            self.spread += (turned - logits).square().sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the errors by name, in the units of :data:`UNITS`, and the loss.

        ``averaged`` refers to the mean of the probabilities over the turned examples;
        ``equivariance_error`` is the root mean square change of a score when its example is turned,
        over the root mean square score, scores less their mean over the classes.
        """
        entropy = self.entropy / self.examples
        error = 100 * self.wrong / self.examples
        errors = {
            "cross_entropy": entropy,
            "loss": entropy,
            "accuracy": 100 - error,
            "error": error,
        }
        if bool(self.turned_scores > 0):
            errors["cross_entropy_averaged"] = self.averaged_entropy / self.averaged_examples
            errors["error_averaged"] = 100 * self.averaged_wrong / self.averaged_examples
            change = self.spread / self.turned_scores
            errors["equivariance_error"] = (change / (self.size / self.scores)).sqrt()
        return errors
