"""Matrix Lie groups: exp and log, factorizations with their Haar densities, quadratures."""

from equinet.lie.affine import SE, Affine, Sim
from equinet.lie.group import Decomposition, Group
from equinet.lie.linear import CSO, GL, SL, SO, Scale
from equinet.lie.projective import Projective
from equinet.lie.window import Window

__all__ = [
    "CSO",
    "GL",
    "SE",
    "SL",
    "SO",
    "Affine",
    "Decomposition",
    "Group",
    "Projective",
    "Scale",
    "Sim",
    "Window",
]
