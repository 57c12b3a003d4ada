"""Properties of molecules: name, unit, and how a property follows from values of the atoms."""

from dataclasses import dataclass
from typing import Literal

Pooling = Literal["sum", "mean", "extent", "norm", "vector", "tensor", "atoms"]
"""How a property of a molecule follows from values of its atoms, see :class:`Property`."""


@dataclass(frozen=True)
class Property:
    """Declaration of a property of molecules or of their atoms.

    Attributes:
        name: Name of the property, as typed for ``data.target``.
        unit: Unit of the values, such as ``eV``.
        pooling: Way in which it follows from values of the atoms: their ``sum``; their ``mean``;
            the ``extent``, a sum weighted by the squared distance from the center of the molecule;
            a dipole ``vector`` or its ``norm``; a symmetric ``tensor``; or the values of the
            ``atoms`` themselves.
        words: Description of the property in a few words.

    Example:
        >>> Property("gap", "eV", "mean", "gap between HOMO and LUMO").shape
        ()
    """

    name: str
    unit: str
    pooling: Pooling
    words: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value of one molecule, or of one atom for the pooling ``atoms``."""
        return {"vector": (3,), "tensor": (3, 3)}.get(self.pooling, ())

    @property
    def field(self) -> str:
        """Name of the field of a graph that holds the values."""
        return f"y_{self.name}"


QM9_PROPERTIES: tuple[Property, ...] = (
    Property("mu", "D", "norm", "norm of the dipole moment"),
    Property("alpha", "a0³", "sum", "isotropic polarizability"),
    Property("homo", "eV", "mean", "energy of the highest occupied orbital"),
    Property("lumo", "eV", "mean", "energy of the lowest unoccupied orbital"),
    Property("gap", "eV", "mean", "gap between HOMO and LUMO"),
    Property("r2", "a0²", "extent", "electronic spatial extent"),
    Property("zpve", "eV", "sum", "zero-point vibrational energy"),
    Property("U0", "eV", "sum", "energy at 0 K relative to free atoms"),
    Property("U", "eV", "sum", "energy at 298.15 K relative to free atoms"),
    Property("H", "eV", "sum", "enthalpy at 298.15 K relative to free atoms"),
    Property("G", "eV", "sum", "free energy at 298.15 K relative to free atoms"),
    Property("Cv", "cal/(mol K)", "sum", "heat capacity at 298.15 K"),
    Property("dipole_vector", "D", "vector", "dipole moment of the Mulliken charges"),
    Property("charges", "e", "atoms", "Mulliken charges"),
)
"""Properties in QM9: the twelve of its tables, then those with a direction or one per atom."""
