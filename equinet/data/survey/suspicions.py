"""What is implausible about a set of structures, one sentence each."""

import math
from collections.abc import Sequence
from typing import get_args

from equinet.data.atoms import EV_PER, ForcesUnit, Frame, Units, structure_key
from equinet.data.survey.measure import Survey

_STIFFNESS = 34.0  # eV/Å², of bonds from H to C, N or O in molecules at 300 to 1200 K
_LIKE = 0.03  # relative difference of total energies that points to a unit
_LARGE_RMS = 15.0  # eV/Å
_LARGE_FORCE = 50.0  # eV/Å
_TIGHT, _LOOSE = 0.5, 1.35  # times the covalent distance
_NM = 0.25
_SURE = 0.8  # correlation beyond which energies and forces are held against one another
_PULLED = 0.4  # correlation of forces with the lengths of bonds
_FACTOR = 4.0  # between stiffnesses, beyond which units are doubted
_NEAR = 0.5  # difference of logarithms within which a unit fits
_NAMED = 3


def suspicions(survey: Survey, units: Units | None = None) -> dict[str, str]:
    """Say what is implausible about a set.

    Args:
        survey: Description of the set.
        units: Units that were chosen for its file; None for Å and eV.

    Returns:
        A sentence for each finding (the numbers, what they point to, and the option that mends it)
        under ``length``, ``close atoms``, ``forces``, ``energy``, ``sign``, ``strays`` or
        ``large forces``; the second and the last two are about single frames.

    Example:
        >>> survey = Survey(1, 1, {"H2O": 1}, {"forces": 1}, force_rms=24.0)
        >>> suspicions(survey)["forces"].partition(";")[0]
        'force components have RMS 24 eV/Å, as if they were in kcal/mol/angstrom'
    """
    units = units or Units()
    unit = _energy_unit(survey) if units.are_own else ""
    length = _length(survey, units)
    found = {
        "length": length,
        "close atoms": "" if length else _close_atoms(survey, units),
        "forces": "" if length else _forces(survey, units, unit),
        "energy": _energy(survey, unit),
        "sign": _sign(survey),
        "strays": _strays(survey),
        "large forces": _large_forces(survey),
    }
    return {kind: sentence for kind, sentence in found.items() if sentence}


def repeated(frames: Sequence[Frame], known: set[bytes] | None = None) -> tuple[int, str]:
    """Count the frames whose structure is that of an earlier frame, or of another set.

    Args:
        frames: Frames to look at.
        known: Keys of the structures of the other set, see :func:`structure_key`; None compares
            the frames with one another.

    Returns:
        Number of these frames, and the name of the first; empty where there is none.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> water = frame_from_atoms(molecule("H2O"), source="water")
        >>> repeated([water, water]), repeated([water], {structure_key(water)})
        ((1, 'water'), (1, 'water'))
    """
    seen: set[bytes] = set()
    count, first = 0, ""
    for frame in frames:
        key = structure_key(frame)
        if key in (seen if known is None else known):
            count += 1
            first = first or frame.source
        seen.add(key)
    return count, first


def _energy_unit(survey: Survey) -> str:
    """Name the unit in which the energies would be those of the free atoms; empty for eV."""
    ratio = survey.energy_ratio
    if ratio is None or ratio <= 0:
        return ""
    fitting = [unit for unit, factor in EV_PER.items() if abs(ratio * factor - 1) < _LIKE]
    return fitting[0] if fitting and fitting[0] != "eV" else ""


def _length(survey: Survey, units: Units) -> str:
    near = survey.distances
    if near is None:
        return ""
    unit = ""
    if near.least > _LOOSE and not near.only_noble:
        unit = "bohr"
    elif near.least > 0 and near.most < _NM:
        unit = "nm"
    if unit and units.length == "angstrom":
        return (
            f"nearest atoms are {near.least:.2f} to {near.most:.2f} of their covalent distance "
            f"apart, as if positions were in {unit}; if so, write data.length_unit={unit}"
        )
    return ""


