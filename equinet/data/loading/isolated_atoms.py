"""Energies of isolated atoms, read from a file of their own or found among other frames."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from equinet.data.atoms import Frame, Units, neighbor_list, read_frames
from equinet.elements import symbol
from equinet.errors import DataError
from equinet.neighborhood import Neighborhood

_log = logging.getLogger(__name__)


def read_isolated_atoms(
    path: Path, *, energy_key: str | None = None, units: Units | None = None
) -> dict[int, float]:
    r"""Read the energies of isolated atoms.

    Args:
        path: File of frames that each have one atom and an energy.
        energy_key: Name of the energy in the file; None looks for common names.
        units: Units of the file, which are converted; None for Å and eV.

    Returns:
        Energies by atomic number, eV.

    Raises:
        DataError: A frame is not a single atom, has no energy, or repeats an element with another
            energy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "atoms.xyz")
        ...     _ = path.write_text("1\nenergy=-13.6\nH 0 0 0\n1\nenergy=-432.1\nO 0 0 0\n")
        ...     read_isolated_atoms(path)
        {1: -13.6, 8: -432.1}
    """
    energies: dict[int, float] = {}
    for frame in read_frames(path, energy_key=energy_key, labels_required=False, units=units):
        if len(frame) != 1 or frame.energy is None:
            raise DataError(f"{frame.source}: expected one isolated atom with an energy")
        element = int(frame.numbers[0])
        if energies.setdefault(element, frame.energy) != frame.energy:
            raise DataError(
                f"{frame.source}: atomic number {element} has a second energy; keep one frame for "
                "each element"
            )
    return energies


def split_off_atoms(
    frames: Sequence[Frame], neighborhood: Neighborhood
) -> tuple[list[Frame], dict[int, float] | None]:
    """Take isolated atoms with energies out of labeled frames.

    A frame is an isolated atom if it has one atom, an energy, and no neighbor within the cutoff;
    files mark such frames by ``config_type=IsolatedAtom``, which is not needed.

    Args:
        frames: Frames of a training file.
        neighborhood: Neighborhood of the graphs.

    Returns:
        The other frames, and the energies of the isolated atoms by atomic number, eV. Where some
        element of the other frames has none, all frames and None.

    Raises:
        DataError: Two frames of the same element have different energies.

    Example:
        >>> from dataclasses import replace
        >>> from ase import Atoms
        >>> from equinet.data import frame_from_atoms
        >>> atom, pair = (frame_from_atoms(Atoms(f, [[0, 0, z] for z in range(len(f))])) for f in
        ...               ("N", "NN"))
        >>> rest, energies = split_off_atoms([replace(atom, energy=-5.0), pair], Neighborhood(5.0))
        >>> len(rest), energies
        (1, {7: -5.0})
    """
    rest: list[Frame] = []
    energies: dict[int, float] = {}
    for frame in frames:
        if len(frame) > 1 or frame.energy is None or _has_neighbors(frame, neighborhood):
            rest.append(frame)
            continue
        element = int(frame.numbers[0])
        if energies.setdefault(element, frame.energy) != frame.energy:
            raise DataError(
                f"{frame.source}: an isolated atom of {symbol(element)} has {frame.energy:.6f} eV, "
                f"another one {energies[element]:.6f} eV; keep one of them"
            )
    if not energies:
        return rest, None
    needed = {int(z) for frame in rest for z in np.unique(frame.numbers)}
    without = ", ".join(symbol(z) for z in sorted(needed - set(energies)))
    if without:
        _log.warning(
            "SUSPECT  training set: isolated atoms of %s, but none of %s, so they are no reference "
            "energies but training frames; add the others",
            *(", ".join(symbol(z) for z in sorted(energies)), without),
        )
        return list(frames), None
    shown = ", ".join(f"{symbol(z)} {energy:.3f}" for z, energy in sorted(energies.items()))
    _log.info("Data     isolated atoms in the training file give reference energies, eV: %s", shown)
    return rest, energies


def _has_neighbors(frame: Frame, neighborhood: Neighborhood) -> bool:
    edges, _ = neighbor_list(
        frame.positions, frame.cell, frame.pbc, neighborhood, source=frame.source
    )
    return bool(edges.shape[1])
