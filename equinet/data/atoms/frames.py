"""One labeled configuration of atoms, as plain float64 arrays, and its way from and to ASE."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from equinet.errors import BackendError, DataError

if TYPE_CHECKING:
    import ase

# Names are compared in lower case without separators, so "REF_energy" is "refenergy".
# "free_energy" is left out on purpose: it is the Mermin functional, not the label of any
# benchmark, and a file holding only that must say so with energy_key.
_LABEL_NAMES = {
    "energy": {"energy", "refenergy", "dftenergy", "energydft", "totenergy", "totalenergy"},
    "forces": {"forces", "force", "refforces", "refforce", "dftforces", "dftforce", "forcesdft"},
    "stress": {"stress", "refstress", "dftstress", "stressdft"},
}


@dataclass(frozen=True, eq=False)
class Frame:
    """One configuration of atoms with whatever labels it has.

    Attributes:
        numbers: Atomic numbers.
        positions: Å; not wrapped into the cell.
        cell: Rows are lattice vectors, Å; zeros where nothing is periodic.
        pbc: Which lattice vectors are periodic.
        energy: Total energy, eV.
        forces: Raw forces, eV/Å: never zeroed by a constraint.
        stress: eV/Å³, in ASE's sign.
        tags: As in OC20: 0 fixed (bulk), 1 surface, 2 adsorbate.
        fixed: Atoms that a constraint holds in place.
        source: Where the frame came from, for error messages.
    """

    numbers: Int64[np.ndarray, " atoms"]
    positions: Float64[np.ndarray, "atoms 3"]
    cell: Float64[np.ndarray, "3 3"]
    pbc: Bool[np.ndarray, "3"]
    energy: float | None = None
    forces: Float64[np.ndarray, "atoms 3"] | None = None
    stress: Float64[np.ndarray, "3 3"] | None = None
    tags: Int64[np.ndarray, " atoms"] | None = None
    fixed: Bool[np.ndarray, " atoms"] | None = None
    source: str = "frame"

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class LabelKeys:
    """The names under which a file keeps its labels; None where it has none."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None


def ase_library() -> Any:
    """Import ASE, or say how to get it.

    Returns:
        The module ``ase``, with ``ase.io`` loaded.

    Raises:
        BackendError: ASE is not installed.
    """
    try:
        import ase
        import ase.io
    except ImportError as error:
        raise BackendError(
            "atomistic data need ASE, which is not installed: pip install 'equinet[atoms]'"
        ) from error
    return ase


def label_keys(
    atoms: "ase.Atoms",
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    labels_required: bool = True,
    source: str = "frame",
) -> LabelKeys:
    """Find the names of the labels, as given or among those in common use.

    Args:
        atoms: Frame whose names stand for the whole file.
        energy_key: Name of the energy; None looks for ``energy``, ``REF_energy``, ``dft_energy``,
            ``TotEnergy`` and their like.
        forces_key: Name of the forces; None looks likewise.
        stress_key: Name of the stress; None looks likewise.
        labels_required: Whether energy and forces must be there.
        source: Place named in errors.

    Returns:
        The names found.

    Raises:
        DataError: A label is not there (the message lists the names that are), or several names
            fit and hold different values.
    """
    given = {"energy": energy_key, "forces": forces_key, "stress": stress_key}
    labels = _stored_values(atoms, source)
    found: dict[str, str | None] = {}
    for kind, key in given.items():
        needed = key is not None or (labels_required and kind != "stress")
        names = [key] if key is not None else _candidates(kind, labels)
        names = [name for name in names if name in labels]
        if needed and not names:
            what = f"{kind} named {key!r}" if key is not None else kind
            raise DataError(
                f"{source}: no {what}; the frame has {_listing(labels)}; "
                f"give the right name as {kind}_key"
            )
        for other in names[1:]:
            if not np.array_equal(np.asarray(labels[names[0]]), np.asarray(labels[other])):
                raise DataError(
                    f"{source}: {names[0]!r} and {other!r} both look like {kind} and differ; "
                    f"choose one with {kind}_key"
                )
        found[kind] = names[0] if names else None
    return LabelKeys(**found)


def with_stress_of(atoms: "ase.Atoms", keys: LabelKeys, *, source: str = "frame") -> LabelKeys:
    """Settle the stress anew for one frame: among crystals, molecules have none.

    Args:
        atoms: The frame.
        keys: Names settled for the file.
        source: Place named in errors.

    Returns:
        The same names of energy and forces, and this frame's name of the stress, if it has one.
    """
    found = label_keys(
        atoms,
        energy_key=keys.energy,
        forces_key=keys.forces,
        labels_required=False,
        source=source,
    )
    return replace(keys, stress=found.stress)


