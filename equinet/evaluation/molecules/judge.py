"""Figures by which generated molecules are judged, and the table that shows them."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from scipy.stats import wasserstein_distance

from equinet.diffusion import Molecule
from equinet.errors import BackendError
from equinet.evaluation.errors import Error, tabulated
from equinet.evaluation.molecules.bond_table import bond_orders, stability
from equinet.evaluation.molecules.chemistry import Chemistry, assess, rdkit_library
from equinet.evaluation.molecules.geometry import (
    Values,
    bond_angles,
    bond_lengths,
    distance,
    merged,
)
from equinet.evaluation.molecules.published import GENERATED_QM9
from equinet.evaluation.tables import lay_out

MOLECULE_FIGURES: tuple[Error, ...] = (
    Error("atom_stability", "stable atoms", "%", 1),
    Error("molecule_stability", "stable", "%", 1),
    Error("validity", "valid", "%", 1),
    Error("uniqueness", "and unique", "%", 1),
    Error("novelty", "novel", "%", 1),
    Error("connectivity", "connected", "%", 1),
    Error("length_distance", "lengths", "Å", 4),
    Error("angle_distance", "angles", "°", 2),
    Error("ring_distance", "ring sizes", "", 3),
    Error("size_distance", "atoms", "", 3),
)
"""Figures of generated molecules.

``uniqueness`` is the fraction of all molecules that are valid and unlike those before, ``novelty``
the fraction of these that are not in the training set. The last four are Wasserstein distances from
the distributions in the data.
"""


@dataclass(frozen=True)
class Survey:
    """What some molecules are made of.

    Attributes:
        sizes: Number of atoms of each molecule.
        stable_atoms: Number of stable atoms of each molecule.
        stable: Whether each molecule is stable.
        lengths: Lengths of bonds, Å, by elements and order.
        angles: Angles of bonds, degrees, by elements.
        chemistry: Assessments by RDKit; None where it is not installed.

    Example:
        >>> one = np.array([1])
        >>> Survey(one, one, np.array([True]), {}, {}, None).rings
        []
    """

    sizes: Int[np.ndarray, " molecule"]
    stable_atoms: Int[np.ndarray, " molecule"]
    stable: Bool[np.ndarray, " molecule"]
    lengths: Values
    angles: Values
    chemistry: tuple[Chemistry, ...] | None

    @property
    def rings(self) -> list[int]:
        """Sizes of the rings of all molecules."""
        found = self.chemistry or ()
        return list(itertools.chain.from_iterable(each.rings for each in found))


def survey(molecules: Sequence[Molecule], after_each: Callable[[], object] | None = None) -> Survey:
    """Measure bonds, angles, stability and validity of molecules.

    Args:
        molecules: Molecules of hydrogen, carbon, nitrogen, oxygen and fluorine, at least one.
        after_each: Function that is called after each molecule, for a progress bar; None for none.

    Raises:
        DataError: An element has no bond lengths.

    Example:
        >>> found = survey([Molecule(np.array([1, 1]), np.array([[0.0, 0, 0], [0.74, 0, 0]]))])
        >>> found.stable.tolist(), found.lengths
        ([True], {'H-H': [0.74]})
    """
    try:
        rdkit_library()
        has_rdkit = True
    except BackendError:
        has_rdkit = False
    stabilities, lengths, angles, chemistry = [], [], [], []
    for each in molecules:
        orders = bond_orders(each.numbers, each.positions)
        stabilities.append(stability(each.numbers, orders))
        lengths.append(bond_lengths(each.numbers, each.positions, orders))
        angles.append(bond_angles(each.numbers, each.positions, orders))
        if has_rdkit:
            chemistry.append(assess(each.numbers, orders))
        if after_each is not None:
            after_each()
    return Survey(
        sizes=np.array([len(each.numbers) for each in molecules]),
        stable_atoms=np.array([int(each.atoms.sum()) for each in stabilities]),
        stable=np.array([each.molecule for each in stabilities]),
        lengths=merged(lengths),
        angles=merged(angles),
        chemistry=tuple(chemistry) if has_rdkit else None,
    )


def figures(
    found: Survey, expected: Survey | None = None, known: AbstractSet[str] | None = None
) -> dict[str, float]:
    """Compute the figures of generated molecules.

    Args:
        found: Survey of the generated molecules.
        expected: Survey of molecules of the data; None leaves out the distances from them.
        known: InChIKeys of the training set; None leaves out the novelty.

    Returns:
        Figures by name, see :data:`MOLECULE_FIGURES`, without those that cannot be computed.

    Example:
        >>> hydrogen = Molecule(np.array([1, 1]), np.array([[0.0, 0, 0], [0.74, 0, 0]]))
        >>> figures(survey([hydrogen]))["molecule_stability"]
        100.0
    """
    values = {
        "atom_stability": 100 * float(found.stable_atoms.sum() / found.sizes.sum()),
        "molecule_stability": 100 * float(found.stable.mean()),
    }
    if found.chemistry is not None:
        values |= _of_chemistry(found.chemistry, known)
    if expected is None:
        return values
    values["size_distance"] = float(wasserstein_distance(found.sizes, expected.sizes))
    distances = {
        "length_distance": distance(found.lengths, expected.lengths),
        "angle_distance": distance(found.angles, expected.angles),
        "ring_distance": distance({"ring": found.rings}, {"ring": expected.rings})
        if found.rings and expected.rings
        else None,
    }
    return values | {name: value for name, value in distances.items() if value is not None}


def _of_chemistry(found: Sequence[Chemistry], known: AbstractSet[str] | None) -> dict[str, float]:
    keys = Counter(each.key for each in found if each.key is not None)
    values = {
        "validity": 100 * sum(each.is_valid for each in found) / len(found),
        "connectivity": 100 * sum(each.is_connected for each in found) / len(found),
        "uniqueness": 100 * len(keys) / len(found),
    }
    if known is not None and keys:
        values["novelty"] = 100 * len(keys.keys() - known) / len(keys)
    return values


def molecule_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay out figures of generated molecules, and published ones below.

    Args:
        rows: Sets of molecules, each with ``name``, ``structures`` and figures by name.

    Example:
        >>> row = {"name": "samples", "structures": 5, "atom_stability": 91.25}
        >>> molecule_table([row]).splitlines()[2]
        'samples              5         91.2'
    """
    declared = tabulated(MOLECULE_FIGURES, rows)
    text = lay_out([*rows, *GENERATED_QM9], declared)
    lines = text.splitlines()
    published = lines[-len(GENERATED_QM9) :]
    return "\n".join([*lines[: -len(GENERATED_QM9)], "published:", *published])
