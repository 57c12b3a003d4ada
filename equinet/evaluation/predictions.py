"""Predictions on a whole set, their errors, and the table that shows them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import nn
from torchmetrics import Metric

from equinet.evaluation.plots import Parity
from equinet.evaluation.potential_errors import PotentialErrors
from equinet.evaluation.published import PublishedRow
from equinet.evaluation.residuals import residuals
from equinet.evaluation.tables import Column, lay_out


@dataclass(frozen=True)
class Predictions:
    """True and predicted labels of a set, in its order, and the errors between them.

    Attributes:
        energy: Predicted total energies, eV.
        true_energy: Labels, eV.
        atoms: Number of atoms of each structure.
        forces: Predicted forces of all atoms, structure after structure, eV/Å.
        true_forces: Labels, eV/Å.
        errors: By name, in the units of :data:`equinet.evaluation.potential_errors.UNITS`.
        energy_spread: Of a :class:`equinet.models.Committee`, for each structure, eV.
        forces_spread: Likewise, for each atom, eV/Å.
        familiar: Of a :class:`equinet.models.Fallback`, for each structure.
    """

    energy: Float[np.ndarray, " graph"]
    true_energy: Float[np.ndarray, " graph"]
    atoms: np.ndarray
    forces: Float[np.ndarray, "atom 3"]
    true_forces: Float[np.ndarray, "atom 3"]
    errors: dict[str, float]
    energy_spread: Float[np.ndarray, " graph"] | None = None
    forces_spread: Float[np.ndarray, " atom"] | None = None
    familiar: Bool[np.ndarray, " graph"] | None = None

    def split(self, of_atoms: Float[np.ndarray, "atom *rest"]) -> list[np.ndarray]:
        """Part what all atoms have, such as ``forces``, by structure."""
        return np.split(of_atoms, np.cumsum(self.atoms)[:-1])

    @property
    def parity(self) -> tuple[Parity, Parity]:
        """Energies per atom, relative to the mean of the true ones, and force components."""
        true, predicted = self.true_energy / self.atoms, self.energy / self.atoms
        center = float(true.mean()) if true.size else 0.0
        return (
            Parity("energy − mean (eV/atom)", true - center, predicted - center),
            Parity("force component (eV/Å)", self.true_forces.ravel(), self.forces.ravel()),
        )


def predict(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    device: torch.device | str = "cpu",
    free_atoms_only: bool = False,
    further: Metric | None = None,
) -> Predictions:
    """Evaluate a potential on every structure of a loader.

    Args:
        model: ``model(graph) -> {"energy", "forces"}``; it is moved to ``device`` and left in
            evaluation mode.
        loader: Batches with energies and forces; stresses are compared where they are there.
        device: Where to compute.
        free_atoms_only: Leave atoms marked ``fixed`` out of the force errors.
        further: Updated with every batch's results and the batch; its errors join the others, and
            stand for those of the same name.
    """
    model = model.to(device).eval()
    errors = PotentialErrors(shared=False).to(device)
    parts: dict[str, list[torch.Tensor]] = {
        name: [] for name in ("energy", "true_energy", "atoms", "forces", "true_forces")
    }
    for graph in loader:
        graph = graph.to(device)  # noqa: PLW2901
        wanted = "stress" in graph and getattr(model, "conservative", True)
        options = {"stress": True} if wanted else {}
        with torch.no_grad():  # a model that differentiates its energy turns gradients on itself
            results = {name: value.detach() for name, value in model(graph, **options).items()}
        batch_residuals = residuals(results, graph, free_atoms_only=free_atoms_only)
        errors.update(batch_residuals)
        if further is not None:
            further.to(device).update(results, graph)
        parts["energy"].append(results["energy"].double())
        parts["true_energy"].append(graph.energy)
        parts["atoms"].append(batch_residuals.atoms.long())
        parts["forces"].append(results["forces"].double())
        for name in ("energy_spread", "forces_spread"):
            if name in results:
                parts.setdefault(name, []).append(results[name].double())
        if "familiar" in results:
            parts.setdefault("familiar", []).append(results["familiar"])
        parts["true_forces"].append(graph.forces)
    arrays = {name: torch.cat(tensors).cpu().numpy() for name, tensors in parts.items()}
    computed = {**errors.compute(), **({} if further is None else further.compute())}
    found = {name: float(value) for name, value in computed.items() if name != "loss"}
    return Predictions(**arrays, errors=found)


def table(rows: Sequence[Mapping[str, Any]], published: Sequence[PublishedRow] = ()) -> str:
    """Lay out errors with their units, and published ones below.

    Args:
        rows: Each with ``name``, ``structures`` and the errors of :class:`Predictions`.
        published: To print beside them.

    Returns:
        Text of a few lines.
    """
    columns = [
        Column("energy_rmse", "E RMSE", "meV"),
        Column("energy_mae", "E MAE", "meV"),
        Column("energy_rmse_per_atom", "E RMSE/atom", "meV"),
        Column("forces_rmse", "F RMSE", "meV/Å"),
        Column("forces_mae", "F MAE", "meV/Å"),
    ]
    if any("stress_rmse" in row for row in rows):
        columns += [
            Column("stress_rmse", "S RMSE", "meV/Å³"),
            Column("stress_mae", "S MAE", "meV/Å³"),
        ]
    names = [str(row["name"]) for row in rows] + [row.model for row in published]
    width = max([len("set"), *map(len, names)])
    lines = [lay_out(rows, columns, width)]
    if published:
        lines.append("published, trained on train_300K:")
    for entry in published:
        blank = " " * 11
        lines.append(
            f"{entry.model:<{width}}  {'':>10}  {entry.energy_rmse:>11.2f}  {blank}  {blank}  "
            f"{entry.forces_rmse:>11.2f}  {blank}  {entry.source}".rstrip()
        )
    return "\n".join(lines)