def _close_atoms(survey: Survey, units: Units) -> str:
    near = survey.distances
    if near is None or near.least >= _TIGHT:
        return ""
    return (
        f"{near.place}: two atoms are at {near.least:.2f} of their covalent distance; check the "
        f"positions and data.length_unit={units.length}"
    )


def _energy(survey: Survey, unit: str) -> str:
    if not unit or survey.energy_ratio is None:
        return ""
    return (
        f"energies are {survey.energy_ratio:.3g} times those of the free atoms, as if they were in "
        f"{unit}; if so, write data.energy_unit={unit}"
    )


def _forces(survey: Survey, units: Units, energy: str) -> str:
    """Compare forces with the stiffness of bonds, else with the energies or with what is usual."""
    stiffness = None if survey.bonds is None else survey.bonds.stiffness
    if stiffness is not None and _is_off(stiffness):
        return (
            f"by their forces, bonds to hydrogen have a stiffness of {abs(stiffness):.3g} eV/Å², "
            f"where about {_STIFFNESS:g} is usual; {_advice(abs(stiffness), units, energy)}"
        )
    found = survey.agreement
    if found is not None and found.correlation > _SURE and not 0.4 < found.slope < 2.5:
        return (
            f"from frame to frame the energies change by {found.slope:.3g} times the work of the "
            "forces, as if both had different units; see data.energy_unit and data.forces_unit"
        )
    if stiffness is None and survey.force_rms is not None and survey.force_rms > _LARGE_RMS:
        return (
            f"force components have RMS {survey.force_rms:.3g} eV/Å, as if they were in "
            "kcal/mol/angstrom; if so, write data.energy_unit=kcal/mol or "
            "data.forces_unit=kcal/mol/angstrom"
        )
    return ""


def _is_off(stiffness: float) -> bool:
    return not _STIFFNESS / _FACTOR < abs(stiffness) < _STIFFNESS * _FACTOR


def _advice(stiffness: float, units: Units, energy: str) -> str:
    """Name the units of force in which the stiffness of bonds would be the usual one."""
    fitting = [
        unit
        for unit in get_args(ForcesUnit)
        if abs(math.log(stiffness * Units(forces=unit).force_factor / _STIFFNESS)) < _NEAR
    ]
    if not units.are_own or not fitting:
        return f"check the units, now {units.describe()}"
    if f"{energy}/angstrom" in fitting:
        return f"they fit {energy}/angstrom, like the energies"
    return f"if they are in {' or '.join(fitting)}, write data.forces_unit={fitting[0]}"


def _sign(survey: Survey) -> str:
    bonds, along = survey.bonds, survey.agreement
    cure = "so they are gradients or have the wrong sign; write the negative gradient as forces"
    if along is not None and along.correlation < -_SURE:
        return (
            f"energies rise along the forces (correlation {along.correlation:.2f} over "
            f"{along.pairs} pairs of frames), {cure}"
        )
    if bonds is not None and bonds.correlation > _PULLED:
        return (
            f"forces pull short bonds together (correlation {bonds.correlation:.2f} over "
            f"{bonds.bonds} bonds), {cure}"
        )
    return ""


def _strays(survey: Survey) -> str:
    if not survey.strays:
        return ""
    shown = ", ".join(
        f"{source} ({deviation:+.3g} eV/atom)"
        for source, deviation in list(survey.strays.items())[:_NAMED]
    )
    more = len(survey.strays) - _NAMED
    return (
        f"energies far from all others, without larger forces: {shown}"
        + (f" and {more} more" if more > 0 else "")
        + "; correct these frames or leave them out"
    )


def _large_forces(survey: Survey) -> str:
    if survey.largest_force is None or survey.largest_force <= _LARGE_FORCE:
        return ""
    return (
        f"the largest force is {survey.largest_force:.4g} eV/Å; `equinet data lint` names the "
        f"frames with forces beyond {_LARGE_FORCE:g} eV/Å"
    )
