"""Molecules with properties: their tables, their graphs, and a copy that is read fast."""

from equinet.data.molecules.files import read_molecules
from equinet.data.molecules.module import MoleculeModule
from equinet.data.molecules.molecules import MoleculeGraphs, Molecules
from equinet.data.molecules.properties import QM9_PROPERTIES, Pooling, Property
from equinet.data.molecules.qm9_tables import MOLECULES, PUBLISHED, find_tables, read_tables
from equinet.data.molecules.scales import PropertyScale, fit_scale
from equinet.data.molecules.stored import stored_tables

__all__ = [
    "MOLECULES",
    "PUBLISHED",
    "QM9_PROPERTIES",
    "MoleculeGraphs",
    "MoleculeModule",
    "Molecules",
    "Pooling",
    "Property",
    "PropertyScale",
    "find_tables",
    "fit_scale",
    "read_molecules",
    "read_tables",
    "stored_tables",
]
