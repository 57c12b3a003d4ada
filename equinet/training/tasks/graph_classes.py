"""The Lightning task of telling to which class a graph belongs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import Metric

from equinet.errors import ConfigError, DataError
from equinet.evaluation import COLUMNS, CURVES, SHOWN, TABLE, UNITS, ClassificationErrors, lay_out
from equinet.training.processes import mean_over_processes
from equinet.training.tasks.rotations import random_rotations, turn_graphs
from equinet.training.tasks.task import Evaluation, Task


class ClassificationTask(Task):
    """Trains ``model(graph)["scalars"]``, one score a class and graph, on ``graph.y``.

    The loss is the cross entropy. Every graph is turned at random in training. In validation and
    tests the scores are also computed for some rotations of every graph: the mean of their
    probabilities is the averaged prediction, and how much the scores change is the equivariance
    error, which the random rotation of training does not hide.

    Args:
        model: Returns ``scalars`` [G, classes]; see :class:`Task`.
        optimizer: See :class:`Task`.
        rotations: Number of rotations of each graph in validation and tests.

    Raises:
        ConfigError: There are no rotations.

    Source: Bekkers et al. (ICLR 2024), §5.3, for superpixels.
    """

    ops: ClassVar[tuple[str, ...]] = ("orientation_convolution",)
    units: ClassVar[Mapping[str, str]] = UNITS
    columns: ClassVar[tuple[str, ...]] = COLUMNS
    shown: ClassVar[Mapping[str, str]] = SHOWN
    curves: ClassVar[Mapping[str, str]] = CURVES

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        rotations: int = 4,
    ) -> None:
        super().__init__(
            model=model,
            optimizer=optimizer,
            train_errors=ClassificationErrors(),
            val_errors=ClassificationErrors(),
        )
        if rotations < 1:
            raise ConfigError(f"task.rotations must be at least 1, got {rotations}")
        self.rotations = rotations

    def forward(self, graph: Any) -> Float[Tensor, "graph class"]:
        """Compute the scores of every graph."""
        scores: Tensor = self.model(graph)["scalars"]
        return scores

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:  # noqa: ARG002
        """Return the loss of one batch whose graphs are turned at random."""
        graph = turn_graphs(graph, random_rotations(graph.num_graphs, graph.pos.shape[-1]))
        scores = self(graph)
        self.train_errors.update(scores, graph.y)
        # By the mean count, so that the mean over processes is the gradient of the joint batch.
        (count,) = mean_over_processes([float(graph.num_graphs)], self.device)
        loss: Tensor = cross_entropy(scores, graph.y, reduction="sum") / count
        self.log("train/loss", loss.detach(), batch_size=graph.num_graphs)
        shown = {"cross entropy": loss.detach()}
        self.log_dict(shown, prog_bar=True, logger=False, batch_size=graph.num_graphs)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=1)
        return loss

    def validation_step(self, graph: Any, batch_idx: int) -> None:
        """Add the errors of one validation batch."""
        self._measure(graph, self.val_errors, seed=batch_idx)

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Compute the scores of all batches, single and averaged over rotations."""
        self.to(device).eval()
        errors = ClassificationErrors(shared=False).to(device)
        graphs = 0
        with torch.no_grad():
            for index, batch in enumerate(loader):
                graph = batch.to(device)
                self._measure(graph, errors, seed=index)
                graphs += graph.num_graphs
        values = {name: float(value) for name, value in errors.compute().items() if name != "loss"}
        return Evaluation(graphs, values)

    def table(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Lay out the errors with their units."""
        return lay_out(rows, TABLE)

    def check_data(self, *sets: Any) -> None:
        """Refuse graphs without a class."""
        if any("y" not in each[0] for each in sets):
            raise DataError(
                "the graphs have no class y, which task=classification predicts; choose "
                "data=superpixel_mnist"
            )

    def _measure(self, graph: Any, errors: Metric, seed: int) -> None:
        """Add the errors of one batch under the same rotations in every validation."""
        generator = torch.Generator().manual_seed(seed)
        turned = []
        for _ in range(self.rotations):
            rotations = random_rotations(graph.num_graphs, graph.pos.shape[-1], generator=generator)
            turned.append(self(turn_graphs(graph, rotations)))
        errors.update(self(graph), graph.y, torch.stack(turned))
