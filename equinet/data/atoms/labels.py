"""Find labels in files by their names, and check their values."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from equinet.data.atoms.fields import LABELS
from equinet.errors import DataError

if TYPE_CHECKING:
    import ase

_log = logging.getLogger(__name__)

_LARGEST_WHOLE = 2.0**63
_LARGEST = 1e100  # squares and unit conversions of larger numbers overflow

_STRUCTURE = {"numbers", "positions", "tags", "initial_magmoms", "initial_charges", "unique_id"}


@dataclass(frozen=True)
class LabelKeys:
    """Names of the labels in a file.

    Attributes:
        energy: Name of the energy; None if there is no energy, or if its name has to be found.
        forces: Name of the forces; None if there are no forces, or if their name has to be found.
        stress: Name of the stress; None if there is no stress, or if its name has to be found.

    Example:
        >>> LabelKeys(energy="U0").forces is None
        True
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None


# Labels whose names cannot be given by an option.
_FURTHER = tuple(name for name in LABELS if name not in vars(LabelKeys()))


class LabelNames:
    """Finds the names of the labels in the frames of one file.

    A label must have the same name in all frames from the first one that has it. Frames before that
    one are left unlabeled; a later frame without the name is refused, so that no label is lost
    silently.

    Args:
        given: Names of labels that are known; None looks for common names of all labels.
        required: Whether frames without energy or forces are refused; otherwise frames may lack
            labels.
        forces_required: Whether frames without forces are refused; ``required=False`` overrules it.
        mixed: Whether frames may lack any label, also one that earlier frames have.
        settle: Whether a label must have the same name in all frames; otherwise names may differ
            between frames, as between the rows of a database.

    Example:
        >>> names = LabelNames(LabelKeys(energy="U0"), required=False)
        >>> names.choose({"U0": -76.4, "pos": None}, "frame 1").energy
        'U0'
    """

    def __init__(
        self,
        given: LabelKeys | None = None,
        *,
        required: bool = True,
        forces_required: bool = True,
        mixed: bool = False,
        settle: bool = True,
    ) -> None:
        self.given = given or LabelKeys()
        self.required = required and not mixed
        self.forces_required = self.required and forces_required
        self.mixed = mixed
        self.settle = settle
        self._settled: dict[str, str] = {}
        self._warned = False

    def choose(self, values: Mapping[str, Any], source: str, *, atoms: int = 2) -> LabelKeys:
        """Find the names of the labels of one frame.

        Args:
            values: All values of the frame by name.
            source: Name of the frame in errors and warnings.
            atoms: Number of atoms of the frame; if labels are not required, a single atom may lack
                forces that other frames have.

        Returns:
            The names of the labels that the frame has. A value that has a common name of the stress
            and cannot be a stress is left out, with one warning for each file.

        Raises:
            DataError: A label is missing (the message lists all names in the frame), or several
                names fit one label and have different values.
        """
        optional = self.mixed or (atoms == 1 and not self.required)
        energy = self._name("energy", values, source, required=self.required, optional=self.mixed)
        forces = self._name(
            "forces", values, source, required=self.forces_required, optional=optional
        )
        return LabelKeys(energy, forces, self._stress(values, source))

    def _name(
        self,
        kind: str,
        values: Mapping[str, Any],
        source: str,
        *,
        required: bool,
        optional: bool = False,
    ) -> str | None:
        given = getattr(self.given, kind)
        names = _fitting(kind, values) if given is None else [given]
        names = [name for name in names if name in values]
        expected = self._settled.get(kind) if given is None else given
        if names and expected is not None and expected not in names:
            raise DataError(
                f"{source}: no {kind} named {expected!r}, as in frames before it, but "
                f"{names[0]!r}; choose one with {kind}_key"
            )
        if not names and (expected is not None or required) and not optional:
            what = kind if expected is None else f"{kind} named {expected!r}"
            raise DataError(
                f"{source}: no {what}; the frame has {listed(values)}; "
                f"give the right name as {kind}_key"
            )
        if not names:
            return None
        _check_equal(names, values, kind, source, fix=f"choose one with {kind}_key")
        if self.settle and kind != "stress":
            self._settled.setdefault(kind, names[0])
        return names[0]

    def _stress(self, values: Mapping[str, Any], source: str) -> str | None:
        """Find the name of the stress, which molecules among crystals may lack."""
        if self.given.stress is not None:
            return self._name("stress", values, source, required=True, optional=self.mixed)
        fitting = _fitting("stress", values)
        virials = [name for name in values if is_virial(name)]
        if not fitting and virials:
            self._warn(f"{source}: {virials[0]!r} is not used; {_VIRIAL}")
        if not fitting:
            return None
        name = self._name("stress", values, source, required=False)
        try:
            full_stress(numeric(values, fitting[0], "stress", source), fitting[0], source)
        except DataError as error:
            self._warn(f"{error}; the stress is left out")
            return None
        return name

    def _warn(self, sentence: str) -> None:
        if not self._warned:
            _log.warning("%s (further ones in the file are not named)", sentence)
            self._warned = True


