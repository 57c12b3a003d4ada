"""Predictions on a whole set, their errors, and the table that shows them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import nn
from torchmetrics import Metric

from equinet.evaluation.errors import tabulated
from equinet.evaluation.finite import refuse_not_finite
from equinet.evaluation.plots import Parity
from equinet.evaluation.potential_errors import POTENTIAL_ERRORS, PotentialErrors
from equinet.evaluation.published import PublishedRow
from equinet.evaluation.residuals import counted_atoms, labeled_structures, residuals
from equinet.evaluation.tables import lay_out
from equinet.models import fastest

_LABELS = ("energy", "forces")


@dataclass(frozen=True)
class Predictions:
    """True and predicted labels of a set, in its order, and the errors between them.

    Attributes:
        energy: Predicted total energies, eV.
        true_energy: True total energies, eV; NaN where there are none.
        atoms: Number of atoms of each structure.
        forces: Predicted forces of all atoms, structure after structure, eV/Å.
        true_forces: True forces of all atoms, eV/Å; NaN where there are none.
        counted: Whether the force on each atom counts in the errors.
        errors: Errors by name, in the units of
            :data:`~equinet.evaluation.potential_errors.POTENTIAL_ERRORS`.
        energy_spread: Spread of the energy of each structure over the members of a
            :class:`equinet.models.Committee`, eV; None for other models.
        forces_spread: Spread of the force on each atom over the members of a
            :class:`equinet.models.Committee`, eV/Å; None for other models.
        familiar: Whether a :class:`equinet.models.Fallback` knows each structure; None for other
            models.
        numbers: Atomic numbers of all atoms; None where they are not known.

    Example:
        >>> one = np.ones(1)
        >>> found = Predictions(one, 2 * one, np.array([1]), np.ones((1, 3)), np.zeros((1, 3)),
        ...     np.array([True]), {"energy_mae": 1000.0})
        >>> found.per_structure
        array([1000.])
    """

    energy: Float[np.ndarray, " graph"]
    true_energy: Float[np.ndarray, " graph"]
    atoms: np.ndarray
    forces: Float[np.ndarray, "atom 3"]
    true_forces: Float[np.ndarray, "atom 3"]
    counted: Bool[np.ndarray, " atom"]
    errors: dict[str, float]
    energy_spread: Float[np.ndarray, " graph"] | None = None
    forces_spread: Float[np.ndarray, " atom"] | None = None
    familiar: Bool[np.ndarray, " graph"] | None = None
    numbers: Int[np.ndarray, " atom"] | None = None

    def split(self, of_atoms: Float[np.ndarray, "atom *rest"]) -> list[np.ndarray]:
        """Split the values of all atoms by structure.

        Args:
            of_atoms: Values of all atoms [atoms, ...], such as ``forces``.
        """
        return np.split(of_atoms, np.cumsum(self.atoms)[:-1])

    @property
    def per_structure(self) -> Float[np.ndarray, " graph"]:
        """Force RMSE of each structure, meV/Å; NaN where none of its forces counts."""
        owners = np.repeat(np.arange(len(self.atoms)), self.atoms)[self.counted]
        squares = np.square(self.forces - self.true_forces)[self.counted].mean(axis=1)
        counts = np.bincount(owners, minlength=len(self.atoms))
        totals = np.bincount(owners, weights=squares, minlength=len(self.atoms))
        means = np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return 1000 * np.sqrt(means)

    @property
    def parity(self) -> tuple[Parity, ...]:
        """Energies per atom, relative to the mean of the true ones, and labeled forces."""
        pairs = []
        known = ~np.isnan(self.true_energy)
        if known.any():
            atoms = self.atoms[known]
            true, predicted = self.true_energy[known] / atoms, self.energy[known] / atoms
            center = float(true.mean())
            pairs.append(Parity("energy − mean (eV/atom)", true - center, predicted - center))
        known = ~np.isnan(self.true_forces)
        if known.any():
            true, predicted = self.true_forces[known], self.forces[known]
            pairs.append(Parity("force component (eV/Å)", true, predicted))
        return tuple(pairs)


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
        model: Potential, ``model(graph) -> {"energy", "forces"}``; it is moved to ``device`` and
            left in evaluation mode.
        loader: Loader of batches; energies, forces and stresses are compared where labeled.
        device: Device on which to compute.
        free_atoms_only: Whether atoms marked ``fixed`` are left out of the force errors.
        further: Metric that is updated with the results and the batch; its errors join the others
            and replace those of the same name. None adds nothing.

    Raises:
        EquinetError: An energy or a force is not finite; the first such structure is named.

    Example:
        >>> from equinet import zoo
        >>> from equinet.data import AtomicDataset, Frame, evaluation_loader
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> places, open_space = np.array([[0, 0, 0], [0, 0, 0.8]]), np.zeros(3, dtype=bool)
        >>> frame = Frame(np.array([1, 1]), places, np.zeros((3, 3)), open_space, energy=-27.0)
        >>> loader = evaluation_loader(AtomicDataset([frame], model.neighborhood), 1)
        >>> sorted(predict(model, loader).errors)[:2]
        ['energy_mae', 'energy_mae_per_atom']
    """
    model = model.to(device).eval()
    evaluate = fastest(model)
    errors = PotentialErrors(shared=False).to(device)
    parts: dict[str, list[torch.Tensor]] = {
        name: []
        for name in (
            *("energy", "true_energy", "atoms", "numbers"),
            *("forces", "true_forces", "counted"),
        )
    }
    before = 0
    for graph in loader:
        graph = graph.to(device)  # noqa: PLW2901 - the same batch elsewhere
        wanted = "stress" in graph and getattr(model, "conservative", True)
        options = {"stress": True} if wanted else {}
        with torch.no_grad():  # models that differentiate their energy enable gradients themselves
            results = {name: value.detach() for name, value in evaluate(graph, **options).items()}
        checked = {name: results[name] for name in ("energy", "forces")}
        refuse_not_finite(checked, graph.batch, loader=loader, before=before)
        before += len(results["energy"])
        batch_residuals = residuals(results, graph, free_atoms_only=free_atoms_only)
        errors.update(batch_residuals)
        if further is not None:
            further.to(device).update(results, graph)
        parts["energy"].append(results["energy"].double())
        parts["true_energy"].append(_true(graph, "energy", results["energy"]))
        batch = torch.zeros_like(graph.atomic_numbers) if graph.batch is None else graph.batch
        parts["atoms"].append(torch.bincount(batch, minlength=len(results["energy"])))
        parts["numbers"].append(graph.atomic_numbers)
        parts["forces"].append(results["forces"].double())
        for name in ("energy_spread", "forces_spread"):
            if name in results:
                parts.setdefault(name, []).append(results[name].double())
        if "familiar" in results:
            parts.setdefault("familiar", []).append(results["familiar"])
        parts["true_forces"].append(_true(graph, "forces", results["forces"]))
        parts["counted"].append(counted_atoms(graph, free_atoms_only=free_atoms_only))
    arrays = {name: torch.cat(tensors).cpu().numpy() for name, tensors in parts.items()}
    computed = {**errors.compute(), **({} if further is None else further.compute())}
    found = {name: float(value) for name, value in computed.items() if name != "loss"}
    return Predictions(**arrays, errors=found)


