"""Layers: one family a file, all acting on coefficients ``[..., (lmax+1)², channels]``."""

from equinet.nn.convolution import GauntConvolution as GauntConvolution
from equinet.nn.gate import Gate as Gate
from equinet.nn.linear import DegreeLinear as DegreeLinear
from equinet.nn.many_body import GauntManyBody as GauntManyBody
from equinet.nn.norm import DegreeNorm as DegreeNorm
from equinet.nn.product import GauntProduct as GauntProduct
from equinet.nn.product import GauntSelfMix as GauntSelfMix
from equinet.nn.radial import BesselBasis as BesselBasis
from equinet.nn.radial import RadialNetwork as RadialNetwork
from equinet.nn.radial import polynomial_envelope as polynomial_envelope
