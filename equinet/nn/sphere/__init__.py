"""Layers on coefficients of functions on the sphere, ``[..., (lmax+1)², channels]``."""

from equinet.nn.sphere.clebsch_gordan import ClebschGordanProduct, ClebschGordanSelfMix
from equinet.nn.sphere.convolution import GauntConv
from equinet.nn.sphere.gate import Gate
from equinet.nn.sphere.linear import DegreeLinear
from equinet.nn.sphere.many_body import GauntManyBody
from equinet.nn.sphere.norm import DegreeNorm
from equinet.nn.sphere.product import GauntProduct
from equinet.nn.sphere.selfmix import GauntSelfMix, SelfMix

__all__ = [
    "ClebschGordanProduct",
    "ClebschGordanSelfMix",
    "DegreeLinear",
    "DegreeNorm",
    "Gate",
    "GauntConv",
    "GauntManyBody",
    "GauntProduct",
    "GauntSelfMix",
    "SelfMix",
]
