"""Lightning task that trains the classification of graphs."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from equinet.arguments import Count
from equinet.errors import ConfigError, DataError
from equinet.evaluation import CLASS_ERRORS, ClassificationErrors, Error, refuse_not_finite
from equinet.lie import random_rotations
from equinet.training.processes import mean_over_processes
from equinet.training.tasks.rotations import rotate_graphs
from equinet.training.tasks.task import Evaluation, Task


class ClassificationTask(Task):
    """Trains ``model(graph)["scalars"]``, one score for each class and graph, on ``graph.y``.

    The loss is the cross entropy. Every graph is rotated at random in training. In validation and
    tests the scores are also computed for some rotations of every graph: the mean of their
    probabilities is the averaged prediction, and the change of the scores is the equivariance
    error, which random rotations in training do not hide.

    Args:
        model: Network that returns ``scalars`` [G, classes], see :class:`Task`.
        optimizer: Function of parameter groups that builds the optimizer, see :class:`Task`.
        rotations: Number of rotations of each graph in validation and tests.

    Raises:
        ConfigError: The number of rotations is below 1.

    Source: Bekkers et al. (ICLR 2024), §5.3, for superpixels.

    Example:
        >>> from functools import partial
        >>> from equinet.models import Ponita
        >>> model = Ponita(in_scalars=1, out_scalars=10, channels=8, layers=1, level="graph")
        >>> task = ClassificationTask(model=model, optimizer=partial(torch.optim.Adam, lr=0.01))
        >>> task.units["accuracy"]
        '%'
    """

    ops: ClassVar[tuple[str, ...]] = ("orientation_convolution",)
    declared: tuple[Error, ...] = CLASS_ERRORS

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        rotations: Count = 4,
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
        """Compute the scores of every graph.

        Args:
            graph: Batch of graphs.
        """
        scores: Tensor = self.model(graph)["scalars"]
        return scores

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one batch whose graphs are rotated at random."""
        graph = rotate_graphs(graph, random_rotations(graph.num_graphs, graph.pos.shape[-1]))
        scores = self(graph)
        self.train_errors.update(scores, graph.y)
        # The mean count makes the mean over processes of gradients that of the joint batch.
        (count,) = mean_over_processes([float(graph.num_graphs)], self.device)
        loss: Tensor = cross_entropy(scores, graph.y, reduction="sum") / count
        return self.finish_step(
            loss,
            graph,
            batch_idx,
            count=graph.num_graphs,
            errors={"cross_entropy": loss.detach()},
            predicted={"scores": scores},
        )

    def validation_step(self, graph: Any, batch_idx: int) -> None:
        """Add the errors of one validation batch."""
        self._measure(graph, cast("ClassificationErrors", self.val_errors), seed=batch_idx)

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Compute the scores of all batches, single and averaged over rotations."""
        self.to(device).eval()
        errors = ClassificationErrors(shared=False).to(device)
        graphs = 0
        with torch.no_grad():
            for index, batch in enumerate(loader):
                graph = batch.to(device)
                predicted = {"scores": self._measure(graph, errors, seed=index)}
                refuse_not_finite(predicted, None, loader=loader, before=graphs)
                graphs += graph.num_graphs
        values = {name: float(value) for name, value in errors.compute().items() if name != "loss"}
        return Evaluation(graphs, values)

    def check_data(self, *sets: Any) -> None:
        """Refuse graphs without a class."""
        if any("y" not in each[0] for each in sets):
            raise DataError(
                "the graphs have no class y, which task=classification predicts; choose "
                "data=superpixel_mnist"
            )

    def _measure(
        self, graph: Any, errors: ClassificationErrors, seed: int
    ) -> Float[Tensor, "graph class"]:
        """Add the errors of one batch under the same rotations in every validation."""
        generator = torch.Generator().manual_seed(seed)
        rotated = []
        for _ in range(self.rotations):
            rotations = random_rotations(graph.num_graphs, graph.pos.shape[-1], generator=generator)
            rotated.append(self(rotate_graphs(graph, rotations)))
        scores: Tensor = self(graph)
        errors.update(scores, graph.y, torch.stack(rotated))
        return scores