def _true(graph: Any, label: str, predicted: torch.Tensor) -> torch.Tensor:
    """Return the labels of a batch, NaN where there are none."""
    unknown = torch.full_like(predicted, torch.nan, dtype=torch.float64)
    if label not in graph:
        return unknown
    known = labeled_structures(graph, label)
    if known is None:
        return graph[label].double()
    mask = known[graph.batch][:, None] if label == "forces" else known
    return torch.where(mask, graph[label].double(), unknown)


def table(rows: Sequence[Mapping[str, Any]], published: Sequence[PublishedRow] = ()) -> str:
    """Lay out errors with their units, and published ones below.

    Args:
        rows: Sets, each with ``name``, ``structures`` and the errors of :class:`Predictions`.
        published: Published errors of the same set, printed below.

    Returns:
        Text of several lines, without a final line break.

    Example:
        >>> print(table([{"name": "val", "structures": 3, "energy_mae": 1.5}]))
        set  structures        E MAE
                                 meV
        val           3         1.50
    """
    errors = tabulated(POTENTIAL_ERRORS, rows)
    names = [str(row["name"]) for row in rows] + [row.model for row in published]
    width = max([len("set"), *map(len, names)])
    lines = [lay_out(rows, errors, width)]
    if published:
        lines.append(f"published, trained on {published[0].training}:")
    for entry in published:
        blank, (energy, forces) = " " * 11, (entry.errors[f"{name}_rmse"] for name in _LABELS)
        lines.append(
            f"{entry.model:<{width}}  {'':>10}  {energy:>11.2f}  {blank}  {blank}  "
            f"{forces:>11.2f}  {blank}  {entry.source}".rstrip()
        )
    return "\n".join(lines)
