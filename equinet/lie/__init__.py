"""Matrix Lie groups: exp and log, decompositions with their Haar densities, quadratures."""

from equinet.lie.affine import SE, Affine, Sim
from equinet.lie.families import named_group
from equinet.lie.group import Decomposition, Group
from equinet.lie.linear import CSO, GL, SL, SO, LinearGroup, Scale
from equinet.lie.projective import Projective
from equinet.lie.quadrature import GroupQuadrature, group_quadrature
from equinet.lie.rotations import random_rotations, rotation_exp
from equinet.lie.window import Window
from equinet.names import named

__all__ = [
    "CSO",
    "GL",
    "SE",
    "SL",
    "SO",
    "Affine",
    "Decomposition",
    "Group",
    "GroupQuadrature",
    "LinearGroup",
    "Projective",
    "Scale",
    "Sim",
    "Window",
    "group_quadrature",
    "named",
    "named_group",
    "random_rotations",
    "rotation_exp",
]
