"""Lines about the sets of a task: what they are, and what is implausible."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from equinet.data.atoms import Frame, Units, structure_key
from equinet.data.survey.measure import Survey
from equinet.data.survey.suspicions import repeated, suspicions

_COMPARED = 50_000  # frames of a set, up to which repetitions are looked for
# Training and validation frames are often of one file, so that one sentence is enough.
_SAID_ONCE = ("length", "forces", "energy", "sign", "large forces")


@dataclass(frozen=True)
class Remark:
    """Line about data.

    Attributes:
        text: Line to print.
        is_loud: Whether it says that something is implausible.

    Example:
        >>> Remark("60 structures").is_loud
        False
    """

    text: str
    is_loud: bool = False


def report(sets: Mapping[str, Sequence[Frame]], units: Units | None = None) -> Iterator[Remark]:
    """Describe sets of structures, and say what is implausible about each.

    Args:
        sets: Frames by name of the set; the first one is described, and is that of training where
            there are several.
        units: Units of the files, which have been converted; None for Å and eV.

    Yields:
        Lines in the order in which they are to be read.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> water = [frame_from_atoms(molecule("H2O"))]
        >>> [each.text for each in report({"training set": water, "test set": water})][-1]
        'SUSPECT  test set: 1 of 1 structures are training structures, first frame'
    """
    first = next(iter(sets))
    said: set[str] = set()
    known: set[bytes] = set()
    if units is not None and not units.are_own:
        yield Remark(f"Data     read as {units.describe()}, and converted into eV and Å")
    for name, frames in sets.items():
        survey = Survey.of(frames)
        if name == first:
            lines = survey.lines()
            yield Remark(f"Data     {name}: {lines[0]}")
            yield from (Remark(f"         {line}") for line in lines[1:])
        elif not all(survey.labels.get(label) == survey.seen for label in ("energy", "forces")):
            yield Remark(f"         {name}: {'; '.join(survey.lines()[:2])}")
        for kind, sentence in suspicions(survey, units).items():
            if kind not in said or kind not in _SAID_ONCE:
                yield Remark(f"SUSPECT  {name}: {sentence}", is_loud=True)
            said.add(kind)
        if len(frames) <= _COMPARED:
            yield from _repetitions(name, frames, known)
        if name == first and len(frames) <= _COMPARED:
            known = {structure_key(frame) for frame in frames}


def _repetitions(name: str, frames: Sequence[Frame], known: set[bytes]) -> Iterator[Remark]:
    """Say how many structures of a set are there twice, and how many are in that of training."""
    for others, what in ((None, "repeat earlier ones"), (known, "are training structures")):
        count, place = repeated(frames, others)
        if count:
            total = len(frames)
            text = f"SUSPECT  {name}: {count} of {total} structures {what}, first {place}"
            yield Remark(text, is_loud=True)