_VIRIAL = (
    "a virial is no stress: write stress = -virial / volume, in eV/Å³, and name that as stress_key"
)


def label_keys(
    atoms: "ase.Atoms",
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    labels_required: bool = True,
    source: str = "frame",
) -> LabelKeys:
    """Find the names of the labels of one frame.

    Args:
        atoms: Frame with labels.
        energy_key: Name of the energy; None looks for common names such as ``energy``,
            ``REF_energy``, ``dft_energy`` and ``TotEnergy``.
        forces_key: Name of the forces; None looks for names such as ``forces`` and ``REF_forces``.
        stress_key: Name of the stress; None looks for names such as ``stress`` and ``REF_stress``.
        labels_required: Whether a frame without energy or forces is refused.
        source: Name of the structure in error messages.

    Returns:
        The names found.

    Raises:
        DataError: A label is missing (the message lists all names in the frame), or several names
            fit one label and have different values.

    Example:
        >>> from ase import Atoms
        >>> label_keys(Atoms("H", info={"REF_energy": -13.6}), labels_required=False).energy
        'REF_energy'
    """
    names = LabelNames(LabelKeys(energy_key, forces_key, stress_key), required=labels_required)
    return names.choose(stored_values(atoms, source), source, atoms=len(atoms))


def stored_values(atoms: "ase.Atoms", source: str) -> dict[str, Any]:
    """Collect all values that atoms store; ASE 3.23 and later keeps some in a calculator.

    Args:
        atoms: Frame with labels.
        source: Name of the structure in error messages.

    Returns:
        Values by name.

    Raises:
        DataError: A position is NaN or infinite, or atoms moved after the labels were computed.

    Example:
        >>> from ase import Atoms
        >>> sorted(stored_values(Atoms("H", info={"REF_energy": -13.6}), "frame"))
        ['REF_energy', 'numbers', 'positions']
    """
    values = {**atoms.info, **atoms.arrays}
    results = getattr(atoms.calc, "results", {})
    if results:
        # NaN differs from itself and would look like a change.
        finite(np.asarray(atoms.positions, dtype=np.float64), "positions", source)
        moved = {"positions", "numbers", "cell", "pbc"} & set(atoms.calc.check_state(atoms))
        if moved:
            raise DataError(
                f"{source}: the {', '.join(sorted(moved))} changed after the labels were computed; "
                "compute the labels again"
            )
        values.update({name: value for name, value in results.items() if value is not None})
    return values


def unread(values: Mapping[str, Any], keys: LabelKeys) -> tuple[str, ...]:
    """List the names of the values that are neither part of the structure nor labels in use.

    Args:
        values: All values of a frame by name.
        keys: Names of the labels in use.

    Example:
        >>> unread({"numbers": [1], "energy": -13.6, "E_pbe": -13.5}, LabelKeys(energy="energy"))
        ('E_pbe',)
    """
    known = _STRUCTURE | {keys.energy, keys.forces, keys.stress} | further_names(values)
    return tuple(sorted(name for name in values if name not in known))


