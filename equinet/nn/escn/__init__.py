"""Layers of eSCN and Equiformer: convolutions in edge frames, attention, activation on grids."""

from equinet.nn.escn.activation import SphereActivation
from equinet.nn.escn.attention import Edges, GraphAttention
from equinet.nn.escn.edge_network import EdgeNetwork
from equinet.nn.escn.feed_forward import SphereFeedForward
from equinet.nn.escn.frames import EdgeFrames, edge_frames
from equinet.nn.escn.grid import EdgeGrid, SphereGrid
from equinet.nn.escn.separable_norm import SeparableNorm
from equinet.nn.escn.so2_convolution import SO2Conv

__all__ = [
    "EdgeFrames",
    "EdgeGrid",
    "EdgeNetwork",
    "Edges",
    "GraphAttention",
    "SO2Conv",
    "SeparableNorm",
    "SphereActivation",
    "SphereFeedForward",
    "SphereGrid",
    "edge_frames",
]
