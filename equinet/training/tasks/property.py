"""Lightning task that trains the prediction of properties of molecules."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.data import PropertyScale
from equinet.errors import ConfigError, DataError
from equinet.evaluation import Parity, PropertyErrors, property_errors, refuse_not_finite
from equinet.lie import random_rotations
from equinet.models import Model, PropertyModel
from equinet.training.processes import mean_over_processes
from equinet.training.tasks.rotations import rotate_graphs
from equinet.training.tasks.task import Evaluation, Task

_PENALTIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "absolute": torch.abs,
    "squared": torch.square,
    "huber": lambda error: nn.functional.huber_loss(
        error, torch.zeros_like(error), reduction="none", delta=0.1
    ),
}


class PropertyTask(Task):
    """Trains a network on properties of molecules or of their atoms.

    The network becomes a :class:`equinet.models.PropertyModel`, whose references and scales are
    fitted to the training set. The loss is the mean over the properties of the mean penalty of
    their errors, divided by the deviation of each property from its fit. Every molecule is rotated
    at random in training, and its vectors and tensors with it.

    Args:
        model: Network that returns scalars and vectors of the nodes, or a potential, see
            :class:`equinet.models.PropertyModel`.
        optimizer: Function of parameter groups that builds the optimizer, see :class:`Task`.
        elements: Atomic numbers that the data contain.
        scales: Properties to predict, with their fits to the training set.
        loss: Penalty of an error in units of the deviation: ``absolute``, ``squared``, or
            ``huber``, which is squared below a tenth of the deviation.

    Raises:
        ConfigError: There are no properties, or the network has other outputs.

    Example:
        >>> from functools import partial
        >>> import numpy as np
        >>> from equinet.data import Property
        >>> from equinet.models import Ponita
        >>> network = Ponita(in_scalars=2, out_scalars=1, channels=8, layers=1)
        >>> gap = PropertyScale(Property("gap", "eV", "mean", "gap"), np.zeros(2), 1.0, 1.0)
        >>> task = PropertyTask(model=network, optimizer=partial(torch.optim.Adam, lr=0.01),
        ...                     elements=[1, 8], scales=[gap])
        >>> task.units["gap_mae"]
        'meV'
    """

    model: PropertyModel

    def __init__(
        self,
        *,
        model: Model,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        elements: Sequence[int],
        scales: Sequence[PropertyScale],
        loss: Literal["absolute", "squared", "huber"] = "absolute",
    ) -> None:
        if not scales:
            raise ConfigError("task=property needs properties to learn; choose data.target=NAME")
        properties = [
            {
                "name": each.property.name,
                "unit": each.property.unit,
                "pooling": each.property.pooling,
                "references": each.references.tolist(),
                "scale": each.scale,
            }
            for each in scales
        ]
        whole = PropertyModel.of(model, elements=elements, properties=properties)
        super().__init__(
            model=whole,
            optimizer=optimizer,
            train_errors=PropertyErrors(whole.units),
            val_errors=PropertyErrors(whole.units),
        )
        self.declare(property_errors(whole.units))
        self.scales = tuple(scales)
        self.loss = loss

    def forward(self, graph: Any) -> dict[str, Tensor]:
        """Predict the properties of a batch.

        Args:
            graph: Batch of molecules.
        """
        found: dict[str, Tensor] = self.model(graph)
        return found

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one batch whose molecules are rotated at random."""
        rotations = random_rotations(graph.num_graphs, 3)
        predicted = self(rotate_graphs(graph, rotations))
        residuals = self._residuals(predicted, graph, rotations)
        penalties = self._penalties(residuals)
        self.train_errors.update(residuals, penalties)
        # Mean counts make the mean over processes of gradients that of the joint batch.
        own_counts = [float(each.numel()) for each in penalties.values()]
        counts = mean_over_processes(own_counts, self.device)
        parts = [each.sum() / count for each, count in zip(penalties.values(), counts, strict=True)]
        first = self.scales[0].property
        values = residuals[first.name].detach().abs().mean()
        return self.finish_step(
            torch.stack(parts).mean().float(),
            graph,
            batch_idx,
            count=graph.num_graphs,
            errors={f"{first.name}_mae": values * self._declaration(f"{first.name}_mae").scale},
            predicted=predicted,
        )

    def validation_step(self, graph: Any, batch_idx: int) -> None:
        """Add the errors of one validation batch."""
        residuals = self._residuals(self(graph), graph)
        self.val_errors.update(residuals, self._penalties(residuals))

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Predict the properties of all batches."""
        self.to(device).eval()
        errors = PropertyErrors(self.model.units, shared=False).to(device)
        graphs = 0
        pairs: dict[str, tuple[list[Tensor], list[Tensor]]] = {
            each.property.name: ([], []) for each in self.scales
        }
        with torch.no_grad():
            for batch in loader:
                graph = batch.to(device)
                predicted = self(graph)
                refuse_not_finite(predicted, graph.batch, loader=loader, before=graphs)
                residuals = self._residuals(predicted, graph)
                errors.update(residuals, self._penalties(residuals))
                graphs += graph.num_graphs
                for name, (true, found) in pairs.items():
                    found.append(predicted[name].flatten().cpu())
                    true.append((predicted[name] - residuals[name]).flatten().cpu())
        values = {name: float(value) for name, value in errors.compute().items() if name != "loss"}
        panels = tuple(
            Parity(
                f"{each.property.name} ({each.property.unit})",
                *(torch.cat(parts).numpy() for parts in pairs[each.property.name]),
            )
            for each in self.scales
        )
        return Evaluation(graphs, values, panels)

    def check_data(self, *sets: Any) -> None:
        """Refuse molecules without the values of a property."""
        for each in self.scales:
            if any(each.property.field not in graphs[0] for graphs in sets):
                raise DataError(
                    f"the molecules have no {each.property.field}, which task=property predicts; "
                    f"choose data=qm9 data.target={each.property.name}"
                )

    def _residuals(
        self, predicted: Mapping[str, Tensor], graph: Any, rotations: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Subtract the true values, rotated like the molecules they belong to."""
        found = {}
        for each in (scale.property for scale in self.scales):
            true = graph[each.field].double()
            if rotations is not None and each.pooling in {"vector", "tensor"}:
                turns = rotations.to(true)
                true = torch.einsum("gij,gj...->gi...", turns, true)
                if each.pooling == "tensor":
                    true = true @ turns.mT
            found[each.name] = predicted[each.name] - true
        return found

    def _penalties(self, residuals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the penalties of the errors, relative to the deviation of each property."""
        penalty = _PENALTIES[self.loss]
        return {
            each.property.name: penalty(residuals[each.property.name] / each.deviation)
            for each in self.scales
        }
