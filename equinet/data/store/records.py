"""Output of the readers: frames with ids and reference energies, or reasons for refusal."""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from jaxtyping import Float64

from equinet.data.atoms import ANGSTROM_PER, EV_PER, Field, Frame, Units


@dataclass(frozen=True, eq=False)
class Record:
    """A frame with further values that some benchmarks have.

    Attributes:
        frame: Frame with its labels.
        number: Number of the frame in the file that it came from, from 1.
        system: OC20's system id (``sid``); -1 if there is none.
        step: OC20's frame id (``fid``) within the relaxation; -1 if there is none.
        reference_energy: Reference energy that was subtracted from the total energy, eV.
        relaxed_energy: Energy of the relaxed structure (IS2RE), eV.
        relaxed_positions: Positions in the relaxed structure (IS2RS), Å.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> record = Record(frame_from_atoms(molecule("CO")), number=1, system=17, step=0)
        >>> record.system, record.relaxed_energy is None
        (17, True)
    """

    frame: Frame
    number: Annotated[int, Field(12, "int32")]
    system: Annotated[int, Field(13, "int64")] = -1
    step: Annotated[int, Field(14, "int64")] = -1
    reference_energy: Annotated[float | None, Field(9, "float64", unit="eV")] = None
    relaxed_energy: Annotated[float | None, Field(10, "float64", unit="eV")] = None
    relaxed_positions: Annotated[
        Float64[np.ndarray, "atoms 3"] | None,
        Field(11, "coordinate", (3,), per_atom=True, unit="Å"),
    ] = None

    def converted(self, units: Units) -> "Record":
        """Convert a record in these units into Å, eV, eV/Å and eV/Å³.

        Args:
            units: Units of the numbers in this record.

        Example:
            >>> import numpy as np
            >>> frame = Frame(np.ones(1, int), np.ones((1, 3)), np.eye(3), np.zeros(3, bool))
            >>> Record(frame, 1, relaxed_energy=1.0).converted(Units("Rydberg")).relaxed_energy
            13.605693122994
        """
        energy, length = EV_PER[units.energy], ANGSTROM_PER[units.length]
        factors = {
            "reference_energy": energy,
            "relaxed_energy": energy,
            "relaxed_positions": length,
        }
        there = {name: getattr(self, name) for name in factors if getattr(self, name) is not None}
        scaled = {name: value * factors[name] for name, value in there.items()}
        return replace(self, frame=units.convert(self.frame), **scaled)


@dataclass(frozen=True)
class Refusal:
    """Report on a frame that cannot be used, or on the place where a file breaks off.

    Attributes:
        file: Path of the file as given.
        frame: Number of the frame in the file, from 1; None if the whole file is refused.
        reason: One sentence with the file, the frame and the reason.

    Example:
        >>> refusal = Refusal("water.xyz", 3, "water.xyz, frame 3: the frame has no atoms")
        >>> refusal.frame
        3
    """

    file: str
    frame: int | None
    reason: str
