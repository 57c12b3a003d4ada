"""Layers for images on matrix Lie groups: lifting, group convolution, norm, pooling."""

from equinet.nn.group.convolution import GroupConv
from equinet.nn.group.lifting import LiftingConv
from equinet.nn.group.norm import EachMap, GroupLayerNorm
from equinet.nn.group.pooling import GroupPool
from equinet.nn.group.presence import Presence
from equinet.nn.group.projection import GroupProjection
from equinet.nn.group.tensor import EquivarianceWarning, GroupTensor

__all__ = [
    "EachMap",
    "EquivarianceWarning",
    "GroupConv",
    "GroupLayerNorm",
    "GroupPool",
    "GroupProjection",
    "GroupTensor",
    "LiftingConv",
    "Presence",
]
