"""Layers on coefficients of functions on the sphere, ``[..., (lmax+1)², channels]``."""

from equinet.nn.sphere.clebsch_gordan import ClebschGordanProduct, ClebschGordanSelfMix
from equinet.nn.sphere.convolution import GauntConv
from equinet.nn.sphere.gate import Gate, HalfGate
from equinet.nn.sphere.linear import DegreeLinear
from equinet.nn.sphere.many_body import GauntManyBody
from equinet.nn.sphere.norm import DegreeNorm
from equinet.nn.sphere.path_convolution import ClebschGordanConv
from equinet.nn.sphere.product import GauntProduct
from equinet.nn.sphere.selfmix import GauntSelfMix, SelfMix
from equinet.nn.sphere.steerable_linear import (
    SteerableLinear,
    SteerableProduct,
    has_pseudo_half,
)
from equinet.nn.sphere.symmetric_contraction import SymmetricContraction

__all__ = [
    "ClebschGordanConv",
    "ClebschGordanProduct",
    "ClebschGordanSelfMix",
    "DegreeLinear",
    "DegreeNorm",
    "Gate",
    "GauntConv",
    "GauntManyBody",
    "GauntProduct",
    "GauntSelfMix",
    "HalfGate",
    "SelfMix",
    "SteerableLinear",
    "SteerableProduct",
    "SymmetricContraction",
    "has_pseudo_half",
]
