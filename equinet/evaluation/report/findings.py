"""What a report shows of one set, reduced to as many numbers as a page can show."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from equinet.elements import symbol
from equinet.evaluation.distribution import summarize
from equinet.evaluation.plots import Parity
from equinet.evaluation.predictions import Predictions
from equinet.evaluation.report.worst import Structure, worst_structures

_POINTS = 3000  # points of a parity plot
_WORST_POINTS = 100  # points with the largest errors among them
_PLACES = 300  # points of a trace
_EDGES = (0.1, 0.3, 1.0, 3.0, 10.0)  # eV/Å


@dataclass(frozen=True)
class Panel:
    """Predicted against true values of one quantity.

    Attributes:
        label: Name of the quantity, with its unit in parentheses.
        true: True values of the points that are drawn.
        predicted: Predicted values of these points.
        rmse: Root mean square error of all values, in the unit of the label.
        count: Number of all values.
    """

    label: str
    true: Sequence[float]
    predicted: Sequence[float]
    rmse: float
    count: int


@dataclass(frozen=True)
class Group:
    """Force errors of some atoms.

    Attributes:
        label: Name of what the atoms have in common.
        atoms: Number of atoms in the group.
        rmse: Root mean square error of their force components, meV/Å.
        mae: Mean absolute error of their force components, meV/Å.
    """

    label: str
    atoms: int
    rmse: float
    mae: float


@dataclass(frozen=True)
class Trace:
    """One error of the structures in the order of their file.

    Attributes:
        label: Name of the error.
        unit: Unit of the error.
        places: First structure of each point, from 0.
        means: Mean error of the structures of each point.
        lowest: Smallest error of the structures of each point.
        highest: Largest error of the structures of each point.
    """

    label: str
    unit: str
    places: Sequence[int]
    means: Sequence[float]
    lowest: Sequence[float]
    highest: Sequence[float]


@dataclass(frozen=True)
class Spread:
    """Percentiles of one error over the structures of a set.

    Attributes:
        label: Name of the error.
        unit: Unit of the error.
        median: Error that half of the structures exceed.
        percentile_90: Error that a tenth of the structures exceeds.
        percentile_99: Error that a hundredth of the structures exceeds.
        worst: Largest error of a structure.
        source: Name of the structure with the largest error.
    """

    label: str
    unit: str
    median: float
    percentile_90: float
    percentile_99: float
    worst: float
    source: str


@dataclass(frozen=True)
class Findings:
    """Content of a report on one set, apart from its errors.

    Attributes:
        name: Name of the set.
        panels: Parity plots of the set.
        elements: Force errors by element.
        sizes: Force errors by the length of the true force.
        traces: Errors in the order of the structures.
        spreads: Percentiles of errors over the structures.
        worst: Structures with the largest errors, the worst first.

    Example:
        >>> found = Findings.of("val", parity=[Parity("E (eV)", np.ones(2), np.zeros(2))])
        >>> found.panels[0].rmse, found.worst
        (1.0, ())
    """

    name: str
    panels: Sequence[Panel] = ()
    elements: Sequence[Group] = ()
    sizes: Sequence[Group] = ()
    traces: Sequence[Trace] = ()
    spreads: Sequence[Spread] = ()
    worst: Sequence[Structure] = ()

    @classmethod
    def of(
        cls,
        name: str,
        *,
        parity: Sequence[Parity],
        predictions: Predictions | None = None,
        loader: Any = None,
    ) -> "Findings":
        """Reduce the results of a set.

        Args:
            name: Name of the set.
            parity: True and predicted values of the set.
            predictions: Predictions of a potential on the set; None for another model.
            loader: Loader of the set, whose data set has the structures as ``frames``; None where
                there are no predictions of a potential.
        """
        panels = tuple(found for each in parity if (found := _panel(each)) is not None)
        if predictions is None:
            return cls(name, panels)
        errors = _per_structure(predictions)
        return cls(
            name,
            panels,
            *_groups(predictions),
            tuple(_trace(values, *what) for what, values in errors.items() if len(values) > 1),
            tuple(
                spread
                for what, values in errors.items()
                if (spread := _spread(np.abs(values), loader, *what)) is not None
            ),
            worst_structures(predictions, loader),
        )

    def plain(self) -> dict[str, Any]:
        """Return the findings as a JSON-ready mapping."""
        return asdict(self)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> "Findings":
        """Return the findings that :meth:`plain` wrote.

        Args:
            found: Mapping that was read from JSON.
        """
        return cls(
            found["name"],
            tuple(Panel(**each) for each in found["panels"]),
            tuple(Group(**each) for each in found["elements"]),
            tuple(Group(**each) for each in found["sizes"]),
            tuple(Trace(**each) for each in found["traces"]),
            tuple(Spread(**each) for each in found["spreads"]),
            tuple(Structure(**each) for each in found["worst"]),
        )


def _panel(given: Parity) -> Panel | None:
    """Choose the points to draw: some at equal distances, and those with the largest errors."""
    known = np.isfinite(given.true) & np.isfinite(given.predicted)
    true, predicted = given.true[known].astype(float), given.predicted[known].astype(float)
    if not true.size:
        return None
    errors = np.abs(predicted - true)
    shown = np.unique(np.linspace(0, true.size - 1, min(true.size, _POINTS)).astype(int))
    if true.size > _POINTS:
        shown = np.union1d(shown, np.argpartition(errors, -_WORST_POINTS)[-_WORST_POINTS:])
    return Panel(
        given.label,
        _rounded(true[shown]),
        _rounded(predicted[shown]),
        float(np.sqrt(np.square(errors).mean())),
        int(true.size),
    )


def _per_structure(found: Predictions) -> dict[tuple[str, str], Float[np.ndarray, " structure"]]:
    """Return the errors of single structures by name and unit, energies with their sign."""
    energies = 1000 * (found.energy - found.true_energy) / found.atoms
    errors = {("force RMSE", "meV/Å"): found.per_structure, ("energy error", "meV/atom"): energies}
    return {what: values for what, values in errors.items() if not np.isnan(values).all()}


def _groups(found: Predictions) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """Return the force errors by element and by the length of the true force."""
    counted = found.counted & ~np.isnan(found.true_forces).any(axis=1)
    true = found.true_forces[counted]
    if not len(true):
        return (), ()
    errors = 1000 * (found.forces[counted] - true)
    elements: tuple[Group, ...] = ()
    if found.numbers is not None:
        numbers = found.numbers[counted]
        elements = _grouped(errors, numbers, [symbol(each) for each in range(numbers.max() + 1)])
    lengths = np.linalg.norm(true, axis=1)
    ends = [f"{low:g} to {high:g}" for low, high in pairwise(_EDGES)]
    labels = [f"below {_EDGES[0]:g}", *ends, f"above {_EDGES[-1]:g}"]
    return elements, _grouped(errors, np.searchsorted(_EDGES, lengths), labels)


def _grouped(
    errors: Float[np.ndarray, "atom 3"], owners: Int[np.ndarray, " atom"], labels: Sequence[str]
) -> tuple[Group, ...]:
    counts = np.bincount(owners, minlength=len(labels))
    squares = np.bincount(owners, np.square(errors).mean(axis=1), minlength=len(labels))
    sizes = np.bincount(owners, np.abs(errors).mean(axis=1), minlength=len(labels))
    return tuple(
        Group(label, int(count), float(np.sqrt(square / count)), float(size / count))
        for label, count, square, size in zip(labels, counts, squares, sizes, strict=True)
        if count
    )


def _trace(values: Float[np.ndarray, " structure"], label: str, unit: str) -> Trace:
    """Average an error over neighboring structures until few enough points are left."""
    step = -(-len(values) // _PLACES)
    padded = np.full(step * -(-len(values) // step), np.nan)
    padded[: len(values)] = values
    rows = padded.reshape(-1, step)
    known: Bool[np.ndarray, " point"] = ~np.isnan(rows).all(axis=1)
    rows = rows[known]
    return Trace(
        label,
        unit,
        tuple((step * np.flatnonzero(known)).tolist()),
        _rounded(np.nanmean(rows, axis=1)),
        _rounded(np.nanmin(rows, axis=1)),
        _rounded(np.nanmax(rows, axis=1)),
    )


def _spread(
    values: Float[np.ndarray, " structure"], loader: Any, label: str, unit: str
) -> Spread | None:
    summary = summarize(values, loader)
    if summary is None:
        return None
    return Spread(
        label,
        unit,
        summary["median"],
        summary["percentile_90"],
        summary["percentile_99"],
        summary["worst"],
        summary["worst_source"],
    )


def _rounded(values: Float[np.ndarray, " value"]) -> tuple[float, ...]:
    """Round to six digits, which keeps the file small."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())
