"""Fits of properties by the composition of molecules, and the scale of what the fits leave."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from equinet.data.molecules.molecules import MoleculeGraphs
from equinet.data.molecules.properties import Property
from equinet.errors import DataError


@dataclass(frozen=True)
class PropertyScale:
    """Contribution of each element to a property, and size of what these contributions leave.

    Attributes:
        property: Property that was fitted.
        references: Contribution of an atom of each element, in the unit of the property; for
            ``extent`` in this unit by Å², for dipoles and their norm zero.
        deviation: Root mean square of a value without the contributions, in its unit.
        scale: Size of the values of atoms, in the unit of the contributions: for unit variance of
            independent values of atoms the deviation of the property is the observed one.

    Example:
        >>> from equinet.data.molecules.properties import QM9_PROPERTIES
        >>> PropertyScale(QM9_PROPERTIES[4], np.zeros(5), 1.3, 5.2).deviation
        1.3
    """

    property: Property
    references: Float64[np.ndarray, " element"]
    deviation: float
    scale: float


def fit_scale(graphs: MoleculeGraphs, fitted: Property) -> PropertyScale:
    """Fit the contributions of the elements to a property by least squares.

    Args:
        graphs: Molecules of the training set.
        fitted: Property of the molecules.

    Raises:
        DataError: A value is not finite, or all values equal their fit.

    Example:
        >>> from equinet.data.molecules.molecules import Molecules
        >>> from equinet.data.molecules.properties import QM9_PROPERTIES
        >>> numbers, places = np.array([1, 1, 8, 1, 1, 1], np.uint8), np.eye(6)[:, :3]
        >>> molecules = Molecules(numbers, places, np.array([0, 2, 5, 6]),
        ...                       {"U0": np.array([-4.0, -10.0, 1.0])})
        >>> graphs = MoleculeGraphs(molecules, np.arange(3), elements=[1, 8])
        >>> fit_scale(graphs, QM9_PROPERTIES[7]).references.round(1).tolist()
        [-1.4, -7.2]
    """
    values = graphs.of(fitted.name)
    is_finite = np.isfinite(values.reshape(len(values), -1)).all(1)
    if not is_finite.all():
        place = int(np.flatnonzero(~is_finite)[0])
        what = "atom" if fitted.pooling == "atoms" else "molecule"
        raise DataError(f"{graphs.name}: the {fitted.name} of {what} {place} is not finite")
    features, size = _features(graphs, fitted)
    if fitted.pooling in {"norm", "vector"}:
        references = np.zeros(len(graphs.elements))
        rest = values
    elif fitted.pooling == "tensor":
        references, *_ = np.linalg.lstsq(features, np.trace(values, axis1=1, axis2=2) / 3)
        rest = values - (features @ references)[:, None, None] * np.eye(3)
    else:
        references, *_ = np.linalg.lstsq(features, values)
        rest = values - features @ references
    deviation = float(np.sqrt(np.square(rest).mean()))
    if not deviation > 0:
        raise DataError(
            f"{graphs.name}: {fitted.name} is the same for all molecules of the same composition, "
            "so there is nothing to learn; give other molecules"
        )
    return PropertyScale(fitted, references, deviation, deviation / size)


def _features(
    graphs: MoleculeGraphs, fitted: Property
) -> tuple[Float64[np.ndarray, "value element"], float]:
    """Sum the weights of the atoms of each element, for each value.

    Returns:
        Sums of weights; and the root mean square over the molecules of the norm of all weights.
    """
    molecules = graphs.molecules
    atoms = molecules.atoms_of(graphs.chosen)
    counts = molecules.counts[graphs.chosen]
    elements = np.searchsorted(np.sort(graphs.elements), molecules.numbers[atoms])
    columns = np.argsort(graphs.elements)[elements]
    if fitted.pooling == "atoms":
        return np.eye(len(graphs.elements))[columns], 1.0
    owners = np.repeat(np.arange(len(counts)), counts)
    weights = np.ones(len(atoms))
    if fitted.pooling == "mean":
        weights = 1.0 / counts[owners]
    elif fitted.pooling in {"extent", "norm", "vector"}:
        places = molecules.positions[atoms]
        starts = counts.cumsum() - counts
        charges = molecules.numbers[atoms].astype(np.float64)[:, None]
        totals = np.add.reduceat(charges, starts)
        centers = np.add.reduceat(charges * places, starts) / totals
        weights = np.square(places - centers[owners]).sum(1)
    sums = np.zeros((len(counts), len(graphs.elements)))
    np.add.at(sums, (owners, columns), weights)
    # A dipole is a sum of charges times distances, so its weights are distances.
    total = weights if fitted.pooling in {"norm", "vector"} else np.square(weights)
    return sums, float(np.sqrt(total.sum() / len(counts)))
