"""Matrix Lie groups: exp and log, factorizations with their Haar densities, quadratures."""

from equinet.lie.group import Decomposition, Group
from equinet.lie.linear import CSO, GL, SL, SO, Scale
from equinet.lie.window import Window

__all__ = ["CSO", "GL", "SL", "SO", "Decomposition", "Group", "Scale", "Window"]
