"""Lightning task that trains the prediction of future positions of particles."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.arguments import Count
from equinet.errors import ConfigError, DataError
from equinet.evaluation import Error, Parity, SummedErrors, refuse_not_finite
from equinet.lie import random_rotations
from equinet.training.processes import mean_over_processes
from equinet.training.tasks.rotations import rotate_back, rotate_graphs
from equinet.training.tasks.task import Evaluation, Task

_BOTH = ("train", "val")

POSITION_ERRORS: tuple[Error, ...] = (
    Error("loss", of="error", measure="square", splits=_BOTH),
    Error(
        "mse",
        "MSE",
        of="error",
        measure="square",
        digits=5,
        word="MSE",
        log=".5f",
        curve="MSE of the positions",
        splits=_BOTH,
    ),
    Error(
        "mse_averaged",
        "averaged",
        of="averaged_error",
        measure="square",
        digits=5,
        word="averaged",
        log=".5f",
    ),
    Error(
        "equivariance_error",
        "equivariance",
        of="change",
        measure="root",
        over="displacement",
        digits=5,
        word="equivariance error",
        log=".1e",
        curve="relative equivariance error",
    ),
)
"""Errors of predicted positions, in the order of ``metrics.csv``; lengths in the data's unit."""


class PositionErrors(SummedErrors):
    """Mean squared errors of displacements, and how much displacements change under rotations.

    ``mse`` is also the ``loss``; ``mse_averaged`` refers to the mean over the rotated graphs;
    ``equivariance_error`` is the root mean square change of a displacement when its graph is
    rotated, divided by the root mean square displacement.

    Args:
        shared: Whether sums are added up over processes; False where only one of them evaluates.

    Example:
        >>> errors = PositionErrors()
        >>> errors.update(torch.ones(2, 3), torch.zeros(2, 3))
        >>> float(errors.compute()["mse"])
        1.0
    """

    declared: tuple[Error, ...] = POSITION_ERRORS

    def update(
        self,
        predicted: Float[Tensor, "node n"],
        true: Float[Tensor, "node n"],
        rotated: Float[Tensor, "rotation node n"] | None = None,
    ) -> None:
        """Add one batch.

        Args:
            predicted: Predicted displacements [N, n], in the unit of the data.
            true: True displacements [N, n], in the unit of the data.
            rotated: Displacements predicted for rotated graphs and rotated back [R, N, n], one row
                for each rotation; None where they are not computed.
        """
        predicted, true = predicted.detach().double(), true.detach().double()
        self.add(error=predicted - true, displacement=predicted)
        if rotated is not None:
            rotated = rotated.detach().double()
            self.add(averaged_error=rotated.mean(dim=0) - true, change=rotated - predicted)


class PositionTask(Task):
    """Trains ``pos + model(graph)["vectors"][:, 0]`` on ``graph.future_pos``.

    The loss is the mean squared error over all components. Every graph is rotated at random in
    training. In validation and tests the displacements are also predicted for some rotations of
    every graph and rotated back: their mean is the averaged prediction, and their distance from the
    prediction without rotation is the equivariance error, which random rotations in training do not
    hide.

    Args:
        model: Network that returns ``vectors`` [N, 1, n], see :class:`Task`.
        optimizer: Function of parameter groups that builds the optimizer, see :class:`Task`.
        rotations: Number of rotations of each graph in validation and tests.

    Raises:
        ConfigError: The number of rotations is below 1.

    Source: Satorras, Hoogeboom, Welling (ICML 2021) for the loss; Bekkers et al. (ICLR 2024) for
    rotations in training and averaging in tests.

    Example:
        >>> from functools import partial
        >>> from equinet.models import Ponita
        >>> model = Ponita(in_scalars=1, out_scalars=0, out_vectors=1, channels=8, layers=1)
        >>> task = PositionTask(model=model, optimizer=partial(torch.optim.Adam, lr=0.01))
        >>> task.column("mse")
        'mse'
    """

    ops: ClassVar[tuple[str, ...]] = ("orientation_convolution",)
    declared: tuple[Error, ...] = POSITION_ERRORS

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        rotations: Count = 5,
    ) -> None:
        super().__init__(
            model=model,
            optimizer=optimizer,
            train_errors=PositionErrors(),
            val_errors=PositionErrors(),
        )
        if rotations < 1:
            raise ConfigError(f"task.rotations must be at least 1, got {rotations}")
        self.rotations = rotations

    def forward(self, graph: Any) -> Float[Tensor, "node n"]:
        """Predict the displacement of every node.

        Args:
            graph: Batch of graphs.
        """
        displacements: Tensor = self.model(graph)["vectors"][:, 0]
        return displacements

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one batch whose graphs are rotated at random."""
        graph = rotate_graphs(graph, random_rotations(graph.num_graphs, graph.pos.shape[-1]))
        predicted, true = self(graph), graph.future_pos - graph.pos
        self.train_errors.update(predicted, true)
        # The mean count makes the mean over processes of gradients that of the joint batch.
        (components,) = mean_over_processes([float(true.numel())], self.device)
        loss: Tensor = (predicted - true).square().sum() / components
        return self.finish_step(
            loss,
            graph,
            batch_idx,
            count=graph.num_graphs,
            errors={"mse": loss.detach()},
            predicted={"displacements": predicted},
        )

    def validation_step(self, graph: Any, batch_idx: int) -> None:
        """Add the errors of one validation batch."""
        self._measure(graph, self.val_errors, seed=batch_idx)

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Predict the displacements of all batches, single and averaged over rotations."""
        self.to(device).eval()
        errors = PositionErrors(shared=False).to(device)
        graphs, found, given = 0, [], []
        with torch.no_grad():
            for index, batch in enumerate(loader):
                graph = batch.to(device)
                found.append(self._measure(graph, errors, seed=index))
                predicted = {"displacements": found[-1]}
                refuse_not_finite(predicted, graph.batch, loader=loader, before=graphs)
                given.append(graph.future_pos - graph.pos)
                graphs += graph.num_graphs
        values = {name: float(value) for name, value in errors.compute().items() if name != "loss"}
        pair = (torch.cat(parts).cpu().numpy().ravel() for parts in (given, found))
        return Evaluation(graphs, values, (Parity("displacement component", *pair),))

    def check_data(self, *sets: Any) -> None:
        """Refuse graphs without future positions."""
        if any("future_pos" not in each[0] for each in sets):
            raise DataError(
                "the graphs have no future_pos, which task=position predicts; choose data=nbody"
            )

    def _measure(self, graph: Any, errors: SummedErrors, seed: int) -> Float[Tensor, "node n"]:
        """Add the errors of one batch under the same rotations in every validation."""
        generator = torch.Generator().manual_seed(seed)
        predicted = self(graph)
        rotated = []
        for _ in range(self.rotations):
            rotations = random_rotations(graph.num_graphs, graph.pos.shape[-1], generator=generator)
            rotated.append(rotate_back(self(rotate_graphs(graph, rotations)), graph, rotations))
        errors.update(predicted, graph.future_pos - graph.pos, torch.stack(rotated))
        return predicted
