"""Judging generated molecules: stability, validity, novelty, distances from the data, pictures."""

from equinet.evaluation.molecules.bond_table import VALENCES, Stability, bond_orders, stability
from equinet.evaluation.molecules.chemistry import (
    Chemistry,
    assess,
    inchi_keys,
    rdkit_library,
    to_rdkit,
)
from equinet.evaluation.molecules.geometry import bond_angles, bond_lengths, distance, merged
from equinet.evaluation.molecules.judge import (
    MOLECULE_FIGURES,
    Survey,
    figures,
    molecule_table,
    survey,
)
from equinet.evaluation.molecules.picture import contact_sheet, formula
from equinet.evaluation.molecules.published import GENERATED_QM9

__all__ = [
    "GENERATED_QM9",
    "MOLECULE_FIGURES",
    "VALENCES",
    "Chemistry",
    "Stability",
    "Survey",
    "assess",
    "bond_angles",
    "bond_lengths",
    "bond_orders",
    "contact_sheet",
    "distance",
    "figures",
    "formula",
    "inchi_keys",
    "merged",
    "molecule_table",
    "rdkit_library",
    "stability",
    "survey",
    "to_rdkit",
]
