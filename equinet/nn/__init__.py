"""Layers: one family a file. Gaunt layers act on coefficients ``[..., (lmax+1)², channels]``."""

from equinet.nn.convnext import ConvNeXtBlock as ConvNeXtBlock
from equinet.nn.convolution import GauntConvolution as GauntConvolution
from equinet.nn.depthwise import DepthwiseConvolution as DepthwiseConvolution
from equinet.nn.fiber_bundle import FiberBundleConv as FiberBundleConv
from equinet.nn.gate import Gate as Gate
from equinet.nn.invariants import angle_invariants as angle_invariants
from equinet.nn.invariants import axial_invariants as axial_invariants
from equinet.nn.invariants import edge_lengths as edge_lengths
from equinet.nn.invariants import pair_invariants as pair_invariants
from equinet.nn.invariants import pose_invariants as pose_invariants
from equinet.nn.kernel_basis import KernelBasis as KernelBasis
from equinet.nn.lifted import LiftedConv as LiftedConv
from equinet.nn.lifted import LiftedGraph as LiftedGraph
from equinet.nn.lifted import lift_graph as lift_graph
from equinet.nn.linear import DegreeLinear as DegreeLinear
from equinet.nn.many_body import GauntManyBody as GauntManyBody
from equinet.nn.norm import DegreeNorm as DegreeNorm
from equinet.nn.position import PositionConv as PositionConv
from equinet.nn.product import GauntProduct as GauntProduct
from equinet.nn.product import GauntSelfMix as GauntSelfMix
from equinet.nn.radial import BesselBasis as BesselBasis
from equinet.nn.radial import LogarithmicBasis as LogarithmicBasis
from equinet.nn.radial import RadialNetwork as RadialNetwork
from equinet.nn.radial import polynomial_envelope as polynomial_envelope
