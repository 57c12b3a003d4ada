"""Published figures of molecules that were generated like those of QM9."""

from collections.abc import Mapping
from typing import Any


def _row(name: str, source: str, *percent: float) -> Mapping[str, Any]:
    names = ("atom_stability", "molecule_stability", "validity", "uniqueness")
    found = dict(zip(names, percent, strict=False))
    return {"name": name, "structures": "", **found, "source": source}


_EDM = "Hoogeboom et al. 2022"

GENERATED_QM9: tuple[Mapping[str, Any], ...] = (
    _row("QM9 itself", _EDM, 99.0, 95.2, 97.7, 97.7),
    _row("E-NF", _EDM, 85.0, 4.9, 40.2, 39.4),
    _row("G-SchNet", _EDM, 95.7, 68.1, 85.5, 80.3),
    _row("GDM", _EDM, 97.0, 63.2),
    _row("GDM-aug", _EDM, 97.6, 71.6, 90.4, 89.5),
    _row("EDM", _EDM, 98.7, 82.0, 91.9, 90.7),
    _row("EDM-Bridge", "Wu et al. 2022", 98.8, 84.6, 92.0, 90.7),
    _row("GeoLDM", "Xu et al. 2023", 98.9, 89.4, 93.8, 92.7),
    _row("EquiFM", "Song et al. 2023", 98.9, 88.3, 94.7),
)
"""Rows of a table as of :func:`equinet.evaluation.lay_out`, in percent of 10 000 molecules each.

Molecules have all of their hydrogen, and bonds by :func:`equinet.evaluation.molecules.bond_orders`.
"""