def frame_from_atoms(
    atoms: "ase.Atoms",
    keys: LabelKeys | None = None,
    *,
    allow_zero_forces: bool = False,
    source: str = "frame",
) -> Frame:
    """Turn ASE atoms into a checked frame.

    Labels are read as stored, never through ``get_forces``, so constraints zero nothing; a
    ``FixAtoms`` (or a full ``FixCartesian``) becomes ``fixed``.

    Args:
        atoms: Atoms; those of a non-periodic frame may carry a dummy cell, which is dropped.
        keys: Names of the labels to take (see :func:`label_keys`); None takes no labels.
        allow_zero_forces: Accept a frame of several atoms whose forces are all exactly zero, as
            in perfect crystals; elsewhere that is a label gone missing.
        source: Place named in errors.

    Returns:
        The frame, in float64.

    Raises:
        DataError: A value is missing, misshapen, NaN or infinite; all forces are zero; the
            periodic cell has no volume.
    """
    keys = keys or LabelKeys()
    count = len(atoms)
    numbers = np.asarray(atoms.numbers, dtype=np.int64)
    _check_numbers(numbers, source)
    pbc = np.array(atoms.pbc, dtype=bool)
    cell = np.array(atoms.cell, dtype=np.float64) if pbc.any() else np.zeros((3, 3))
    positions = _finite(np.array(atoms.positions, dtype=np.float64), "positions", source)
    _finite(cell, "cell", source)
    check_cell(cell, pbc, source)

    labels = _stored_values(atoms, source) if keys != LabelKeys() else {}
    energy = forces = stress = None
    if keys.energy is not None:
        value = _take(labels, keys.energy, "energy", source)
        if value.size != 1:
            raise DataError(f"{source}: energy {keys.energy!r} has shape {value.shape}, not one")
        energy = float(_finite(value, "energy", source).reshape(()))
    if keys.forces is not None:
        forces = _take(labels, keys.forces, "forces", source)
        if forces.shape != (count, 3):
            raise DataError(
                f"{source}: forces {keys.forces!r} have shape {forces.shape}, not {(count, 3)}"
            )
        _finite(forces, "forces", source)
        if not allow_zero_forces:
            _check_forces_there(forces, f"the forces {keys.forces!r}", source)
    if keys.stress is not None:
        stress = _full_stress(_take(labels, keys.stress, "stress", source), keys.stress, source)
    tags = np.array(atoms.get_tags(), dtype=np.int64) if atoms.has("tags") else None
    fixed = _fixed_atoms(atoms)
    return Frame(numbers, positions, cell, pbc, energy, forces, stress, tags, fixed, source)


def frames_from_atoms(images: Iterable["ase.Atoms"], *, source: str = "frame") -> list[Frame]:
    """Turn ASE atoms into frames, with the labels they carry under common names.

    Args:
        images: Atoms; all must carry the same labels, but for the stress.
        source: What to call the images in errors.

    Returns:
        One frame per image.

    Raises:
        DataError: As :func:`frame_from_atoms`.
    """
    frames: list[Frame] = []
    keys = LabelKeys()
    for number, atoms in enumerate(images, start=1):
        place = f"{source} {number}"
        if not frames:
            keys = label_keys(atoms, labels_required=False, source=place)
        else:
            keys = with_stress_of(atoms, keys, source=place)
        frames.append(frame_from_atoms(atoms, keys, source=place))
    return frames


def frame_to_atoms(frame: Frame) -> "ase.Atoms":
    """Turn a frame back into ASE atoms, with its labels in a ``SinglePointCalculator``.

    Args:
        frame: Any frame.

    Returns:
        Atoms whose ``calc.results`` hold raw labels; fixed atoms carry ``FixAtoms``.
    """
    ase = ase_library()
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.constraints import FixAtoms

    atoms = ase.Atoms(
        numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc
    )
    if frame.tags is not None:
        atoms.set_tags(frame.tags)
    if frame.fixed is not None and frame.fixed.any():
        atoms.set_constraint(FixAtoms(mask=frame.fixed))
    labels = {"energy": frame.energy, "forces": frame.forces, "stress": frame.stress}
    results = {name: value for name, value in labels.items() if value is not None}
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def check_frame(frame: Frame, *, allow_zero_forces: bool = False) -> None:
    """Refuse a frame that did not come through :func:`frame_from_atoms` and cannot be right.

    Args:
        frame: Arrays of the right kinds and shapes.
        allow_zero_forces: Accept forces that are all exactly zero.

    Raises:
        DataError: A value is NaN or infinite, an atomic number is not an element, all forces are
            zero, or the periodic cell has no volume.
    """
    source = frame.source
    _check_numbers(frame.numbers, source)
    _finite(frame.positions, "positions", source)
    _finite(frame.cell, "cell", source)
    check_cell(frame.cell, frame.pbc, source)
    if frame.energy is not None:
        _finite(np.asarray(frame.energy), "energy", source)
    if frame.stress is not None:
        _finite(frame.stress, "stress", source)
    if frame.forces is not None:
        _finite(frame.forces, "forces", source)
        if not allow_zero_forces:
            _check_forces_there(frame.forces, "the forces", source)


