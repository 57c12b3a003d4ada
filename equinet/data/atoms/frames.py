"""One labeled configuration of atoms, as plain float64 arrays, and its way from and to ASE."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from equinet.data.atoms.fields import FRAME_FIELDS, LABELS, Frame
from equinet.data.atoms.labels import (
    LabelKeys,
    LabelNames,
    finite,
    full_stress,
    further_labels,
    numeric,
    stored_values,
    unread,
)
from equinet.errors import BackendError, DataError

if TYPE_CHECKING:
    import ase


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
    count = len(atoms)
    numbers = np.asarray(atoms.numbers, dtype=np.int64)
    _check_numbers(numbers, source)
    pbc = np.array(atoms.pbc, dtype=bool)
    cell = np.array(atoms.cell, dtype=np.float64) if pbc.any() else np.zeros((3, 3))
    positions = finite(np.array(atoms.positions, dtype=np.float64), "positions", source)
    finite(cell, "cell", source)
    check_cell(cell, pbc, source)

    values = {} if keys is None else stored_values(atoms, source)
    further = further_labels(values, count, source)
    keys = keys or LabelKeys()
    energy = forces = stress = None
    if keys.energy is not None:
        value = numeric(values, keys.energy, "energy", source)
        if value.size != 1:
            raise DataError(f"{source}: energy {keys.energy!r} has shape {value.shape}, not one")
        energy = float(finite(value, "energy", source).reshape(()))
    if keys.forces is not None:
        forces = numeric(values, keys.forces, "forces", source)
        if forces.shape != (count, 3):
            raise DataError(
                f"{source}: forces {keys.forces!r} have shape {forces.shape}, not {(count, 3)}"
            )
        finite(forces, "forces", source)
        if not allow_zero_forces:
            _check_forces_there(forces, f"the forces {keys.forces!r}", source)
    if keys.stress is not None:
        stress = full_stress(numeric(values, keys.stress, "stress", source), keys.stress, source)
    tags = np.array(atoms.get_tags(), dtype=np.int64) if atoms.has("tags") else None
    return Frame(
        numbers,
        positions,
        cell,
        pbc,
        energy,
        forces,
        stress,
        tags,
        _fixed_atoms(atoms),
        source=source,
        unread=unread(values, keys),
        **further,
    )


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
    names = LabelNames(required=False)
    frames: list[Frame] = []
    for number, atoms in enumerate(images, start=1):
        place = f"{source} {number}"
        keys = names.choose(stored_values(atoms, place), place, atoms=len(atoms))
        frames.append(frame_from_atoms(atoms, keys, source=place))
    return frames


def frame_to_atoms(frame: Frame) -> "ase.Atoms":
    """Turn a frame back into ASE atoms, with its labels in a ``SinglePointCalculator``.

    Args:
        frame: Frame, labeled or not.

    Returns:
        Atoms whose ``calc.results`` hold raw energy, forces and stress, and whose ``arrays`` or
        ``info`` hold further labels; fixed atoms carry ``FixAtoms``.
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
    results = {name: getattr(frame, name) for name in LABELS if getattr(frame, name) is not None}
    for name in set(results).difference(vars(LabelKeys())):
        (atoms.arrays if LABELS[name].per_atom else atoms.info)[name] = results.pop(name)
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
    for name, field in FRAME_FIELDS.items():
        value = getattr(frame, name)
        if value is not None and field.memory.kind == "f":
            finite(np.asarray(value), name, source)
    check_cell(frame.cell, frame.pbc, source)
    if frame.forces is not None and not allow_zero_forces:
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
        for name, field in FRAME_FIELDS.items():
            value = getattr(frame, name)
            # Tags and fixed atoms say how a structure is used, not what it is.
            if value is None or (field.optional and name not in LABELS):
                continue
            array = np.asarray(value)
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{name}{array.shape}".encode())
            digest.update(little.tobytes())
    return digest.hexdigest()


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