def further_names(values: Mapping[str, Any]) -> set[str]:
    """List the names of the values that :func:`further_labels` reads.

    Args:
        values: All values of a frame by name.

    Example:
        >>> further_names({"energy": -13.6, "numbers": [1]})
        set()
    """
    return {name for kind in _FURTHER for name in _fitting(kind, values)}


def further_labels(values: Mapping[str, Any], atoms: int, source: str) -> dict[str, Any]:
    """Read all labels except energy, forces and stress, by their declared names.

    Args:
        values: All values of a frame by name.
        atoms: Number of atoms.
        source: Name of the structure in error messages.

    Returns:
        Arrays by name of the field; labels that the frame does not have are left out.

    Raises:
        DataError: A label is not numeric or not finite, is not whole although the field is, has
            another shape, or occurs under two names with different values.

    Example:
        >>> further_labels({"energy": -13.6, "numbers": [1]}, 1, "frame")
        {}
    """
    found: dict[str, Any] = {}
    for kind in _FURTHER:
        names, field = _fitting(kind, values), LABELS[kind]
        if not names:
            continue
        _check_equal(names, values, kind, source, fix="leave one of them out")
        value, shape = numeric(values, names[0], kind, source), field.shape_for(atoms)
        if value.shape != shape and not (value.size == 1 and shape == ()):
            raise DataError(f"{source}: {kind} {names[0]!r} has shape {value.shape}, not {shape}")
        finite(value, kind, source)
        if field.memory.kind == "i":
            value = whole(value, f"{kind} {names[0]!r}", source)
        array = value.astype(field.memory).reshape(shape)
        found[kind] = array if shape else array.item()
    return found


def listed(values: Mapping[str, Any]) -> str:
    """List the names of a frame's values in words, for an error."""
    names = sorted(name for name in values if name not in {"numbers", "positions"})
    return "the keys " + ", ".join(names) if names else "no keys beside its atoms"


def numeric(
    values: Mapping[str, Any], key: str, kind: str, source: str
) -> Float64[np.ndarray, "..."]:
    """Convert a value into an array of floats.

    Args:
        values: All values of a frame by name.
        key: Name of the value.
        kind: Name of the label, for error messages.
        source: Name of the structure in error messages.

    Raises:
        DataError: The value is missing or not numeric.
    """
    if key not in values:
        raise DataError(f"{source}: no {kind} named {key!r}; the frame has {listed(values)}")
    refusal = DataError(
        f"{source}: {kind} {key!r} is not numeric: {values[key]!r}; give another name as {kind}_key"
    )
    try:
        given = np.asarray(values[key])
        array = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise refusal from error
    if given.dtype.kind == "b":  # would be taken for 0 or 1
        raise refusal
    return array


def finite(value: Float64[np.ndarray, "..."], what: str, source: str) -> Float64[np.ndarray, "..."]:
    """Return an array unchanged, or refuse it if it contains NaN, infinity or absurd numbers.

    Args:
        value: Numbers of any shape.
        what: Name of the numbers in error messages.
        source: Name of the structure in error messages.

    Raises:
        DataError: A number is NaN, infinite or beyond 1e100.
    """
    sound = np.abs(value) <= _LARGEST
    if not sound.all():
        where = np.argwhere(~sound)[0]
        found = float(value[tuple(where)])
        atom = f" (first at atom {where[0]})" if value.ndim == 2 and what != "cell" else ""
        odd = f"{found:g}" if np.isfinite(found) else "NaN or infinity"
        raise DataError(f"{source}: {what} hold {odd}{atom}; correct it, or leave the frame out")
    return value