def check_cell(
    cell: Float64[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"], source: str = "frame"
) -> None:
    """Refuse a periodic cell whose periodic lattice vectors do not span.

    Args:
        cell: Rows are lattice vectors, Å.
        pbc: Which of them are periodic.
        source: Place named in the error.

    Raises:
        DataError: A periodic lattice vector is zero, or they are linearly dependent.
    """
    vectors = cell[pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    # Scaled singular values: 1e-6 is an angle between lattice vectors of less than 0.0001 degree.
    if (lengths == 0).any() or (
        len(vectors) and np.linalg.svd(vectors / lengths[:, None])[1].min() < 1e-6
    ):
        raise DataError(
            f"{source}: the periodic cell {cell.tolist()} Å with pbc {pbc.tolist()} has no volume"
        )


def fingerprint(frames: Sequence[Frame]) -> str:
    """Hash all numbers of the frames, in order.

    Args:
        frames: Frames of any size.

    Returns:
        SHA-256 in hexadecimal; equal exactly when every array and label is.
    """
    digest = hashlib.sha256()
    for frame in frames:
        for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress"):
            value = getattr(frame, name)
            if value is None:
                continue
            array = np.asarray(value)
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{name}{array.shape}".encode())
            digest.update(little.tobytes())
    return digest.hexdigest()


def _stored_values(atoms: "ase.Atoms", source: str) -> dict[str, Any]:
    """All values a frame stores: ASE (3.23 and later) moves known labels into a calculator."""
    values = {**atoms.info, **atoms.arrays}
    if atoms.calc is not None:
        # NaN differs from itself and would look like a change.
        _finite(np.asarray(atoms.positions, dtype=np.float64), "positions", source)
        moved = {"positions", "numbers", "cell", "pbc"} & set(atoms.calc.check_state(atoms))
        if moved:
            raise DataError(
                f"{source}: the {', '.join(sorted(moved))} changed after the labels were computed"
            )
        values.update({k: v for k, v in atoms.calc.results.items() if v is not None})
    return values


def _candidates(kind: str, labels: dict[str, Any]) -> list[str]:
    names = _LABEL_NAMES[kind]
    fitting = [n for n in labels if n.lower().replace("_", "").replace("-", "") in names]
    return sorted(fitting, key=lambda name: (name != kind, name))


def _listing(labels: dict[str, Any]) -> str:
    names = sorted(name for name in labels if name not in {"numbers", "positions"})
    return "the keys " + ", ".join(names) if names else "no keys beside its atoms"


def _take(labels: dict[str, Any], key: str, kind: str, source: str) -> Float64[np.ndarray, "..."]:
    if key not in labels:
        raise DataError(f"{source}: no {kind} named {key!r}; the frame has {_listing(labels)}")
    try:
        return np.array(labels[key], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source}: {kind} {key!r} is not numeric: {labels[key]!r}") from error


def _check_numbers(numbers: Int64[np.ndarray, " atoms"], source: str) -> None:
    if not len(numbers):
        raise DataError(f"{source}: the frame has no atoms")
    if numbers.min() < 1 or numbers.max() > 118:
        odd = sorted({int(z) for z in numbers if not 1 <= z <= 118})
        raise DataError(f"{source}: atomic numbers {odd} are not elements (1 to 118)")


def _check_forces_there(forces: Float64[np.ndarray, "atoms 3"], what: str, source: str) -> None:
    if len(forces) > 1 and not forces.any():
        raise DataError(
            f"{source}: {what} on all {len(forces)} atoms are exactly zero, as if lost in a "
            "conversion; if symmetry makes them so, pass allow_zero_forces=True"
        )


def _finite(
    value: Float64[np.ndarray, "..."], what: str, source: str
) -> Float64[np.ndarray, "..."]:
    if not np.isfinite(value).all():
        where = np.argwhere(~np.isfinite(value))[0]
        atom = f" (first at atom {where[0]})" if value.ndim == 2 and what != "cell" else ""
        raise DataError(f"{source}: {what} hold NaN or infinity{atom}")
    return value


def _full_stress(
    value: Float64[np.ndarray, "..."], key: str, source: str
) -> Float64[np.ndarray, "3 3"]:
    """Accept Voigt (xx, yy, zz, yz, xz, xy) or full form; ASE's sign is kept."""
    _finite(value, "stress", source)
    if value.size == 6:
        xx, yy, zz, yz, xz, xy = value.ravel()
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if value.size != 9:
        raise DataError(f"{source}: stress {key!r} has shape {value.shape}, neither 6 nor 3 by 3")
    full = value.reshape(3, 3)
    if not np.allclose(full, full.T, rtol=1e-3, atol=1e-6):
        raise DataError(f"{source}: stress {key!r} is not symmetric: {full.tolist()}")
    return (full + full.T) / 2


def _fixed_atoms(atoms: "ase.Atoms") -> Bool[np.ndarray, " atoms"] | None:
    if not atoms.constraints:
        return None
    from ase.constraints import FixAtoms, FixCartesian

    fixed = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        full = isinstance(constraint, FixCartesian) and bool(np.all(constraint.mask))
        if full or isinstance(constraint, FixAtoms):
            fixed[constraint.get_indices()] = True
    return fixed
