"""The Lightning task of predicting where particles will be."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import Metric

from equinet.errors import ConfigError, DataError
from equinet.evaluation import Column, Parity, lay_out
from equinet.training.processes import mean_over_processes
from equinet.training.tasks.rotations import random_rotations, turn_back, turn_graphs
from equinet.training.tasks.task import Evaluation, Task


class PositionErrors(Metric):
    """Mean squared errors of displacements, and how far they are from turning with their graphs.

    Sums and counts over batches and processes, in float64: a mean of batch means would be wrong for
    batches of unequal size.

    Args:
        shared: Sum over processes; false where only one of them evaluates.
    """

    full_state_update = False
    higher_is_better = False

    components: Tensor
    square: Tensor
    size: Tensor
    averaged_square: Tensor
    turned_components: Tensor
    spread: Tensor

    def __init__(self, *, shared: bool = True) -> None:
        super().__init__(sync_on_compute=shared)
        for name in PositionErrors.__annotations__:
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(name, default=zero, dist_reduce_fx="sum")

    def update(
        self,
        predicted: Float[Tensor, "node n"],
        true: Float[Tensor, "node n"],
        turned: Float[Tensor, "rotation node n"] | None = None,
    ) -> None:
        """Add one batch.

        Args:
            predicted: Displacements.
            true: Likewise.
            turned: Displacements predicted for turned graphs and turned back.
        """
        predicted, true = predicted.detach().double(), true.detach().double()
        self.components += predicted.numel()
        self.square += (predicted - true).square().sum()
        self.size += predicted.square().sum()
        if turned is not None:
            turned = turned.detach().double()
            self.averaged_square += (turned.mean(dim=0) - true).square().sum()
            self.turned_components += turned.numel()
            self.spread += (turned - predicted).square().sum()

    def compute(self) -> dict[str, Tensor]:
        """Return ``mse``, ``loss`` (the same), ``mse_averaged`` and ``equivariance_error``.

        The last is the root mean square change of a displacement when its graph is turned, over the
        root mean square displacement.
        """
        mse = self.square / self.components
        errors = {"mse": mse, "loss": mse}
        if bool(self.turned_components > 0):
            errors["mse_averaged"] = self.averaged_square / self.components
            change = self.spread / self.turned_components
            errors["equivariance_error"] = (change / (self.size / self.components)).sqrt()
        return errors


class PositionTask(Task):
    """Trains ``pos + model(graph)["vectors"][:, 0]`` on ``graph.future_pos``.

    The loss is the mean squared error over all components. Every graph is turned at random in
    training. In validation and tests the displacements are also predicted for some rotations of
    every graph and turned back: their mean is the averaged prediction, and their distance from the
    single one is the equivariance error, which the random rotation of training does not hide.

    Args:
        model: Returns ``vectors`` [N, 1, n]; see :class:`Task`.
        optimizer: See :class:`Task`.
        rotations: Number of rotations of each graph in validation and tests.

    Raises:
        ConfigError: There are no rotations.

    Source: Satorras, Hoogeboom, Welling (ICML 2021) for the loss; Bekkers et al. (ICLR 2024) for
    rotations in training and averaging in tests.
    """

    ops: ClassVar[tuple[str, ...]] = ("orientation_convolution",)
    units: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("mse", "mse_averaged", "equivariance_error", "loss"), ""
    )
    columns: ClassVar[tuple[str, ...]] = (
        "train_loss",
        "train_mse",
        "val_loss",
        "val_mse",
        "val_mse_averaged",
        "val_equivariance_error",
    )
    shown: ClassVar[Mapping[str, str]] = {
        "mse": "MSE {:.5f}",
        "mse_averaged": "averaged {:.5f}",
        "equivariance_error": "equivariance error {:.1e}",
    }
    curves: ClassVar[Mapping[str, str]] = {
        "mse": "MSE of the positions",
        "equivariance_error": "relative equivariance error",
    }

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        rotations: int = 5,
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
        """Predict the displacement of every node."""
        displacements: Tensor = self.model(graph)["vectors"][:, 0]
        return displacements

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:  # noqa: ARG002
        """Return the loss of one batch whose graphs are turned at random."""
        graph = turn_graphs(graph, random_rotations(graph.num_graphs, graph.pos.shape[-1]))
        predicted, true = self(graph), graph.future_pos - graph.pos
        self.train_errors.update(predicted, true)
        # By the mean count, so that the mean over processes is the gradient of the joint batch.
        (components,) = mean_over_processes([float(true.numel())], self.device)
        loss: Tensor = (predicted - true).square().sum() / components
        self.log("train/loss", loss.detach(), batch_size=graph.num_graphs)
        shown = {"MSE": loss.detach()}
        self.log_dict(shown, prog_bar=True, logger=False, batch_size=graph.num_graphs)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=1)
        return loss

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
                given.append(graph.future_pos - graph.pos)
                graphs += graph.num_graphs
        values = {name: float(value) for name, value in errors.compute().items() if name != "loss"}
        true, predicted = (torch.cat(parts).cpu().numpy().ravel() for parts in (given, found))
        return Evaluation(graphs, values, (Parity("displacement component", true, predicted),))

    def table(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Lay out the errors; lengths are in the unit of the data."""
        columns = (
            Column("mse", "MSE", digits=5),
            Column("mse_averaged", "averaged", digits=5),
            Column("equivariance_error", "equivariance", digits=5),
        )
        return lay_out(rows, columns)

    def check_data(self, *sets: Any) -> None:
        """Refuse graphs without future positions."""
        if any("future_pos" not in each[0] for each in sets):
            raise DataError(
                "the graphs have no future_pos, which task=position predicts; choose data=nbody"
            )

    def _measure(self, graph: Any, errors: Metric, seed: int) -> Float[Tensor, "node n"]:
        """Add the errors of one batch under the same rotations in every validation."""
        generator = torch.Generator().manual_seed(seed)
        predicted = self(graph)
        turned = []
        for _ in range(self.rotations):
            rotations = random_rotations(graph.num_graphs, graph.pos.shape[-1], generator=generator)
            turned.append(turn_back(self(turn_graphs(graph, rotations)), graph, rotations))
        errors.update(predicted, graph.future_pos - graph.pos, torch.stack(turned))
        return predicted
