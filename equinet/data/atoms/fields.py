"""What a structure consists of: each array is declared once, and all else follows from that.

From the declarations in :class:`Frame` follow the names under which files are searched, the checks,
the fields of graphs, and the layout of the store. A new label takes one entry there.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Annotated, Any, get_type_hints

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True)
class Field:
    """Array that belongs to each structure, as files, graphs and the store hold it.

    Attributes:
        place: Rank among the fields of a stored structure. Stores on disk rely on it, so it never
            changes, and a new field takes the next free number.
        dtype: NumPy's name of the stored type; "coordinate" stands for the precision chosen at
            conversion. In memory integers are int64 and floats float64.
        shape: Shape of one entry.
        per_atom: Whether there is one entry an atom, not one a structure.
        unit: Unit of the numbers.
        names: Names that the label goes by in files, in lower case without separators; empty for
            what is no label.
        fill: Value in the graphs of structures that lack the field where others of the data set
            have it; None leaves the field out of all graphs then.
        uniform: Whether a data set in which only some structures have the field is refused.
        optional: Whether a structure may lack the field. It follows from the default None of the
            attribute, see :func:`declared_fields`.

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
        """Shape of the array of a structure.

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
    """One configuration of atoms with whatever labels it has.

    Attributes:
        numbers: Atomic numbers of the atoms.
        positions: Positions of the atoms, Å, not wrapped into the cell.
        cell: Rows are lattice vectors, Å; zeros where nothing is periodic.
        pbc: Which lattice vectors are periodic.
        energy: Total energy, eV.
        forces: Raw forces, eV/Å: never zeroed by a constraint.
        stress: Stress tensor with ASE's sign, eV/Å³.
        tags: Tags as in OC20: 0 fixed (bulk), 1 surface, 2 adsorbate.
        fixed: Atoms that a constraint holds in place.
        source: Name of the place that the frame came from, for error messages.
        unread: Names of further values that the place holds and that are not part of the frame.

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
    # "free_energy" is left out on purpose: it is the Mermin functional, not the label of any
    # benchmark, and a file holding only that must say so with energy_key.
    energy: Annotated[
        float | None, Field(4, "float64", unit="eV", names=_ENERGY_NAMES, uniform=True)
    ] = None
    forces: Annotated[
        Float64[np.ndarray, "atoms 3"] | None,
        Field(5, "coordinate", (3,), per_atom=True, unit="eV/Å", names=_FORCES_NAMES, uniform=True),
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
"""Fields of a frame that are searched for in files by name."""
