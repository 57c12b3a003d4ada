"""Errors of a classification, and how much its scores change when its inputs are rotated."""

import math

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, nll_loss

from equinet.evaluation.errors import Error, SummedErrors

_BOTH = ("train", "val")

CLASS_ERRORS: tuple[Error, ...] = (
    Error("loss", of="entropy", splits=_BOTH),
    Error(
        "cross_entropy",
        "entropy",
        of="entropy",
        digits=4,
        word="cross entropy",
        log=".4f",
        curve="cross entropy",
        splits=_BOTH,
        rank=1,
    ),
    Error("cross_entropy_averaged", of="averaged_entropy"),
    Error("accuracy", "accuracy", "%", of="right"),
    Error(
        "error",
        "error",
        "%",
        of="wrong",
        word="error",
        log=".2f",
        curve="error",
        splits=_BOTH,
    ),
    Error("error_averaged", "averaged", "%", of="averaged_wrong", word="averaged", log=".2f"),
    Error(
        "equivariance_error",
        "equivariance",
        of="change",
        measure="root",
        over="score",
        digits=5,
        word="equivariance error",
        log=".1e",
        curve="relative equivariance error",
        rank=2,
    ),
)
"""Errors of a classification, in the order of ``metrics.csv``."""


class ClassificationErrors(SummedErrors):
    """Cross entropy, accuracy and error over a whole set, summed over batches and processes.

    ``averaged`` refers to the mean of the probabilities over the rotated examples;
    ``equivariance_error`` is the root mean square change of a score when its example is rotated,
    divided by the root mean square score, where the mean over the classes is subtracted from the
    scores.

    Args:
        shared: Whether sums are added up over processes; False where only one of them evaluates.

    Example:
        >>> import torch
        >>> errors = ClassificationErrors()
        >>> errors.update(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
        >>> float(errors.compute()["error"])
        50.0
    """

    declared: tuple[Error, ...] = CLASS_ERRORS

    def update(
        self,
        logits: Float[Tensor, "example class"],
        labels: Int[Tensor, " example"],
        rotated: Float[Tensor, "rotation example class"] | None = None,
    ) -> None:
        """Add one batch.

        Args:
            logits: Scores: logarithms of probabilities up to a constant for each example.
            labels: True class of each example.
            rotated: Scores of the rotated examples, one row for each rotation; None if they are not
                computed.
        """
        logits = logits.detach().double()
        wrong = logits.argmax(dim=-1) != labels
        entropy = cross_entropy(logits, labels, reduction="sum")
        self.add(entropy=(entropy, labels.numel()), wrong=wrong, right=~wrong)
        if rotated is not None:
            rotated = rotated.detach().double()
            mean = rotated.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(rotated))
            # Probabilities do not change if a constant is added to the scores of all classes.
            logits = logits - logits.mean(dim=-1, keepdim=True)
            rotated = rotated - rotated.mean(dim=-1, keepdim=True)
            self.add(
                averaged_entropy=(nll_loss(mean, labels, reduction="sum"), labels.numel()),
                averaged_wrong=mean.argmax(dim=-1) != labels,
                score=logits,
                change=rotated - logits,
            )
