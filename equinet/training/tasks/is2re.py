"""Lightning task of OC20's IS2RE: energies of relaxed structures from the initial ones."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.errors import ConfigError
from equinet.evaluation import Error, Parity, refuse_not_finite
from equinet.evaluation.oc20 import IS2RE_ERRORS, RelaxedEnergyErrors
from equinet.training.processes import mean_over_processes
from equinet.training.tasks.task import Evaluation, Task, refuse_mixed_labels


class RelaxedEnergyTask(Task):
    """Trains ``model(graph) -> {"energy"}`` on the mean absolute error of energies.

    The graph is that of the initial structure, its ``energy`` that of the relaxed one.

    Args:
        model: Potential whose forces are the gradient of its energy, so that energies train all of
            its parameters. The forces themselves are not used.
        optimizer: Function of parameter groups that builds the optimizer, see
            :class:`equinet.training.Task`.

    Source: Chanussot et al., ACS Catal. 11, 6059 (2021).

    Example:
        >>> from functools import partial
        >>> from equinet import zoo
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> task = RelaxedEnergyTask(model=model, optimizer=partial(torch.optim.Adam, lr=0.001))
        >>> task.units["ewt"]
        '%'
    """

    declared: tuple[Error, ...] = IS2RE_ERRORS

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
    ) -> None:
        super().__init__(
            model=model,
            optimizer=optimizer,
            train_errors=RelaxedEnergyErrors(),
            val_errors=RelaxedEnergyErrors(),
        )

    def forward(self, graph: Any) -> Float[Tensor, " graph"]:
        """Predict energies of relaxed structures, eV.

        Args:
            graph: Batch of initial structures.
        """
        energy: Tensor = self.model(graph, forces=False)["energy"]
        return energy

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one batch; the progress bar shows it in meV."""
        energy = self(graph)
        off = (energy.double() - graph.energy.double()).abs()
        # The mean count makes the mean over processes of gradients that of the joint batch.
        (count,) = mean_over_processes([float(off.numel())], self.device)
        loss = off.sum() / count
        self.train_errors.update(energy, graph.energy)
        return self.finish_step(
            loss,
            graph,
            batch_idx,
            count=off.numel(),
            errors={"energy_mae": 1000 * off.detach().mean()},
            predicted={"energy": energy},
        )

    def validation_step(self, graph: Any, batch_idx: int) -> None:
        """Add the errors of one validation batch."""
        self.val_errors.update(self(graph), graph.energy)

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Predict the energies of all batches."""
        model = self.model.to(device).eval()
        errors = RelaxedEnergyErrors(shared=False).to(device)
        found, true, count = [], [], 0
        with torch.no_grad():
            for graph in loader:
                moved = graph.to(device)
                energy = model(moved, forces=False)["energy"]
                refuse_not_finite({"energy": energy}, None, loader=loader, before=count)
                count += len(energy)
                errors.update(energy, moved.energy)
                found.append(energy.double().cpu())
                true.append(moved.energy.double().cpu())
        values = {name: float(value) for name, value in errors.compute().items() if name != "loss"}
        pair = torch.cat(true).numpy(), torch.cat(found).numpy()
        parity = Parity("energy of the relaxed structure (eV)", *pair)
        return Evaluation(len(pair[0]), values, (parity,))

    def check_data(self, *sets: Any) -> None:
        """Refuse missing labels, and a model with parameters that only forces train."""
        refuse_mixed_labels(*sets)
        if not getattr(self.model, "conservative", True):
            raise ConfigError(
                f"this {type(self.model).__name__} has direct forces, which energies alone do not "
                "train; set model.forces=gradient"
            )

    def next_step(self, run: str, data: Any) -> str:
        """Return the command that evaluates the run on all splits."""
        stores = "STORES" if getattr(data, "root", None) is None else data.root
        return f"python -m equinet oc20 evaluate {run} {stores} --task is2re"
