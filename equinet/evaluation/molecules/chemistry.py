"""Molecules as RDKit understands them: validity, names, rings.

Source: Hoogeboom et al. (ICML 2022), §5, for validity and uniqueness of generated molecules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from equinet.errors import BackendError


def rdkit_library() -> ModuleType:
    """Import RDKit, silenced.

    Raises:
        BackendError: RDKit is not installed.

    Example:
        >>> rdkit_library().__name__
        'rdkit.Chem'
    """
    try:
        from rdkit import Chem, RDLogger
    except ImportError as error:
        raise BackendError(
            "rdkit is not installed, which validity and SDF files need; "
            "pip install '.[molecules]' in the clone"
        ) from error
    log: Any = RDLogger
    log.DisableLog("rdApp.*")
    module: ModuleType = Chem
    return module


@dataclass(frozen=True)
class Chemistry:
    """Assessment of one molecule by RDKit.

    Attributes:
        is_valid: Whether valences and aromaticity are possible.
        is_connected: Whether all atoms belong to one molecule.
        key: InChIKey of the largest fragment; None for an invalid molecule.
        rings: Sizes of the rings.

    Example:
        >>> Chemistry(is_valid=False, is_connected=True, key=None, rings=(6,)).rings
        (6,)
    """

    is_valid: bool
    is_connected: bool
    key: str | None
    rings: tuple[int, ...]


def to_rdkit(
    numbers: Int[np.ndarray, " atom"],
    orders: Int[np.ndarray, "atom atom"],
    positions: Float[np.ndarray, "atom 3"] | None = None,
) -> Any:
    """Return a molecule of RDKit, not sanitized.

    Args:
        numbers: Atomic numbers of the atoms.
        orders: Orders of the bonds, see :func:`equinet.evaluation.molecules.bond_orders`.
        positions: Positions of the atoms, Å; None for a molecule without positions.

    Raises:
        BackendError: RDKit is not installed.

    Example:
        >>> to_rdkit(np.array([1, 1]), np.array([[0, 1], [1, 0]])).GetNumBonds()
        1
    """
    Chem: Any = rdkit_library()
    types = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
    made = Chem.RWMol()
    for number in numbers.tolist():
        made.AddAtom(Chem.Atom(number))
    for first, second in zip(*np.nonzero(np.triu(orders)), strict=True):
        made.AddBond(int(first), int(second), types[orders[first, second] - 1])
    if positions is not None:
        conformer = Chem.Conformer(len(numbers))
        conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
        made.AddConformer(conformer)
    return made.GetMol()


def assess(numbers: Int[np.ndarray, " atom"], orders: Int[np.ndarray, "atom atom"]) -> Chemistry:
    """Let RDKit assess a molecule.

    A molecule is valid if RDKit can sanitize it. As in published figures, missing bonds are filled
    up with hydrogen, and of a molecule that falls apart the largest part gives the name.

    Args:
        numbers: Atomic numbers of the atoms.
        orders: Orders of the bonds, see :func:`equinet.evaluation.molecules.bond_orders`.

    Raises:
        BackendError: RDKit is not installed.

    Example:
        >>> assess(np.array([1, 1]), np.array([[0, 1], [1, 0]])).key
        'UFHFLCQGNIYNRP-UHFFFAOYSA-N'
    """
    Chem: Any = rdkit_library()
    made = to_rdkit(numbers, orders)
    Chem.FastFindRings(made)
    rings = tuple(len(ring) for ring in Chem.GetSymmSSSR(made))
    fragments = Chem.GetMolFrags(made)
    try:
        Chem.SanitizeMol(made)
        parts = Chem.GetMolFrags(made, asMols=True)
        largest = max(parts, key=lambda part: part.GetNumAtoms())
        key = Chem.MolToInchiKey(largest)
    except ValueError:
        return Chemistry(False, len(fragments) == 1, None, rings)
    return Chemistry(True, len(fragments) == 1, key or None, rings)


def inchi_keys(texts: Sequence[str]) -> set[str]:
    """Return the InChIKeys of molecules.

    Args:
        texts: InChI of the molecules.

    Raises:
        BackendError: RDKit is not installed.

    Example:
        >>> inchi_keys(["InChI=1S/H2/h1H"])
        {'UFHFLCQGNIYNRP-UHFFFAOYSA-N'}
    """
    Chem: Any = rdkit_library()
    return {Chem.InchiToInchiKey(text) for text in texts}
