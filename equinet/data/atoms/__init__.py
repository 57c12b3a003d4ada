"""Atomic structures: labeled frames, file formats, neighbor lists, graphs and statistics.

Units are Å, eV, eV/Å and eV/Å³; all floats are float64 until a model casts them.
"""

from equinet.data.atoms.appearance import appearance
from equinet.data.atoms.atomic_energies import atomic_energies
from equinet.data.atoms.blocks import Block, Stretch, number_blocks, stretches
from equinet.data.atoms.emt import make_molecules, make_relaxations, make_surfaces
from equinet.data.atoms.fields import FRAME_FIELDS, LABELS, Field, Frame, declared_fields
from equinet.data.atoms.formats import (
    atoms_of_row,
    check_labels,
    read_atoms,
    read_frames,
    scan_frames,
)
from equinet.data.atoms.frames import (
    ase_library,
    check_frame,
    fingerprint,
    frame_from_atoms,
    frame_to_atoms,
    structure_key,
)
from equinet.data.atoms.graphs import AtomicDataset, complete, frame_of_graph, to_graph
from equinet.data.atoms.labels import (
    LabelKeys,
    LabelNames,
    full_stress,
    further_labels,
    further_names,
    label_keys,
    stored_values,
    truths,
    unread,
    whole,
)
from equinet.data.atoms.moving import MovingNeighborList
from equinet.data.atoms.neighbors import neighbor_list
from equinet.data.atoms.statistics import (
    Statistics,
    fit_reference_energies,
    nearest_energies,
    pairs_that_meet,
)
from equinet.data.atoms.units import (
    ANGSTROM_PER,
    EV_PER,
    EnergyUnit,
    ForcesUnit,
    LengthUnit,
    Units,
)

__all__ = [
    "ANGSTROM_PER",
    "EV_PER",
    "FRAME_FIELDS",
    "LABELS",
    "AtomicDataset",
    "Block",
    "EnergyUnit",
    "Field",
    "ForcesUnit",
    "Frame",
    "LabelKeys",
    "LabelNames",
    "LengthUnit",
    "MovingNeighborList",
    "Statistics",
    "Stretch",
    "Units",
    "appearance",
    "ase_library",
    "atomic_energies",
    "atoms_of_row",
    "check_frame",
    "check_labels",
    "complete",
    "declared_fields",
    "fingerprint",
    "fit_reference_energies",
    "frame_from_atoms",
    "frame_of_graph",
    "frame_to_atoms",
    "full_stress",
    "further_labels",
    "further_names",
    "label_keys",
    "make_molecules",
    "make_relaxations",
    "make_surfaces",
    "nearest_energies",
    "neighbor_list",
    "number_blocks",
    "pairs_that_meet",
    "read_atoms",
    "read_frames",
    "scan_frames",
    "stored_values",
    "stretches",
    "structure_key",
    "to_graph",
    "truths",
    "unread",
    "whole",
]
