"""Convert frames from and to ASE, check them, and compute their checksum."""

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
    """Import ASE, or raise an error that says how to install it.

    Returns:
        The module ``ase``, with ``ase.io`` loaded.

    Raises:
        BackendError: ASE is not installed.

    Example:
        >>> ase_library().data.atomic_numbers["Cu"]
        29
    """
    try:
        import ase
        import ase.io
    except ImportError as error:
        raise BackendError(
            "atomistic data need ASE, which is not installed: pip install '.[atoms]' in the clone"
        ) from error
    return ase


def frame_from_atoms(
    atoms: "ase.Atoms",
    keys: LabelKeys | None = None,
    *,
    allow_zero_forces: bool = False,
    source: str = "frame",
) -> Frame:
    """Convert ASE atoms into a frame and check it.

    Labels are read as they are stored, without ``get_forces``, in which constraints would set
    forces to zero. Atoms in a ``FixAtoms`` (or a full ``FixCartesian``) become ``fixed``.

    Args:
        atoms: Atoms to convert; the cell of atoms that are not periodic is ignored.
        keys: Names of the labels (see :func:`label_keys`); None takes no labels.
        allow_zero_forces: Whether a frame of several atoms may have forces that are all exactly
            zero, as in perfect crystals. In other frames such forces usually were lost in a
            conversion.
        source: Name of the structure in error messages.

    Returns:
        The frame, in float64.

    Raises:
        DataError: A value is missing, misshapen, NaN or infinite; all forces are zero; the
            periodic cell has no volume.

    Example:
        >>> from ase.build import molecule
        >>> frame = frame_from_atoms(molecule("H2O"))
        >>> frame.numbers.tolist(), frame.pbc.tolist()
        ([8, 1, 1], [False, False, False])
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
            raise DataError(
                f"{source}: energy {keys.energy!r} has shape {value.shape}, not one number; "
                "give the name of the total energy as energy_key"
            )
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
    """Convert ASE atoms into frames, with the labels that have common names.

    Args:
        images: Atoms to convert; all must have the same labels, except for the stress.
        source: Name of the images in error messages.

    Returns:
        One frame per image.

    Raises:
        DataError: An image cannot be converted, see :func:`frame_from_atoms`.
    """
    names = LabelNames(required=False)
    frames: list[Frame] = []
    for number, atoms in enumerate(images, start=1):
        place = f"{source} {number}"
        keys = names.choose(stored_values(atoms, place), place, atoms=len(atoms))
        frames.append(frame_from_atoms(atoms, keys, source=place))
    return frames


def frame_to_atoms(frame: Frame) -> "ase.Atoms":
    """Convert a frame into ASE atoms, with the labels in a ``SinglePointCalculator``.

    Args:
        frame: Frame, labeled or not.

    Returns:
        Atoms whose ``calc.results`` hold energy, forces and stress as in the frame, and whose
        ``arrays`` or ``info`` hold further labels; ``FixAtoms`` holds the fixed atoms.

    Example:
        >>> from dataclasses import replace
        >>> from ase.build import molecule
        >>> water = replace(frame_from_atoms(molecule("H2O")), energy=-14.2)
        >>> frame_to_atoms(water).get_potential_energy()
        -14.2
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
    """Check the values of a frame that :func:`frame_from_atoms` did not make.

    Args:
        frame: Frame whose arrays have the declared types and shapes.
        allow_zero_forces: Whether forces that are all exactly zero are accepted.

    Raises:
        DataError: A value is NaN or infinite, an atomic number is not an element, all forces are
            zero, or the periodic cell has no volume.

    Example:
        >>> place, cell, pbc = np.array([[0.0, 0.0, np.nan]]), np.zeros((3, 3)), np.zeros(3, bool)
        >>> hydrogen = Frame(np.array([1]), place, cell, pbc, source="hydrogen")
        >>> check_frame(hydrogen)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        equinet.errors.DataError: hydrogen: positions hold NaN or infinity (first at atom 0); ...
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
    """Refuse a cell whose periodic lattice vectors are zero or linearly dependent.

    Args:
        cell: Lattice vectors in rows, Å.
        pbc: Periodicity along each lattice vector.
        source: Name of the frame in the error.

    Raises:
        DataError: A periodic lattice vector is zero, or the periodic ones are linearly dependent.
    """
    vectors = cell[pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    # The vectors are scaled to length 1: a singular value of 1e-6 is then an angle between two of
    # them of less than 0.0001 degree.
    if (lengths == 0).any() or (
        len(vectors) and np.linalg.svd(vectors / lengths[:, None])[1].min() < 1e-6
    ):
        raise DataError(
            f"{source}: the periodic cell {cell.tolist()} Å with pbc {pbc.tolist()} has no volume; "
            "correct the lattice vectors or pbc"
        )


def fingerprint(frames: Sequence[Frame]) -> str:
    """Compute a checksum of the structures and labels of frames, in their order.

    Args:
        frames: Frames of any size.

    Returns:
        SHA-256 in hexadecimal. It depends on every digit of the structures and labels, but not on
        tags, fixed atoms and sources.

    Example:
        >>> from ase.build import molecule
        >>> water, methane = (frame_from_atoms(molecule(name)) for name in ("H2O", "CH4"))
        >>> fingerprint([water, methane]) == fingerprint([methane, water])
        False
    """
    digest = hashlib.sha256()
    for frame in frames:
        for name, field in FRAME_FIELDS.items():
            value = getattr(frame, name)
            # Tags and fixed atoms tell how a structure is used; two sets may differ in them alone.
            if value is None or (field.optional and name not in LABELS):
                continue
            array = np.asarray(value)
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{name}{array.shape}".encode())
            digest.update(little.tobytes())
    return digest.hexdigest()


def structure_key(frame: Frame) -> bytes:
    """Hash the elements, positions and cell of a frame; labels do not enter.

    Args:
        frame: Frame, labeled or not.

    Returns:
        16 bytes that are equal for equal structures, with positions and cell rounded to 1e-6 Å.

    Example:
        >>> water = frame_from_atoms(__import__("ase.build").build.molecule("H2O"))
        >>> structure_key(water) == structure_key(water), len(structure_key(water))
        (True, 16)
    """
    digest = hashlib.sha256(frame.numbers.astype("<i8").tobytes())
    for array in (frame.positions, frame.cell):
        # Adding zero turns -0.0, which rounding may leave, into 0.0.
        digest.update((array.round(6) + 0.0).astype("<f8").tobytes())
    return digest.digest()[:16]


def _check_numbers(numbers: Int64[np.ndarray, " atoms"], source: str) -> None:
    if not len(numbers):
        raise DataError(f"{source}: the frame has no atoms; leave it out")
    if numbers.min() < 1 or numbers.max() > 118:
        odd = sorted({int(z) for z in numbers if not 1 <= z <= 118})
        raise DataError(
            f"{source}: atomic numbers {odd} are not elements; correct them to 1 to 118"
        )


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
