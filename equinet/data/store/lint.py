"""Check labeled frames for errors that would spoil a training."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from equinet.data.atoms import Frame, neighbor_list, structure_key
from equinet.data.store.records import Record, Refusal
from equinet.data.survey import Survey, suspicions
from equinet.errors import ConfigError, DataError

_REMEMBERED = 2_000_000  # frames that are compared with later ones, half a gigabyte of checksums
_SURVEYED = 1000  # frames that are compared with one another
_NAMED = 10  # largest number of frames or values that one sentence names


@dataclass
class Lint:
    """Checker of records, which remembers them to find repetitions.

    Attributes:
        largest_force: Norm of a force above which a frame is reported, eV/Å.
        closest: Distance of two atoms below which a frame is reported, Å.
        frames: Number of frames checked so far.
        findings: Number of findings so far.

    Raises:
        ConfigError: ``largest_force`` or ``closest`` is not a finite number above zero.

    Example:
        >>> import numpy as np
        >>> from equinet.data import Frame
        >>> from equinet.data.store import Record
        >>> pair = Frame(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.3]]), np.zeros((3, 3)),
        ...              np.zeros(3, dtype=bool), -31.0, np.eye(3)[:2], source="pair")
        >>> list(Lint().look([Record(pair, 1)]))
        ['pair: atoms 0 and 1 are 0.30 Å apart, below 0.5 Å']
    """

    largest_force: float = 50.0
    closest: float = 0.5
    frames: int = 0
    findings: int = 0
    _seen: dict[bytes, str] = field(default_factory=dict)
    _ids: dict[tuple[int, int], str] = field(default_factory=dict)
    _unlabeled: dict[str, list[str]] = field(default_factory=dict)
    _unread: set[str] = field(default_factory=set)
    _sample: list[Frame] = field(default_factory=list)
    _held_forces: bool = False
    _held_atoms: bool = False

    def __post_init__(self) -> None:
        for name, value in (("largest_force", self.largest_force), ("closest", self.closest)):
            if not 0 < value < math.inf:
                raise ConfigError(f"{name} must be a finite number above 0, found {value}")

    def look(self, records: Iterable[Record | Refusal]) -> Iterator[str]:
        """Check records one by one.

        Args:
            records: Records and refusals, as the readers yield them.

        Yields:
            One sentence for every finding, with the frame, the problem and the value.
        """
        for record in records:
            if isinstance(record, Refusal):
                self.findings += 1
                yield record.reason
                continue
            self.frames += 1
            for finding in self._of(record):
                self.findings += 1
                yield f"{record.frame.source}: {finding}"

    def conclude(self) -> Iterator[str]:
        """Yield the findings that concern all frames together."""
        if self.frames > _REMEMBERED:
            yield f"repetitions were looked for among the first {_REMEMBERED} frames only"
        for label, sources in self._unlabeled.items():
            self.findings += 1
            if len(sources) == self.frames:
                yield f"no frame has a label {label}{self._hint()}"
                continue
            shown = "; ".join(sources[:_NAMED])
            more = f" and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
            yield (
                f"{len(sources)} of {self.frames} frames have no label {label}{self._hint()}: "
                f"{shown}{more}"
            )
        # Large forces and close atoms are named one by one.
        for kind, sentence in suspicions(Survey.of(self._sample)).items():
            if kind not in {"large forces", "close atoms"}:
                self.findings += 1
                yield sentence
        if self._held_atoms and not self._held_forces:
            self.findings += 1
            yield (
                "the forces on all fixed atoms are exactly zero, as if a constraint had been "
                "applied when they were written; leave those atoms out of the loss"
            )

    def _hint(self) -> str:
        if not self._unread:
            return ""
        names = ", ".join(sorted(self._unread)[:_NAMED])
        return f", but there are {names} (--energy-key, --forces-key and --stress-key name labels)"

    def _of(self, record: Record) -> Iterator[str]:
        frame = record.frame
        if len(self._sample) < _SURVEYED and record.relaxed_energy is None:
            self._sample.append(frame)
        self._unread.update(frame.unread)
        if record.relaxed_energy is None:  # IS2RE has no other label
            for label in ("energy", "forces"):
                # By symmetry there is no force on a single atom.
                if getattr(frame, label) is None and (label == "energy" or len(frame) > 1):
                    self._unlabeled.setdefault(label, []).append(frame.source)
        if frame.forces is not None:
            yield from self._large_forces(frame)
            if frame.fixed is not None and frame.fixed.any():
                self._held_atoms = True
                self._held_forces |= bool(frame.forces[frame.fixed].any())
        yield from self._close_atoms(frame)
        if frame.fixed is not None and frame.fixed.all():
            yield "every atom is fixed, so nothing can be learned from its forces"
        if frame.tags is not None and frame.fixed is not None:
            odd = np.flatnonzero((frame.tags == 0) != frame.fixed)
            if odd.size:
                yield f"tag 0 and the fixed atoms differ at {odd.size} atoms, first {odd[0]}"
        yield from self._repeated(record)

    def _large_forces(self, frame: Frame) -> Iterator[str]:
        norms = np.linalg.norm(frame.forces, axis=1) if frame.forces is not None else np.zeros(1)
        atom = int(norms.argmax())
        if norms[atom] > self.largest_force:
            yield (
                f"a force of {norms[atom]:.1f} eV/Å on atom {atom}, "
                f"beyond {self.largest_force:g} eV/Å"
            )

    def _close_atoms(self, frame: Frame) -> Iterator[str]:
        try:
            edge_index, shift = neighbor_list(frame.positions, frame.cell, frame.pbc, self.closest)
        except DataError as error:
            yield str(error)
            return
        if edge_index.shape[1]:
            sender, receiver = edge_index
            vectors = frame.positions[sender] - frame.positions[receiver] + shift @ frame.cell
            distances = np.linalg.norm(vectors, axis=1)
            pair = int(distances.argmin())
            yield (
                f"atoms {receiver[pair]} and {sender[pair]} are {distances[pair]:.2f} Å apart, "
                f"below {self.closest:g} Å"
            )

    def _repeated(self, record: Record) -> Iterator[str]:
        frame = record.frame
        if len(self._seen) >= _REMEMBERED:
            return
        if record.system >= 0 and record.step >= 0:
            first = self._ids.setdefault((record.system, record.step), frame.source)
            if first != frame.source:
                yield f"the ids {record.system}, {record.step} are those of {first} too"
        first = self._seen.setdefault(structure_key(frame), frame.source)
        if first != frame.source:
            yield f"the same structure as {first}"
