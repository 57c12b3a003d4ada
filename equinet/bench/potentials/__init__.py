"""Race of whole potentials: time and memory of energies and forces against the number of atoms."""

from equinet.bench.potentials.curves import draw_curves
from equinet.bench.potentials.race import Point, race_sizes
from equinet.bench.potentials.structures import structure_of
from equinet.bench.potentials.widths import widths_of
from equinet.bench.potentials.workers import RIVALS, Worker, installed_rivals

__all__ = [
    "RIVALS",
    "Point",
    "Worker",
    "draw_curves",
    "installed_rivals",
    "race_sizes",
    "structure_of",
    "widths_of",
]
