"""The arrays of a structure, each declared once.

From the declarations in :class:`Frame` follow the names by which labels are found in files, the
checks, the fields of graphs, and the layout of the store. A new label is one more declaration.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Annotated, Any, get_type_hints

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True)
class Field:
    """Declaration of an array of a structure: how files, graphs and the store hold it.

    Attributes:
        place: Position among the fields of a stored structure, from 0. Stores on disk rely on it:
            it must never change, and a new field takes the next free number.
        dtype: NumPy's name of the stored type; "coordinate" stands for the precision chosen at
            conversion. In memory, integers are int64 and floats are float64.
        shape: Shape of the entry of one atom or structure; () is a single number.
        per_atom: Whether every atom has an entry; otherwise the structure has one.
        unit: Unit of the numbers; "" is none.
        names: Names of the label in files, in lower case without separators; empty if the field is
            not a label.
        fill: Value for structures without the field if other structures of the data set have it;
            None removes the field from all graphs of such a data set.
        uniform: Whether a data set in which only some structures have the field is refused unless
            it may have mixed labels. Its graphs then have ``fill`` in place of what is missing, and
            a mask, ``has_`` and the name of the field, with one truth value for each structure.
        optional: Whether a structure may lack the field. :func:`declared_fields` sets it if the
            default of the attribute is None.

    Example:
        >>> FRAME_FIELDS["forces"].unit, FRAME_FIELDS["forces"].optional
        ('eV/Å', True)
    """

    place: int
    dtype: str
    shape: tuple[int, ...] = ()
    per_atom: bool = False
    unit: str = ""
    names: frozenset[str] = frozenset()
    fill: bool | float | None = None
    uniform: bool = False
    optional: bool = field(default=False, kw_only=True)

    @property
    def memory(self) -> np.dtype[Any]:
        """Type of the numbers in memory: bool, int64 or float64."""
        kind = "f" if self.dtype == "coordinate" else np.dtype(self.dtype).kind
        return np.dtype({"b": "bool", "i": "int64", "u": "int64"}.get(kind, "float64"))

    def shape_for(self, atoms: int) -> tuple[int, ...]:
        """Return the shape of the array of one structure.

        Args:
            atoms: Number of atoms.

        Example:
            >>> FRAME_FIELDS["forces"].shape_for(2), FRAME_FIELDS["energy"].shape_for(2)
            ((2, 3), ())
        """
        return (atoms, *self.shape) if self.per_atom else self.shape


def declared_fields(owner: type[Any]) -> Mapping[str, Field]:
    """Collect the fields that a dataclass declares in the annotations of its attributes.

    Args:
        owner: Dataclass with attributes of type ``Annotated[..., Field(...)]``.

    Returns:
        Fields by name, in the order of their places.

    Example:
        >>> list(declared_fields(Frame))[:4]
        ['numbers', 'positions', 'cell', 'pbc']
    """
    hints = get_type_hints(owner, include_extras=True)
    found = {
        each.name: replace(declared, optional=each.default is None)
        for each in fields(owner)
        for declared in getattr(hints[each.name], "__metadata__", ())
        if isinstance(declared, Field)
    }
    return dict(sorted(found.items(), key=lambda item: item[1].place))


_ENERGY_NAMES = frozenset(
    {"energy", "refenergy", "dftenergy", "energydft", "totenergy", "totalenergy"}
)
_FORCES_NAMES = frozenset(
    {"forces", "force", "refforces", "refforce", "dftforces", "dftforce", "forcesdft"}
)
_STRESS_NAMES = frozenset({"stress", "refstress", "dftstress", "stressdft"})


@dataclass(frozen=True, eq=False)
class Frame:
    """One structure of atoms with its labels, if it has any.

    Labels, tags and fixed atoms are None if the source does not have them.

    Attributes:
        numbers: Atomic numbers of the atoms, 1 to 118.
        positions: Positions of the atoms, Å; they may lie outside of the cell.
        cell: Lattice vectors in rows, Å; zeros if the structure is not periodic.
        pbc: Periodicity along each lattice vector.
        energy: Total energy, eV.
        forces: Forces on all atoms, eV/Å, also on those that a constraint holds in place.
        stress: Stress tensor with ASE's sign, eV/Å³.
        tags: Tags of the atoms as in OC20: 0 fixed (bulk), 1 surface, 2 adsorbate.
        fixed: Boolean of each atom: whether a constraint holds it in place.
        source: Name of the file and frame that the data come from, for error messages.
        unread: Names of values in the source that are not part of the frame.

    Example:
        >>> from equinet.data import frame_from_atoms
        >>> water = frame_from_atoms(__import__("ase.build").build.molecule("H2O"))
        >>> len(water), water.numbers.tolist(), water.energy is None
        (3, [8, 1, 1], True)
    """

    numbers: Annotated[Int64[np.ndarray, " atoms"], Field(0, "uint8", per_atom=True)]
    positions: Annotated[
        Float64[np.ndarray, "atoms 3"], Field(1, "coordinate", (3,), per_atom=True, unit="Å")
    ]
    cell: Annotated[Float64[np.ndarray, "3 3"], Field(2, "float64", (3, 3), unit="Å")]
    pbc: Annotated[Bool[np.ndarray, "3"], Field(3, "bool", (3,))]
    # "free_energy" is not among the names: it is the Mermin functional, which no benchmark uses as
    # its label. A user who wants it gives it as energy_key.
    energy: Annotated[
        float | None, Field(4, "float64", unit="eV", names=_ENERGY_NAMES, fill=0.0, uniform=True)
    ] = None
    forces: Annotated[
        Float64[np.ndarray, "atoms 3"] | None,
        Field(
            5,
            "coordinate",
            (3,),
            per_atom=True,
            unit="eV/Å",
            names=_FORCES_NAMES,
            fill=0.0,
            uniform=True,
        ),
    ] = None
    stress: Annotated[
        Float64[np.ndarray, "3 3"] | None,
        Field(6, "float64", (3, 3), unit="eV/Å³", names=_STRESS_NAMES),
    ] = None
    tags: Annotated[Int64[np.ndarray, " atoms"] | None, Field(7, "int8", per_atom=True, fill=0)] = (
        None
    )
    fixed: Annotated[
        Bool[np.ndarray, " atoms"] | None, Field(8, "bool", per_atom=True, fill=False)
    ] = None
    _: KW_ONLY  # a further label goes before this line
    source: str = "frame"
    unread: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)


FRAME_FIELDS = declared_fields(Frame)
"""Fields of a frame by name."""

LABELS: Mapping[str, Field] = {name: each for name, each in FRAME_FIELDS.items() if each.names}
"""Fields of a frame that are found in files by their names."""
