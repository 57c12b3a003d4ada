"""The structures of a set with the largest errors, ready to be drawn."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from equinet.elements import symbol
from equinet.evaluation.finite import source_of
from equinet.evaluation.predictions import Predictions

_SHOWN = 10  # structures of a set
_ATOMS = 400  # atoms that are drawn of a structure


@dataclass(frozen=True)
class Structure:
    """Structure with the errors of its atoms.

    Attributes:
        source: Name of the structure: its file and its place there.
        formula: Chemical formula of the structure.
        atoms: Number of atoms in the structure.
        value: Error by which it ranks.
        unit: Unit of the error by which it ranks: ``meV/Å`` for the RMSE of its force components,
            ``meV/atom`` for its energy where no force is known.
        energy: Predicted minus true energy, meV/atom; None where the true one is not known.
        numbers: Atomic numbers of the atoms that are drawn.
        positions: Positions of these atoms, Å.
        errors: Lengths of the force errors of these atoms, meV/Å; None for an atom whose force does
            not count.
        cell: Lattice vectors of a structure that is periodic in some direction, Å; else empty.
    """

    source: str
    formula: str
    atoms: int
    value: float
    unit: str
    energy: float | None
    numbers: Sequence[int]
    positions: Sequence[Sequence[float]]
    errors: Sequence[float | None]
    cell: Sequence[Sequence[float]]


def worst_structures(found: Predictions, loader: Any) -> tuple[Structure, ...]:
    """Return the ten structures with the largest force errors, the worst first.

    Structures are ranked by the errors of their energies if no force of the set is known.

    Args:
        found: Predictions of a potential on the set.
        loader: Loader of the set; without ``frames`` in its data set there are no structures.
    """
    frames = getattr(getattr(loader, "dataset", None), "frames", None)
    if frames is None:
        return ()
    energies = 1000 * (found.energy - found.true_energy) / found.atoms
    values, unit = found.per_structure, "meV/Å"
    if np.isnan(values).all():
        values, unit = np.abs(energies), "meV/atom"
    order = np.argsort(-np.where(np.isnan(values), -1, values), kind="stable")[:_SHOWN]
    starts = np.cumsum(found.atoms) - found.atoms
    chosen = []
    for index in (int(each) for each in order if not np.isnan(values[each])):
        frame = frames[index]
        own = slice(int(starts[index]), int(starts[index] + found.atoms[index]))
        errors = 1000 * np.linalg.norm(found.forces[own] - found.true_forces[own], axis=1)
        errors[~found.counted[own]] = np.nan
        drawn = _near_worst(frame.positions, errors)
        chosen.append(
            Structure(
                source=source_of(loader, index),
                formula=_formula(frame.numbers),
                atoms=len(frame.numbers),
                value=float(values[index]),
                unit=unit,
                energy=None if np.isnan(energies[index]) else float(energies[index]),
                numbers=tuple(frame.numbers[drawn].tolist()),
                positions=tuple(map(tuple, frame.positions[drawn].round(3).tolist())),
                errors=tuple(None if np.isnan(e) else round(float(e), 2) for e in errors[drawn]),
                cell=tuple(map(tuple, frame.cell.round(3).tolist())) if frame.pbc.any() else (),
            )
        )
    return tuple(chosen)


def _near_worst(positions: np.ndarray, errors: np.ndarray) -> Int[np.ndarray, " drawn"]:
    """Choose the atoms to draw: all, or those nearest to the atom with the largest error."""
    if len(positions) <= _ATOMS:
        return np.arange(len(positions))
    center = positions[int(np.nanargmax(errors))] if not np.isnan(errors).all() else positions[0]
    distances = np.linalg.norm(positions - center, axis=1)
    return np.sort(np.argsort(distances, kind="stable")[:_ATOMS])


def _formula(numbers: Int[np.ndarray, " atom"]) -> str:
    """Write a formula with carbon and hydrogen first, as Hill's system orders it."""
    counts = Counter(symbol(int(number)) for number in numbers)
    first = [name for name in ("C", "H") if "C" in counts and name in counts]
    names = [*first, *sorted(set(counts) - set(first))]
    return "".join(name + (str(counts[name]) if counts[name] > 1 else "") for name in names)
