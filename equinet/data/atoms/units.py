"""Units of files, and their conversion into Å, eV, eV/Å and eV/Å³."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from equinet.arguments import check_choice
from equinet.data.atoms.fields import Frame

EnergyUnit = Literal["eV", "Hartree", "Rydberg", "kcal/mol", "kJ/mol"]
"""Unit of the energies in a file."""
LengthUnit = Literal["angstrom", "bohr", "nm"]
"""Unit of the positions and lattice vectors in a file."""
ForcesUnit = Literal[
    "eV/angstrom",
    "Hartree/bohr",
    "Hartree/angstrom",
    "Rydberg/bohr",
    "kcal/mol/angstrom",
    "kJ/mol/angstrom",
    "kJ/mol/nm",
]
"""Unit of the forces in a file."""

_JOULES = 1.602176634e-19
_AVOGADRO = 6.02214076e23

EV_PER: dict[str, float] = {
    "eV": 1.0,
    "Hartree": 27.211386245988,
    "Rydberg": 27.211386245988 / 2,
    "kcal/mol": 4184.0 / (_JOULES * _AVOGADRO),
    "kJ/mol": 1000.0 / (_JOULES * _AVOGADRO),
}
"""Number of eV in one of each unit of energy (CODATA 2018)."""

ANGSTROM_PER: dict[str, float] = {"angstrom": 1.0, "bohr": 0.529177210903, "nm": 10.0}
"""Number of Å in one of each unit of length (CODATA 2018)."""


@dataclass(frozen=True)
class Units:
    """Units of a file.

    Attributes:
        energy: Unit of the energies.
        length: Unit of the positions and lattice vectors.
        forces: Unit of the forces; None for the unit of energy per unit of length, in which the
            stress is measured in any case (energy per volume).

    Raises:
        ValueError: A unit is not among the choices.

    Example:
        >>> Units("Hartree", forces="Hartree/bohr").describe()
        'energies in Hartree, lengths in angstrom, forces in Hartree/bohr'
    """

    energy: EnergyUnit = "eV"
    length: LengthUnit = "angstrom"
    forces: ForcesUnit | None = None

    def __post_init__(self) -> None:
        check_choice("energy_unit", self.energy, get_args(EnergyUnit))
        check_choice("length_unit", self.length, get_args(LengthUnit))
        if self.forces is not None:
            check_choice("forces_unit", self.forces, get_args(ForcesUnit))

    @property
    def are_own(self) -> bool:
        """Whether nothing is converted."""
        return self == Units()

    @property
    def force_factor(self) -> float:
        """Number of eV/Å in one unit of force."""
        energy, length = self.energy, self.length
        if self.forces is not None:
            # A unit of energy may hold a slash itself, a unit of length does not.
            energy, _, length = self.forces.rpartition("/")  # type: ignore[assignment]  # parts of a Literal
        return EV_PER[energy] / ANGSTROM_PER[length]

    def describe(self) -> str:
        """Name the units in words."""
        forces = self.forces or f"{self.energy}/{self.length}"
        return f"energies in {self.energy}, lengths in {self.length}, forces in {forces}"

    def convert(self, frame: Frame) -> Frame:
        """Convert a frame in these units into Å, eV, eV/Å and eV/Å³.

        Args:
            frame: Frame with the numbers of the file; it is not changed.

        Example:
            >>> import numpy as np
            >>> one = Frame(np.ones(1, int), np.ones((1, 3)), np.eye(3), np.zeros(3, bool), -0.5)
            >>> round(Units("Hartree", "bohr").convert(one).energy, 3)
            -13.606
        """
        if self.are_own:
            return frame
        energy, length = EV_PER[self.energy], ANGSTROM_PER[self.length]
        return replace(
            frame,
            positions=frame.positions * length,
            cell=frame.cell * length,
            energy=None if frame.energy is None else frame.energy * energy,
            forces=None if frame.forces is None else frame.forces * self.force_factor,
            stress=None if frame.stress is None else frame.stress * (energy / length**3),
        )
