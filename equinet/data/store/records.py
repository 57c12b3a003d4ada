"""What readers hand to the store: a frame with what belongs to it, or why there is none."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float64

from equinet.data.atoms import Field, Frame


@dataclass(frozen=True, eq=False)
class Record:
    """A frame, and what some benchmarks say of it beside.

    Attributes:
        frame: Frame with its labels.
        number: Its 1-based place in the file that it came from.
        system: OC20's system id (``sid``); -1 where there is none.
        step: OC20's frame id (``fid``) within the relaxation; -1 where there is none.
        reference_energy: What was subtracted from the total energy, eV.
        relaxed_energy: Energy of the relaxed structure (IS2RE), eV.
        relaxed_positions: Positions in the relaxed structure (IS2RS), Å.
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


@dataclass(frozen=True)
class Refusal:
    """A frame that cannot be used, or the place where a file breaks off.

    Attributes:
        file: The file, as it was called.
        frame: Its 1-based number there; None where the whole file is refused.
        reason: One sentence that names file, frame and reason.
    """

    file: str
    frame: int | None
    reason: str
