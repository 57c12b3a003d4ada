"""Layers on positions and orientations: invariants, convolutions, the ConvNeXt block."""

from equinet.nn.orientation.bundle import FiberBundleConv
from equinet.nn.orientation.convnext import ConvNeXtBlock
from equinet.nn.orientation.depthwise import DepthwiseConv, scale_parameter
from equinet.nn.orientation.full_bundle import FullBundleConv
from equinet.nn.orientation.invariants import (
    angle_invariants,
    axial_invariants,
    edge_lengths,
    pair_invariants,
    pose_invariants,
)
from equinet.nn.orientation.kernel_basis import KernelBasis
from equinet.nn.orientation.lifted import LiftedConv, LiftedGraph, lift_graph
from equinet.nn.orientation.position import PositionConv

__all__ = [
    "ConvNeXtBlock",
    "DepthwiseConv",
    "FiberBundleConv",
    "FullBundleConv",
    "KernelBasis",
    "LiftedConv",
    "LiftedGraph",
    "PositionConv",
    "angle_invariants",
    "axial_invariants",
    "edge_lengths",
    "lift_graph",
    "pair_invariants",
    "pose_invariants",
    "scale_parameter",
]