def whole(value: Any, what: str, source: str) -> Int64[np.ndarray, "..."]:
    """Return numbers as integers, or refuse them where one is not whole.

    Args:
        value: Array of numbers of any shape and type.
        what: Name of the numbers in errors.
        source: Name of the frame in errors.

    Raises:
        DataError: A number has a fractional part, is NaN, or needs more than 64 bits.

    Example:
        >>> whole(np.array([1.0, 8.0]), "numbers", "frame").tolist()
        [1, 8]
        >>> whole(np.array([1.7, 8.2]), "numbers", "frame")
        Traceback (most recent call last):
        equinet.errors.DataError: frame: numbers hold 1.7, which is not a whole number; correct it
    """
    given = np.asarray(value)
    odd = ~(np.abs(given) < _LARGEST_WHOLE) | (given % 1 != 0) if given.dtype.kind == "f" else []
    if np.any(odd):
        raise DataError(
            f"{source}: {what} hold {given[odd].flat[0]}, which is not a whole number; correct it"
        )
    return given.astype(np.int64)


def truths(value: Any, what: str, source: str) -> Bool[np.ndarray, "..."]:
    """Return numbers as truth values, or refuse them where one is neither 0 nor 1.

    Args:
        value: Array of numbers or truth values of any shape.
        what: Name of the values in errors.
        source: Name of the frame in errors.

    Raises:
        DataError: A value is neither 0 nor 1, true nor false.

    Example:
        >>> truths(np.array([1.0, 0.0]), "pbc", "frame").tolist()
        [True, False]
    """
    given = np.asarray(value)
    if not np.isin(given, (0, 1)).all():
        raise DataError(f"{source}: {what} hold {given.tolist()}, not only true and false")
    return given.astype(bool)


def full_stress(
    value: Float64[np.ndarray, "..."], key: str, source: str
) -> Float64[np.ndarray, "3 3"]:
    """Convert a stress into a 3 × 3 matrix; ASE's sign is kept.

    Args:
        value: Six numbers (xx, yy, zz, yz, xz, xy) or a symmetric 3 × 3 matrix, eV/Å³.
        key: Name of the stress in the file.
        source: Name of the structure in error messages.

    Returns:
        The symmetric matrix, eV/Å³.

    Raises:
        DataError: The name is that of a virial, a number is not finite, the shape is neither 6 nor
            3 × 3, or the matrix is not symmetric.

    Example:
        >>> full_stress(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), "stress", "frame").tolist()
        [[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]]
    """
    if is_virial(key):
        raise DataError(f"{source}: {key!r} cannot be read as the stress; {_VIRIAL}")
    finite(value, "stress", source)
    if value.size == 6:
        xx, yy, zz, yz, xz, xy = value.ravel()
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if value.size != 9:
        raise DataError(f"{source}: stress {key!r} has shape {value.shape}, neither 6 nor 3 by 3")
    full = value.reshape(3, 3)
    if not np.allclose(full, full.T, rtol=1e-3, atol=1e-6):
        raise DataError(f"{source}: stress {key!r} is not symmetric: {full.tolist()}")
    return (full + full.T) / 2


def is_virial(name: str) -> bool:
    """Tell whether a name is that of a virial: minus the stress times the volume, in eV.

    Example:
        >>> is_virial("REF_virials"), is_virial("stress")
        (True, False)
    """
    return "virial" in name.lower()


def _check_equal(
    names: list[str], values: Mapping[str, Any], kind: str, source: str, *, fix: str
) -> None:
    """Refuse several values that fit one label and differ."""
    for other in names[1:]:
        if not np.array_equal(np.asarray(values[names[0]]), np.asarray(values[other])):
            raise DataError(
                f"{source}: {names[0]!r} and {other!r} both look like {kind} and differ; {fix}"
            )


def _fitting(kind: str, values: Mapping[str, Any]) -> list[str]:
    # "REF_energy" is declared as "refenergy".
    names = LABELS[kind].names
    fitting = [n for n in values if n.lower().replace("_", "").replace("-", "") in names]
    return sorted(fitting, key=lambda name: (name != kind, name))
